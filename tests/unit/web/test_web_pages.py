"""The pages as HTTP: rights, headers, limits, and words that must not act."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from casemate.errors import CasemateError, Unauthenticated
from casemate.installation import Installation
from casemate.web import errors, routes

SAME = {"Sec-Fetch-Site": "same-origin"}
PARTS = ("/runs/{}", "/runs/{}/receipt", "/runs/{}/answer.txt", "/runs/{}/explanation")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation.open(tmp_path_factory.mktemp("web") / "data") as opened:
        owner = opened.gate.owner()
        opened.library.create_collection(owner, "fees")
        opened.library.add(owner, "fees", "fees.txt", b"A certified copy costs 3 euros.")
        yield opened


@pytest.fixture
def visitor(house: Installation) -> Iterator[TestClient]:
    handlers = dict.fromkeys((CasemateError, 404, 405, 500), errors.response)
    app = Starlette(routes=routes(house), exception_handlers=handlers)
    with TestClient(app, follow_redirects=False, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def member(house: Installation, visitor: TestClient) -> TestClient:
    token = house.gate.sessions.link_for(house.gate.owner().principal)
    answer = visitor.post(f"/sign-in/{token}", headers=SAME)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "Path=/" in cookie
    assert "secure" not in cookie.lower()
    return visitor


def ask(client: TestClient, question: str) -> str:
    """The page that answers a question without script."""
    answer = client.post("/ask", data={"question": question}, headers=SAME)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_the_session_cookie_is_secure_over_tls(house: Installation) -> None:
    token = house.gate.sessions.link_for(house.gate.owner().principal)
    with TestClient(
        Starlette(routes=routes(house)), base_url="https://casemate.lu", follow_redirects=False
    ) as client:
        answer = client.post(f"/sign-in/{token}", headers=SAME)
    assert "; secure" in answer.headers["set-cookie"].lower()


def test_over_tls_cookies_have_names_that_no_other_host_can_set(
    house: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = msgspec.structs.replace(house.settings, public_url="https://casemate.lu")
    monkeypatch.setattr(house, "settings", public)
    token = house.gate.sessions.link_for(house.gate.owner().principal)
    app = Starlette(routes=routes(house))
    with TestClient(app, base_url="https://casemate.lu", follow_redirects=False) as client:
        set_ = client.post(f"/sign-in/{token}", headers=SAME).headers["set-cookie"]
        assert re.match("__Host-casemate_session=[^;]+; ", set_)
        assert ("Secure" in set_, "Path=/;" in set_, "Domain" in set_) == (True, True, False)
        assert client.get("/runs").status_code == 200
        value = client.cookies["__Host-casemate_session"]
        client.cookies.clear()
        client.cookies.set("casemate_session", value)  # as a neighbour could set it
        assert client.get("/runs").status_code == 303


def test_who_signs_in_again_ends_the_session_of_before(
    house: Installation, member: TestClient
) -> None:
    before = member.cookies["casemate_session"]
    token = house.gate.sessions.link_for(house.gate.owner().principal)
    assert member.post(f"/sign-in/{token}", headers=SAME).status_code == 303
    assert member.cookies["casemate_session"] != before
    with pytest.raises(Unauthenticated):
        house.gate.sessions.caller(before)


def test_signing_out_clears_what_the_browser_kept(member: TestClient) -> None:
    answer = member.post("/sign-out", headers=SAME)
    assert answer.headers["clear-site-data"] == '"cache", "storage"'
    assert "casemate_session" not in member.cookies


@pytest.mark.parametrize("path", ["/", "/runs", "/documents", "/runs/x/receipt", "/documents/x"])
def test_without_a_session_every_room_leads_to_the_door(visitor: TestClient, path: str) -> None:
    answer = visitor.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in")


@pytest.mark.parametrize(
    "path", ["/ask", "/documents", "/collections", "/runs/x/check", "/documents/x/delete"]
)
def test_without_a_session_nothing_can_be_sent(visitor: TestClient, path: str) -> None:
    assert visitor.post(path, headers=SAME).status_code == 401


@pytest.mark.parametrize(
    "path", ["/sign-in", "/sign-in/x", "/sign-out", "/language", "/ask", "/documents"]
)
def test_another_site_cannot_send_our_forms(member: TestClient, path: str) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {}):
        answer = member.post(path, headers=headers)
        assert answer.status_code == 403
        assert "form was not sent from a page" in answer.text
    assert member.get("/").status_code == 200  # and is still signed in


@pytest.mark.parametrize("path", ["/", "/sign-in", "/sign-in/x", "/_design", "/documents/none"])
def test_every_page_keeps_to_itself(member: TestClient, path: str) -> None:
    headers = member.get(path).headers
    assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_no_page_holds_style_script_or_address_from_elsewhere(member: TestClient) -> None:
    for path in ("/", "/documents", "/runs", "/_design", "/sign-in/x"):
        page = member.get(path).text
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page), path
        assert not re.search(r"<script(?![^>]*\ssrc=)", page), path
        assert not re.search(r"(?:src|href|action)=\"(?:https?:)?//", page), path


def test_static_files_are_kept_under_their_digest_alone(visitor: TestClient) -> None:
    address = re.search(r"/static/\w+/base\.css", visitor.get("/sign-in").text)
    assert address is not None
    assert "immutable" in visitor.get(address[0]).headers["cache-control"]
    assert visitor.get("/static/old/base.css").headers["cache-control"] == "no-store"
    assert visitor.get("/static/old/..%2Fpage.py").status_code == 404


def test_absent_runs_and_documents_look_alike_whatever_is_asked(member: TestClient) -> None:
    pages = {
        re.sub("none|other", "", member.get(part.format(id)).text)
        for part in PARTS
        for id in ("none", "other")
    }
    assert len(pages) == 1
    assert {member.get(f"/documents/{id}").status_code for id in ("none", "other")} == {404}


def test_an_answer_comes_as_one_page_without_script(member: TestClient) -> None:
    page = ask(member, "What does a certified copy cost?")
    assert "A certified copy costs 3 euros." in page
    assert 'aria-label="Source 1: fees.txt"' in page
    assert 'href="#cited-1"' in page
    assert '<mark id="cited-1"' in page


def test_the_same_answer_comes_as_a_stream_of_events(member: TestClient) -> None:
    answer = member.post(
        "/ask",
        data={"question": "What does a certified copy cost?"},
        headers={**SAME, "Accept": "text/event-stream"},
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    kinds = re.findall(r"^event: (\w+)$", answer.text, re.MULTILINE)
    assert kinds[0] == "admitted"
    assert kinds[-1] == "finished"
    assert {"doing", "step", "cited", "text"} <= set(kinds)
    assert '"body":null' in answer.text  # what was told is what was recorded


@pytest.mark.parametrize("accept", ["text/html", "text/event-stream"])
@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("", "Write a question first."),
        ("  \n ", "Write a question first."),
        ("x" * 8001, "too long: 8,000 characters"),
        ("x" * 5_000_000, "too long: 8,000 characters"),
    ],
    ids=["empty", "blank", "long", "huge"],
)
def test_a_bad_question_is_told_beside_the_field(
    member: TestClient, accept: str, question: str, said: str
) -> None:
    answer = member.post("/ask", data={"question": question}, headers={**SAME, "Accept": accept})
    assert answer.status_code == 400
    assert said in answer.text


def test_a_collection_that_does_not_exist_is_refused_in_place(member: TestClient) -> None:
    sent = {"question": "Why?", "choice": "1", "collection": "none", "offered": "fees"}
    answer = member.post("/ask", data=sent, headers={**SAME, "Accept": "text/event-stream"})
    assert answer.status_code == 404
    assert answer.text.startswith("event: failed\n")


def test_an_original_is_saved_and_never_shown(house: Installation, member: TestClient) -> None:
    owner = house.gate.owner()
    house.library.create_collection(owner, "strange")
    house.library.add(owner, "strange", 'ré;"sumé.html', b"<p>Hello <b>there</b>.</p>")
    (document,) = house.library.documents(owner, "strange")
    answer = member.get(f"/documents/{document.id}/original")
    assert answer.content == b"<p>Hello <b>there</b>.</p>"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == (
        "attachment; filename*=UTF-8''r%C3%A9%3B%22sum%C3%A9.html"
    )
    assert "sandbox" in answer.headers["content-security-policy"]
    house.library.delete(owner, document.id)


@pytest.mark.parametrize(
    "where", ["start=5", "start=9&end=5", "start=-1&end=3", "start=x&end=y", "page=999999999999999"]
)
def test_a_place_that_is_not_in_the_document_marks_nothing(
    house: Installation, member: TestClient, where: str
) -> None:
    (document,) = house.library.documents(house.gate.owner(), "fees")
    answer = member.get(f"/documents/{document.id}?{where}")
    assert answer.status_code == 200
    assert "<mark" not in answer.text


def test_a_receipt_that_was_changed_does_not_hold(
    house: Installation, member: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = re.search(r"/runs/(r_\w+)/check", ask(member, "What does a certified copy cost?"))
    assert run is not None
    assert "The receipt holds." in member.post(f"/runs/{run[1]}/check", headers=SAME).text
    receipt = house.runs.receipt(house.gate.owner(), run[1])
    changed = receipt.replace(b"certified", b"Certified", 1)
    monkeypatch.setattr(house.runs, "receipt", lambda caller, id: changed)
    page = member.post(f"/runs/{run[1]}/check?part", headers=SAME).text
    assert "The receipt does not hold." in page
    assert "<html" not in page


def test_the_language_menu_is_remembered_and_leads_back(member: TestClient) -> None:
    answer = member.post(
        "/language",
        data={"language": "lb"},
        headers={**SAME, "Referer": "http://testserver/runs?before="},
    )
    assert answer.headers["location"] == "/runs?before="
    assert '<html lang="lb">' in member.get("/runs").text
    assert member.post("/language", data={"language": "xx"}, headers=SAME).status_code == 400


def test_a_fault_shows_nothing_of_itself(
    house: Installation, member: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(house.runs, "list", broken)
    answer = member.get("/runs")
    assert answer.status_code == 500
    assert "a secret" not in answer.text
    assert "The fault is ours" in answer.text
