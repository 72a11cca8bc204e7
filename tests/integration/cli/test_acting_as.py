"""Acting as somebody else on the command line leaves its trace first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from house_builders import a_server, casemate, some_papers


def entries(data: Path) -> list[dict[str, Any]]:
    lines = casemate("ledger", "export", data=data).fine().out.splitlines()
    return [json.loads(line)["entry"] for line in lines]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    casemate("add", some_papers(tmp_path / "papers"), "--collection", "notes", data=data).fine()
    casemate("user", "create", "bob", data=data).fine()
    return data


def pseudonyms(data: Path) -> dict[str, str]:
    listed = casemate("user", "list", "--json", data=data).fine().json
    return {one["name"] if one["name"] == "bob" else "owner": one["pseudonym"] for one in listed}


def test_a_read_as_somebody_else_is_in_the_ledger(data: Path) -> None:
    before, who = len(entries(data)), pseudonyms(data)
    casemate("document", "list", "--principal", "bob", data=data).fine()
    (entry,) = entries(data)[before:]
    assert entry.pop("time")
    assert entry == {
        "v": 1,
        "kind": "acted.as",
        "actor": who["owner"],
        "principal": who["bob"],
        "act": "document.list",
    }


def test_it_is_in_the_ledger_before_the_act_and_also_when_that_is_refused(data: Path) -> None:
    before = len(entries(data))
    arguments = ["collection", "create", "mine", "--principal", "bob"]
    casemate(*arguments, data=data).refused()
    acted, refused = entries(data)[before:]
    assert (acted["kind"], acted["act"]) == ("acted.as", "collection.create")
    assert (refused["kind"], refused["actor"]) == ("refused", acted["principal"])


def test_a_server_records_it_too(data: Path) -> None:
    before = len(entries(data))
    with a_server(data):
        casemate("search", "dog tax", "--principal", "bob", data=data).fine()
        found = [one for one in entries(data)[before:] if one["kind"] == "acted.as"]
    assert [one["act"] for one in found] == ["search"]


def test_acting_as_oneself_is_no_such_act(data: Path) -> None:
    listed = casemate("user", "list", "--json", data=data).fine().json
    (owner,) = (one["name"] for one in listed if one["name"] != "bob")
    before = len(entries(data))
    casemate("document", "list", "--principal", owner, data=data).fine()
    assert len(entries(data)) == before


def test_nobody_of_that_name_leaves_no_trace(data: Path) -> None:
    before = len(entries(data))
    assert "nobody" in casemate("document", "list", "--principal", "eve", data=data).refused()
    assert len(entries(data)) == before


def test_an_approval_given_as_the_second_person_is_seen_to_be_the_owners(data: Path) -> None:
    casemate("user", "create", "carol", "--role", "admin", data=data).fine()
    register = ["usecase", "register", "desk", "--purpose", "To help.", "--legal-basis", "Tasks."]
    harmless = ["--risk", "minimal", "--not-prohibited", "It judges nobody."]
    casemate(*register, *harmless, data=data).fine()
    before = len(entries(data))
    casemate("usecase", "approve", "desk", "--principal", "carol", data=data).fine()
    acted, approved = entries(data)[before:]
    assert (acted["kind"], acted["act"]) == ("acted.as", "usecase.approve")
    assert approved["kind"] == "use_case.approved"
    assert approved["actor"] == acted["principal"] != acted["actor"]
