"""The sign-in page with providers: a button for each, and plain words for what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from casemate.errors import CasemateError, NotFound, Refused, Unavailable
from casemate.gate.sign_in_refusal import Barred, Cancelled, Late, Unassured, Unentitled, Untrusted
from casemate.installation import Installation
from casemate.web import errors, routes
from casemate.web.words import LANGUAGES, words

FILE = """
[[provider]]
name = "ministry"
title = "Ministry <of> Specimens"
issuer = "https://login.example.lu"
client_id = "casemate"
tenant = { name = "home" }
roles = { claim = "groups", values = { clerks = ["user"] } }
clearance = { claim = "clearance" }
"""
PROBLEMS = [
    Cancelled("x"),
    Late(),
    Untrusted("x"),
    Unentitled("x"),
    Unassured("high"),
    Barred(),
    Refused("x", "y"),
    NotFound("x", "y"),
    Unavailable("x", "y"),
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder: Path = tmp_path_factory.mktemp("provider")
    (folder / "providers.toml").write_text(FILE)
    with Installation.open(
        folder / "data", identity_providers=str(folder / "providers.toml")
    ) as opened:
        yield opened


@pytest.fixture
def visitor(house: Installation) -> Iterator[TestClient]:
    handlers = dict.fromkeys((CasemateError, 404, 405, 500), errors.response)
    app = Starlette(routes=routes(house), exception_handlers=handlers)
    headers = {"Sec-Fetch-Site": "same-origin", "Accept-Language": "de"}
    with TestClient(app, headers=headers, follow_redirects=False) as client:
        yield client


def test_a_button_leads_to_each_provider_and_keeps_where_one_wanted_to_go(
    visitor: TestClient,
) -> None:
    page = visitor.get("/sign-in?next=/runs/r_1").text
    assert 'href="/sign-in/with/ministry?next=/runs/r_1"' in page
    assert "Anmelden mit Ministry &lt;of&gt; Specimens" in page
    assert 'name="password"' in page
    assert 'href="/sign-in/with/ministry?next=/"' in visitor.get("/sign-in?next=//evil").text


def test_a_wrong_password_leaves_the_buttons(visitor: TestClient) -> None:
    page = visitor.post("/sign-in", data={"name": "nobody", "password": "wrong"}).text
    assert "/sign-in/with/ministry" in page


def test_a_provider_outside_the_perimeter_is_said_to_be(visitor: TestClient) -> None:
    answer = visitor.get("/sign-in/with/ministry")
    assert answer.status_code == 403
    assert "außerhalb der Orte" in answer.text
    assert "set-cookie" not in answer.headers


def test_a_server_does_not_start_with_a_provider_outside_the_perimeter(
    house: Installation,
) -> None:
    (found,) = house.configured()
    assert (found.what, found.address) == ("identity provider", "https://login.example.lu")
    with pytest.raises(Refused, match="identity provider"):
        house.require_inside()


def test_an_unknown_provider_is_said_to_be(visitor: TestClient) -> None:
    answer = visitor.get("/sign-in/with/other")
    assert answer.status_code == 404
    assert "gibt es nicht" in answer.text


@pytest.mark.parametrize("query", ["", "?state=x", "?state=x&code=y", "?error=access_denied"])
def test_a_way_back_that_nobody_began_is_late(visitor: TestClient, query: str) -> None:
    answer = visitor.get(f"/sign-in/with/ministry/back{query}")
    assert answer.status_code == 401
    assert "vor zu langer Zeit" in answer.text
    assert "Content-Security-Policy" in answer.headers


def test_who_signed_in_by_link_signs_out_here_alone(
    house: Installation, visitor: TestClient
) -> None:
    token = house.gate.sessions.link_for(house.gate.owner().principal)
    visitor.post(f"/sign-in/{token}")
    answer = visitor.post("/sign-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda one: type(one).__name__)
def test_every_problem_has_words_in_every_language(problem: CasemateError, language: str) -> None:
    told = errors.told(problem, words(language), "provider")
    assert told["tongue"] == language
    assert told["what"] not in ("x", "")
    assert told["next"] not in ("y", "")
    others = {errors.told(one, words(language), "provider")["what"] for one in PROBLEMS}
    assert len(others) == len(PROBLEMS)
