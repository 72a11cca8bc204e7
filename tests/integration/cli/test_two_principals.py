"""Two people with different labels: what one may not see is, to the byte, what is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from house_builders import (
    DOG_TAX,
    FEES,
    PAYROLL,
    SALARY,
    Answer,
    House,
    Server,
    a_house,
    a_server,
    casemate,
)

from casemate.errors import CasemateError, NotFound
from casemate.gate.caller import Caller
from casemate.gate.confidentiality import Confidentiality
from casemate.gate.country import Country


def settled(house: House) -> dict[str, str]:
    """Open notes, restricted payroll; ida may read both, bob the notes. Ida has a run on each."""
    house.clear_owner_for("restricted")
    house.add("notes", fees=FEES)
    house.collection("payroll", "restricted")
    house.add("payroll", payroll=PAYROLL)
    house.use_case("office", "restricted")
    ida, _ = house.person("ida", "restricted"), house.person("bob")
    secret = house.ask(SALARY, ida, use_case="office")
    assert secret.label == "lu:restricted"
    assert secret.answer.citations
    (hidden,) = house.installation.library.documents(ida, "payroll")
    (seen,) = house.installation.library.documents(ida, "notes")
    return {"run": secret.run, "hidden": hidden.id, "seen": seen.id}


def refusal(act: Callable[[], object]) -> tuple[type, str, str]:
    with pytest.raises(CasemateError) as caught:
        act()
    return type(caught.value), caught.value.what, caught.value.next


# In the library


@pytest.fixture
def place(house: House) -> tuple[House, dict[str, str], Caller, Caller]:
    ids = settled(house)
    principals = house.installation.gate.principals
    ida, bob = (Caller(principals.named(name), None, "local") for name in ("ida", "bob"))
    return house, ids, ida, bob


Place = tuple[House, dict[str, str], Caller, Caller]


def test_who_may_see_it_sees_it(place: Place) -> None:
    house, ids, ida, _ = place
    library, runs = house.installation.library, house.installation.runs
    assert library.search(ida, "salary", use_case="office")
    assert library.text(ida, ids["hidden"])
    assert library.original(ida, ids["hidden"]) == PAYROLL.encode()
    assert runs.get(ida, ids["run"]).answer
    assert runs.receipt(ida, ids["run"])


def test_a_hidden_document_and_an_absent_one_are_the_same_refusal(place: Place) -> None:
    house, ids, _, bob = place
    library = house.installation.library
    for act in (library.document, library.text, library.original, library.delete):
        found = {refusal(lambda act=act, id=id: act(bob, id)) for id in (ids["hidden"], "d_absent")}
        assert len(found) == 1
        assert found.pop()[0] is NotFound


def test_a_hidden_collection_and_an_absent_one_are_the_same_refusal(place: Place) -> None:
    house, _, _, bob = place
    library = house.installation.library
    acts: list[Callable[[str], object]] = [
        lambda name: library.collection(bob, name),
        lambda name: library.documents(bob, name),
        lambda name: library.search(bob, "salary", collections=(name,)),
        lambda name: library.add(bob, name, "a.md", b"x"),
        lambda name: house.ask(SALARY, bob, collections=(name,)),
    ]
    for act in acts:
        hidden, absent = (refusal(lambda act=act, name=name: act(name)) for name in NAMES)
        assert hidden == (absent[0], absent[1].replace(NAMES[1], NAMES[0]), absent[2])


NAMES = ("payroll", "nothing")


def test_somebody_elses_run_and_an_absent_one_are_the_same_refusal(place: Place) -> None:
    house, ids, _, bob = place
    runs, reviews = house.installation.runs, house.installation.reviews
    for act in (
        runs.get,
        runs.contents,
        runs.receipt,
        reviews.of,
        lambda who, id: reviews.decide(who, id, "approved", "Fine."),
        lambda who, id: runs.list(who, before=id),
    ):
        found = {refusal(lambda act=act, id=id: act(bob, id)) for id in (ids["run"], "r_absent")}
        assert len(found) == 1, found
        assert found.pop()[0] is NotFound


def test_a_colleague_of_the_same_clearance_does_not_see_the_run_either(place: Place) -> None:
    house, ids, _, _ = place
    eve = house.person("eve", "restricted")
    found = {
        refusal(lambda id=id: house.installation.runs.get(eve, id)) for id in (ids["run"], "r_x")
    }
    assert len(found) == 1
    found = {
        refusal(lambda id=id: house.installation.reviews.of(eve, id)) for id in (ids["run"], "r_x")
    }
    assert len(found) == 1


def test_a_run_above_a_clearance_that_was_lowered_since_is_as_if_it_were_not_there(
    place: Place,
) -> None:
    house, ids, _, _ = place
    principals = house.installation.gate.principals
    principals.change(house.owner, "ida", clearance=house.label("unclassified"))
    ida = Caller(principals.named("ida"), None, "local")
    runs = house.installation.runs
    assert runs.list(ida) == []
    for act in (runs.get, runs.receipt):
        found = {refusal(lambda act=act, id=id: act(ida, id)) for id in (ids["run"], "r_absent")}
        assert len(found) == 1


def test_a_search_is_the_same_whether_the_hidden_collection_is_there_or_not(place: Place) -> None:
    house, ids, ida, bob = place
    library = house.installation.library
    queries = ("salary", "mayor", "dog tax", "euros a month")

    def found() -> list[list[tuple[object, ...]]]:
        return [
            [(hit.passage, hit.why) for hit in library.search(bob, query, use_case="office")]
            for query in queries
        ]

    with_it = found()
    library.delete(house.owner, ids["hidden"])
    assert with_it == found()
    assert with_it[2]
    assert library.search(ida, "salary", use_case="office") == with_it[0] == []


def test_scores_do_not_depend_on_hidden_passages(place: Place) -> None:
    house, ids, _, bob = place
    library = house.installation.library
    before = [hit.score for hit in library.search(bob, "euros a month", use_case="office")]
    library.delete(house.owner, ids["hidden"])
    assert [hit.score for hit in library.search(bob, "euros a month", use_case="office")] == before


def test_an_answer_is_the_same_whether_the_hidden_collection_is_there_or_not(place: Place) -> None:
    house, ids, _, bob = place

    def told(question: str) -> list[Any]:
        events = house.events(bob, question, use_case="office")
        return [
            re.sub(r"r_[0-9a-f]+", "RUN", str(event)).replace(
                f"entry={getattr(event, 'entry', None)}", "entry"
            )
            for event in events
        ]

    before = [told(question) for question in (SALARY, DOG_TAX)]
    house.installation.library.delete(house.owner, ids["hidden"])
    assert [told(question) for question in (SALARY, DOG_TAX)] == before


def test_counts_of_words_do_not_depend_on_hidden_passages(place: Place) -> None:
    house, ids, _, bob = place
    library = house.installation.library
    admission = house.installation.gate.admit(bob, use_case="office")
    asked = "salary euros month tax"
    before = library.rarity(asked, admission)
    library.delete(house.owner, ids["hidden"])
    assert library.rarity(asked, admission) == before


# On the command line


def test_commands_answer_the_same_for_hidden_and_absent(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with a_house(data) as house:
        ids = settled(house)
    pairs = [
        (["document", "show", ids["hidden"]], ["document", "show", "d_" + "0" * 20]),
        (["run", "show", ids["run"]], ["run", "show", "r_" + "0" * 20]),
        (["run", "receipt", ids["run"]], ["run", "receipt", "r_" + "0" * 20]),
        (
            ["search", "salary", "--collection", "payroll"],
            ["search", "salary", "--collection", "x"],
        ),
        (["ask", SALARY, "--collection", "payroll"], ["ask", SALARY, "--collection", "x"]),
        (
            ["document", "list", "--collection", "payroll"],
            ["document", "list", "--collection", "x"],
        ),
    ]
    for hidden, absent in pairs:
        first, second = (
            casemate(*arguments, "--principal", "bob", data=data).refused()
            for arguments in (hidden, absent)
        )
        assert re.sub("payroll", "x", first) == second
    found = casemate("search", "salary", "--principal", "bob", "--json", data=data).fine()
    assert found.json == []


# Over HTTP


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    data = tmp_path_factory.mktemp("two") / "data"
    with a_house(data) as house:
        ids = settled(house)
        ids |= {f"key of {name}": house.key(name) for name in ("ida", "bob")}
    with a_server(data) as server:
        yield server, ids


Served = tuple[Server, dict[str, str]]


def same(first: Answer, second: Answer) -> None:
    of_a_run = ("date", "x-casemate-run", "x-request-id")
    assert first.without(*of_a_run) == second.without(*of_a_run)
    assert ("x-casemate-run" in first.headers) == ("x-casemate-run" in second.headers)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/documents/{}"),
        ("GET", "/api/documents/{}/text"),
        ("GET", "/api/documents/{}/label"),
        ("GET", "/api/documents/{}/original"),
        ("HEAD", "/api/documents/{}/original"),
        ("DELETE", "/api/documents/{}"),
    ],
)
def test_a_hidden_document_and_an_absent_one_are_the_same_bytes(
    served: Served, method: str, path: str
) -> None:
    server, ids = served
    key = ids["key of bob"]
    hidden = server.http(method, path.format(ids["hidden"]), key=key)
    absent = server.http(method, path.format("d_" + "0" * 20), key=key)
    assert hidden.status == 404
    same(hidden, absent)


@pytest.mark.parametrize(
    "path",
    [
        "/api/runs/{}",
        "/api/runs/{}/receipt",
        "/api/runs/{}/explanation",
        "/api/runs?before={}",
        "/runs/{}",
        "/runs/{}/receipt",
    ],
)
def test_somebody_elses_run_and_an_absent_one_are_the_same_bytes(served: Served, path: str) -> None:
    server, ids = served
    key = ids["key of bob"]
    hidden = server.http("GET", path.format(ids["run"]), key=key)
    absent = server.http("GET", path.format("r_" + "0" * 20), key=key)
    assert hidden.status in (303, 401, 404)
    named = hidden.headers.get("location", "").replace(ids["run"], "r_" + "0" * 20)
    assert named == absent.headers.get("location", "")
    assert hidden.without("date", "location") == absent.without("date", "location")


def test_a_hidden_collection_and_an_absent_one_are_the_same_bytes(served: Served) -> None:
    server, ids = served
    key = ids["key of bob"]
    hidden, absent = "payroll", "nowhere"  # of one length
    for method, path in (
        ("GET", "/api/search?q=salary&collection={}"),
        ("GET", "/api/documents?collection={}"),
        ("POST", "/api/collections/{}/documents?name=a.md"),
    ):
        body = b"# x" if method == "POST" else None
        first = server.http(method, path.format(hidden), key=key, body=body)
        second = server.http(method, path.format(absent), key=key, body=body)
        assert first.status == 404
        shown = Answer(
            first.status, first.headers, first.body.replace(hidden.encode(), absent.encode())
        )
        same(shown, second)
    first = server.ask(SALARY, key=key, collections=[hidden])
    second = server.ask(SALARY, key=key, collections=[absent])
    assert first.status == second.status == 404
    shown = Answer(first.status, first.headers, first.body.replace(b"payroll", b"nowhere"))
    same(shown, second)


def test_a_question_that_only_hidden_documents_answer_is_answered_like_one_nothing_answers(
    served: Served,
) -> None:
    server, ids = served
    key = ids["key of bob"]

    def told(question: str) -> tuple[int, set[str], str, list[Any]]:
        answer = server.ask(question, key=key, use_case="office")
        content = answer.json
        text = content["answer"]["text"] if "answer" in content else json.dumps(content)
        return answer.status, set(answer.headers), text, content["answer"]["citations"]

    assert told(SALARY) == told("How much is the zeppelin's hangar?")
    assert "Nothing in these documents" in told(SALARY)[2]
    allowed = server.ask(SALARY, key=ids["key of ida"], use_case="office").json
    assert "9,000 euros" in allowed["answer"]["text"]


def test_the_label_of_a_document_is_served_as_xml(served: Served) -> None:
    server, ids = served
    label = server.http("GET", f"/api/documents/{ids['hidden']}/label", key=ids["key of ida"])
    assert label.status == 200
    assert label.headers["content-type"] == "application/xml"
    policy = Country.load("lu").policy
    assert str(Confidentiality.parse(label.body, policy).label) == "lu:restricted"


def test_listings_hold_nothing_of_what_is_hidden(served: Served) -> None:
    server, ids = served
    for path in (
        "/api/collections",
        "/api/documents",
        "/api/runs",
        "/api/search?q=salary&use_case=office",
    ):
        shown = server.http("GET", path, key=ids["key of bob"])
        assert shown.status == 200
        for secret in ("payroll", ids["hidden"], ids["run"], "9,000"):
            assert secret.encode() not in shown.body
