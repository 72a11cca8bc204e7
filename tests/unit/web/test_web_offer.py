"""What the page of asking offers: what the chosen use case can really search, and no more."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from casemate.gate.caller import Caller
from casemate.installation import Installation
from casemate.web import routes

SAME = {"Sec-Fetch-Site": "same-origin"}


def register(house: Installation, id: str, ceiling: str, within: Iterable[str] | None) -> None:
    """A use case, approved by a second person; ``within``: names of collections."""
    gate, owner = house.gate, house.gate.owner()
    second = next((one for one in gate.principals.list(owner) if one.name == "second"), None)
    if second is None:
        label = gate.country.policy.parse("lu:restricted")
        second = gate.principals.create(owner, "second", roles=("admin", "user"), clearance=label)
    ids = {one.name: one.id for one in house.library.collections(owner)}
    gate.use_cases.register(
        owner,
        id,
        purpose="Tests.",
        legal_basis="None.",
        risk="minimal",
        models=("quote",),
        ceiling=gate.country.policy.parse(ceiling),
        oversight="none",
        retention_days=gate.country.retention_floor_days,
        collections=None if within is None else [ids[name] for name in within],
        screening=gate.use_cases.not_prohibited("It judges nobody."),
    )
    gate.use_cases.approve(Caller(second, None, "local"), id)


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation.open(tmp_path_factory.mktemp("offer") / "data") as opened:
        owner = opened.gate.owner()
        restricted = opened.gate.country.policy.parse("lu:restricted")
        opened.gate.principals.change(owner, owner.principal.name, clearance=restricted)
        owner = opened.gate.owner()
        for name, label in (("fees", None), ("geheim", "lu:restricted")):
            opened.library.create_collection(owner, name, label=label)
            text = f"A certified copy from {name} costs 3 euros."
            opened.library.add(owner, name, f"{name}.txt", text.encode())
        yield opened


@pytest.fixture
def member(house: Installation) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=routes(house)), follow_redirects=False) as client:
        token = house.gate.sessions.link_for(house.gate.owner().principal)
        assert client.post(f"/sign-in/{token}", headers=SAME).status_code == 303
        yield client


def offered(page: str) -> list[str]:
    """The names that a person sees and can tick."""
    fields = re.findall(r'<label class="choice"[^>]*?( hidden)?><input.*?<span>(.*?)</span>', page)
    return [name for hidden, name in fields if not hidden]


def test_what_lies_above_the_ceiling_is_not_offered(member: TestClient) -> None:
    page = member.get("/").text
    assert offered(page) == ["fees"]
    assert "geheim" not in page


def test_what_the_use_case_does_not_name_is_not_offered(
    house: Installation, member: TestClient
) -> None:
    register(house, "a-secret", "lu:restricted", ["geheim"])
    page = member.get("/").text
    assert offered(page) == ["geheim · RESTREINT LUX"]
    assert 'data-use-cases="a-secret" hidden' not in page
    assert 'value="fees" disabled' in page  # for the other use case, out of reach of this one


def test_a_caller_without_clearance_is_not_offered_what_the_ceiling_allows(
    house: Installation,
) -> None:
    register(house, "all", "lu:restricted", None)
    gate = house.gate
    lowest = gate.country.policy.lowest()
    clerk = gate.principals.create(gate.owner(), "clerk", roles=("user",), clearance=lowest)
    with TestClient(Starlette(routes=routes(house)), follow_redirects=False) as client:
        client.post(f"/sign-in/{gate.sessions.link_for(clerk)}", headers=SAME)
        page = client.get("/").text
    assert offered(page) == ["fees"]
    assert "geheim" not in page


def test_without_script_another_use_case_shows_its_list_before_it_is_asked(
    house: Installation, member: TestClient
) -> None:
    register(house, "secret", "lu:restricted", ["geheim"])
    sent = {
        "question": "What does a certified copy cost?",
        "use_case": "secret",
        "shown_for": "documents",
        "choice": "1",
        "offered": "fees",
        "collection": "fees",
    }
    answer = member.post("/ask", data=sent, headers=SAME)
    assert answer.status_code == 400
    assert "searches other collections" in answer.text
    assert offered(answer.text) == ["geheim · RESTREINT LUX"]
    assert sent["question"] in answer.text
    sent |= {"shown_for": "secret", "offered": "geheim", "collection": "geheim"}
    answer = member.post("/ask", data=sent, headers=SAME)
    assert answer.status_code == 200
    assert "A certified copy from geheim costs 3 euros." in answer.text
    assert 'value="geheim" autocomplete="off" checked' in answer.text  # as it was chosen


def test_a_use_case_that_reaches_nothing_says_why(house: Installation, member: TestClient) -> None:
    register(house, "low", "lu:unclassified", ["geheim"])
    page = member.get("/").text
    assert "Use case low goes up to" in page
    assert "a higher ceiling" in page
    assert offered(page) == ["fees"]  # of the one that is chosen first, since it reaches some
    sent = {"question": "Why?", "use_case": "low", "shown_for": "low"}
    answer = member.post("/ask", data=sent, headers=SAME)
    assert answer.status_code == 400
    assert offered(answer.text) == []


def test_if_nothing_is_left_the_ceiling_is_named_in_the_readers_language(
    house: Installation, member: TestClient
) -> None:
    owner = house.gate.owner()
    (document,) = house.library.documents(owner, "fees")
    house.library.delete(owner, document.id)
    register(house, "documents-two", "lu:unclassified", ["geheim"])
    house.gate.use_cases.suspend(owner, "documents")
    page = member.get("/", headers={"Accept-Language": "de"}).text
    assert "reicht bis NICHT KLASSIFIZIERT" in page or "reicht bis NON CLASSIFIÉ" in page
    assert 'name="choice"' not in page


def test_files_go_where_one_says_and_nowhere_by_default(member: TestClient) -> None:
    page = member.get("/documents").text
    assert '<option value="">Choose…</option>' in page
    assert '<option value="geheim">geheim · RESTREINT LUX</option>' in page
    answer = member.post(
        "/documents",
        data={"collection": ""},
        files={"files": ("a.txt", b"Words.")},
        headers=SAME,
    )
    assert answer.status_code == 400
    assert "Choose the collection that the files go into." in answer.text
