"""What goes wrong for people without a shell is told in their own language."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from casemate.errors import CasemateError, NotFound, Refused, TooLarge, Unsupported
from casemate.installation import Installation
from casemate.library.parse import Unreadable
from casemate.reasoning.event import Step
from casemate.web import errors, routes
from casemate.web.page import part
from casemate.web.words import LANGUAGES, words

HEADERS = {"Sec-Fetch-Site": "same-origin", "Accept-Language": "de"}
STREAM = {**HEADERS, "Accept": "text/event-stream"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation.open(tmp_path_factory.mktemp("told") / "data") as opened:
        owner = opened.gate.owner()
        opened.library.create_collection(owner, "fees")
        yield opened


@pytest.fixture
def visitor(house: Installation) -> Iterator[TestClient]:
    handlers = dict.fromkeys((CasemateError, 404, 405, 500), errors.response)
    app = Starlette(routes=routes(house), exception_handlers=handlers)
    with TestClient(app, headers=HEADERS, follow_redirects=False) as client:
        yield client


@pytest.fixture
def member(house: Installation, visitor: TestClient) -> TestClient:
    token = house.gate.sessions.link_for(house.gate.owner().principal)
    assert visitor.post(f"/sign-in/{token}").status_code == 303
    return visitor


def assert_german(page: str, said: str) -> None:
    found = re.search(r"<main.*?</main>", page, re.DOTALL)
    told = found[0] if found else page
    assert said in told
    assert not re.search(r'lang=\\?"en', told)
    assert "<code>" not in re.sub(r'<p class="hint">.*?</p>', "", told)
    words_of_ours = re.sub(r"<[^>]*>", " ", told)
    assert not re.search(r"\b(the|you|is|not|file|such|there|again)\b", words_of_ours, re.I)


def test_a_present_password_that_is_wrong_and_a_new_one_that_is_weak(
    house: Installation, member: TestClient
) -> None:
    owner = house.gate.owner()
    right = "seven tall herons by the Alzette"
    answer = member.post("/account/password", data={"before": "x", "after": right})
    assert answer.status_code == 403
    assert_german(answer.text, "kein Passwort, das sich ändern ließe")
    house.gate.principals.set_password(owner, owner.principal.name, right)
    token = house.gate.sessions.link_for(owner.principal)
    assert member.post(f"/sign-in/{token}").status_code == 303
    answer = member.post("/account/password", data={"before": "x", "after": right})
    assert answer.status_code == 401
    assert_german(answer.text, "nicht Ihr jetziges Passwort")
    answer = member.post("/account/password", data={"before": right, "after": "passwort1234"})
    assert answer.status_code == 400
    assert_german(answer.text, "zu leicht zu erraten")
    assert_german(member.get("/account").text, "dieser Browser")
    answer = member.post("/account/password", data={"before": right, "after": right + " bis"})
    assert_german(answer.text, "Ihr Passwort ist geändert")
    assert member.get("/account").status_code == 303


def test_wrong_password(visitor: TestClient) -> None:
    answer = visitor.post("/sign-in", data={"name": "nobody", "password": "wrong"})
    assert answer.status_code == 401
    assert_german(answer.text, "gehören nicht zusammen")


def test_used_link(visitor: TestClient) -> None:
    answer = visitor.post("/sign-in/used")
    assert answer.status_code == 401
    assert_german(answer.text, "die Casemate betreibt, um einen neuen Link")


@pytest.mark.parametrize("headers", [HEADERS, STREAM], ids=["page", "stream"])
def test_not_signed_in(visitor: TestClient, headers: dict[str, str]) -> None:
    answer = visitor.post("/ask", data={"question": "Warum?"}, headers=headers)
    assert answer.status_code == 401
    assert_german(answer.text, "nicht oder nicht mehr angemeldet")


@pytest.mark.parametrize("headers", [HEADERS, STREAM], ids=["page", "stream"])
@pytest.mark.parametrize(("question", "said"), [("", "zuerst eine Frage"), ("x" * 8001, "zu lang")])
def test_bad_question(
    member: TestClient, headers: dict[str, str], question: str, said: str
) -> None:
    answer = member.post("/ask", data={"question": question}, headers=headers)
    assert answer.status_code == 400
    assert_german(answer.text.replace("x" * 8001, ""), said)


def test_absent_collection(member: TestClient) -> None:
    sent = {"question": "Warum?", "choice": "1", "collection": "none", "offered": "fees"}
    assert_german(member.post("/ask", data=sent, headers=STREAM).text, "gibt es nicht")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nowhere", "nichts zu sehen"),
        ("/runs/r_none", "Diesen Vorgang gibt es nicht"),
        ("/runs/r_none/receipt", "Diesen Vorgang gibt es nicht"),
        ("/runs/r_none/explanation", "Diesen Vorgang gibt es nicht"),
        ("/documents/none", "Dieses Dokument gibt es nicht"),
        ("/documents/none/original", "Dieses Dokument gibt es nicht"),
    ],
)
def test_nothing_there(member: TestClient, path: str, said: str) -> None:
    answer = member.get(path)
    assert answer.status_code == 404
    assert_german(answer.text, said)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.pdf", b"%PDF-1.4 no", "beschädigt"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "verschlüsselt"),
        ("a.txt", b"", "ist leer"),
        ("a.exe", b"MZ", "nicht gelesen"),
        ("a.md", b"  \n", "keinen Text"),
        ("a.txt", b"\x00\x01\x02", "was ihr Name sagt"),
    ],
)
def test_unread_file(member: TestClient, name: str, content: bytes, said: str) -> None:
    answer = member.post(
        "/documents", data={"collection": "fees"}, files={"files": (name, content)}
    )
    assert answer.status_code in (400, 415)
    alert = re.search(r'role="alert">.*?</div>', answer.text, re.DOTALL)
    assert alert is not None
    assert_german(alert[0], said)


def test_large_file_and_bad_name(
    house: Installation, member: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, said in (("fees", "nicht frei"), ("a/b", "kein Name")):
        page = member.post("/collections", data={"name": name}).text
        problem = re.search(r'id="name-problem".*?</p>', page)
        assert problem is not None
        assert_german(problem[0], said)
    told = errors.told(TooLarge("The file is larger.", "Split it."), words("de"), "file")
    assert_german(f"{told['what']} {told['next']}", "zu groß")


@pytest.mark.parametrize("fact", ["is damaged", "is encrypted", "has more than 5,000 pages"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_reasons_are_known_in_every_language(language: str, fact: str) -> None:
    assert errors.told(Unreadable(fact), words(language), "file")["tongue"] == language


@pytest.mark.parametrize(
    ("error", "place"),
    [(Refused("No.", "Ask."), "ask"), (NotFound("No.", "Ask."), ""), (Unreadable("sings"), "file")],
)
def test_what_has_no_words_of_its_own_stays_as_it_was_said(
    error: CasemateError, place: str
) -> None:
    told = errors.told(error, words("de"), place)
    assert told["tongue"] == "en"
    assert (told["what"], told["next"]) == (error.what, error.next)


def test_every_word_for_errors_exists() -> None:
    known = {*errors._TOLD.values(), *(key for _, key in errors._UNREAD)}
    for key in known:
        assert words("en")(f"told.{key}")
        assert words("en")(f"told.{key}_next")
    assert errors.told(Unsupported("x"), words("fr"), "file")["tongue"] == "fr"


def test_steps_name_pages_in_the_readers_language() -> None:
    found = ("fees.pdf, page 12", "odd, page 2.txt", "<b>.pdf, page 1")
    step = Step(kind="search", subject="x", found=found, count=3)
    html = part("step.html", words("de"), step=step)
    assert "fees.pdf, Seite 12 · odd, page 2.txt · &lt;b&gt;.pdf, Seite 1" in html
