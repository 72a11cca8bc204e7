"""Use cases on the command line: what people read of them, and what programs do."""

from __future__ import annotations

from pathlib import Path

import pytest
from house_builders import FEES, PAYROLL, SALARY, a_house, casemate

NO = ("--not-prohibited", "It judges nobody.")
NEW = ("--purpose", "To help.", "--legal-basis", "Our tasks.", "--risk", "minimal", *NO)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Open notes, restricted payroll; the owner reads both, the admin carol the notes alone."""
    data = tmp_path_factory.mktemp("use-cases") / "data"
    with a_house(data) as house:
        house.clear_owner_for("restricted")
        house.add("notes", fees=FEES)
        house.collection("payroll", "restricted")
        house.add("payroll", payroll=PAYROLL)
        house.person("carol", roles=("admin", "user"))
        house.person("dora", "restricted", roles=("admin", "user"))
    both = ("--collection", "notes", "--collection", "payroll")
    casemate(
        "usecase", "register", "staff", *NEW, *both, "--ceiling", "restricted", data=data
    ).fine()
    return data


def test_a_use_case_of_every_collection_says_all_and_null_to_programs(data: Path) -> None:
    shown = casemate("usecase", "show", "documents", data=data).fine()
    assert "collections     all\n" in shown.out
    assert "documents" in casemate("usecase", "list", data=data).fine().out
    found = casemate("usecase", "show", "documents", "--json", data=data).fine().json
    assert (found["collections"], found["collections_hidden"]) == (None, 0)


def test_collections_that_one_may_not_see_are_counted_and_not_named(data: Path) -> None:
    whole = casemate("usecase", "show", "staff", data=data).fine()
    assert "collections     notes, payroll\n" in whole.out
    as_carol = ("--principal", "carol")
    part = casemate("usecase", "show", "staff", *as_carol, data=data).fine()
    assert "collections     notes, 1 that you may not see\n" in part.out
    assert "payroll" not in part.out
    listed = casemate("usecase", "list", *as_carol, data=data).fine()
    assert "notes, 1 that you may not see" in listed.out
    found = casemate("usecase", "show", "staff", *as_carol, "--json", data=data).fine().json
    assert (found["collections"], found["collections_hidden"]) == (["notes"], 1)


def test_who_may_not_see_a_collection_sends_it_to_who_may(data: Path) -> None:
    approve = ("usecase", "approve", "staff", "--principal")
    said = casemate(*approve, "carol", data=data).refused()
    assert "You cannot approve what you may not see" in said
    assert "payroll" not in said
    said = casemate("search", SALARY, "--collection", "payroll", data=data).refused()
    assert "documents goes up to lu:unclassified, but payroll is lu:restricted." in said
    assert "--use-case" in said
    casemate(*approve, "dora", data=data).fine()
    found = casemate("search", SALARY, "--use-case", "staff", data=data).fine()
    assert "payroll.md" in found.out
