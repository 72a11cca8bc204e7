"""Declarations: made so once, with a plan before, on record, and never more than was declared."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from house_builders import House, a_house

from casemate.errors import CasemateError, Invalid, NotFound, Refused
from casemate.gate.caller import Caller
from casemate.oversight.applying import Change
from casemate.oversight.declaration import Declaration

WHOLE = """
[[tenant]]
name = "roads"

[[principal]]
name = "anna"
roles = ["admin", "user"]
clearance = "restricted"

[[principal]]
name = "otto"
tenant = "roads"

[[collection]]
name = "plans"
readers = ["anna", "role:auditor"]

[[use_case]]
id = "counter"
purpose = "Answering at the counter."
legal_basis = "Our own rules."
risk = "minimal"
collections = ["plans"]
hours = "mon-sun 00:00-24:00"
quota = { "tokens/day" = 200000 }
not_prohibited = "It looks up what plans say."
"""


def apply(house: House, text: str, actor: Caller | None = None) -> list[Change]:
    declaration = Declaration.parse(tomllib.loads(text))
    return house.installation.applying.apply(actor or house.owner, declaration)


def plan(house: House, text: str, actor: Caller | None = None) -> list[Change]:
    declaration = Declaration.parse(tomllib.loads(text))
    return house.installation.applying.plan(actor or house.owner, declaration)


def states(changes: list[Change]) -> list[tuple[str, str, str]]:
    return [(one.name, one.act, one.state) for one in changes]


def test_everything_is_made_as_declared_and_a_second_time_nothing_is_done(house: House) -> None:
    before = len(house.entries())
    made = apply(house, WHOLE)
    assert states(made) == [
        ("roads", "create", "done"),
        ("anna", "create", "done"),
        ("otto", "create", "done"),
        ("plans", "create", "done"),
        ("counter", "propose", "done"),
    ]
    kinds = [one["kind"] for one in house.entries()[before:]]
    assert kinds == [
        "tenant.created",
        "principal.created",
        "principal.created",
        "collection.created",
        "use_case.registered",
        "declaration.applied",
    ]
    after = len(house.entries())
    again = apply(house, WHOLE)
    assert {one.state for one in again} == {"unchanged"}
    assert len(house.entries()) == after
    (plans,) = house.installation.library.collections(house.owner)
    assert sorted(plans.readers or ()) == ["anna", "role:auditor"]


def test_a_dry_run_tells_the_same_and_does_nothing(house: House) -> None:
    before = len(house.entries())
    planned = plan(house, WHOLE)
    assert len(house.entries()) == before
    assert {one.state for one in planned} == {"planned"}
    made = apply(house, WHOLE)
    assert [(one.name, one.act, one.diff) for one in planned] == [
        (one.name, one.act, one.diff) for one in made
    ]


def test_who_applies_does_not_approve_and_another_does(house: House) -> None:
    (*_, counter) = apply(house, WHOLE)
    assert "casemate usecase approve counter" in counter.note
    use_cases = house.installation.gate.use_cases
    with pytest.raises(Refused, match="second person"):
        use_cases.approve(house.owner, "counter")
    anna = Caller(house.installation.gate.principals.named("anna"), None, "local")
    assert use_cases.approve(anna, "counter").state == "approved"
    assert {one.state for one in apply(house, WHOLE)} == {"unchanged"}


def test_a_change_of_an_approved_use_case_is_proposed_with_its_difference(house: House) -> None:
    apply(house, WHOLE)
    anna = Caller(house.installation.gate.principals.named("anna"), None, "local")
    house.installation.gate.use_cases.approve(anna, "counter")
    changed = WHOLE.replace('["plans"]', '"all"').replace("mon-sun 00:00-24:00", "always")
    (*others, counter) = apply(house, changed)
    assert counter.state == "done", counter.problem
    assert {one.state for one in others} == {"unchanged"}
    assert counter.diff == {
        "collections": (["plans"], "all"),
        "hours": ("mon-sun 00:00-24:00 Europe/Luxembourg", None),
    }
    found = house.installation.gate.use_cases.get(house.owner, "counter")
    assert (found.version, found.pending, found.hours is None) == (1, 2, False)
    (*_, again) = apply(house, changed)
    assert (again.act, again.state) == ("none", "unchanged")
    assert "approve counter" in again.note


def test_what_is_not_named_is_left_alone(house: House) -> None:
    apply(house, WHOLE)
    assert apply(house, "") == []
    assert states(apply(house, '[[principal]]\nname = "anna"')) == [("anna", "none", "unchanged")]
    anna = house.installation.gate.principals.named("anna")
    assert (sorted(anna.roles), str(anna.clearance)) == (["admin", "user"], "lu:restricted")


def test_rights_change_with_digests_before_and_after(house: House) -> None:
    apply(house, WHOLE)
    (changed,) = apply(house, '[[principal]]\nname = "anna"\nroles = ["user"]')
    assert changed.diff == {"roles": (["admin", "user"], ["user"])}
    entry = next(one for one in house.entries() if one["kind"] == "principal.changed")
    assert entry["before"] != entry["after"]
    applied = house.entries()[-1]
    assert (applied["kind"], applied["changes"], applied["failed"]) == ("declaration.applied", 1, 0)
    assert "anna" not in str(house.entries())


def test_people_are_disabled_when_it_says_so_and_not_brought_back(house: House) -> None:
    apply(house, WHOLE)
    gone = '[[principal]]\nname = "anna"\nstate = "disabled"'
    assert states(apply(house, gone)) == [("anna", "disable", "done")]
    assert states(apply(house, gone)) == [("anna", "none", "unchanged")]
    (back,) = apply(house, '[[principal]]\nname = "anna"')
    assert back.state == "failed"
    assert back.problem is not None
    assert back.problem.what == "anna is disabled."


def test_collections_are_opened_closed_and_removed_when_empty(house: House) -> None:
    apply(house, '[[collection]]\nname = "notes"\n[[principal]]\nname = "bob"')
    (closed,) = apply(house, '[[collection]]\nname = "notes"\nreaders = ["bob"]')
    assert closed.diff == {"readers": ("everyone", ["bob"])}
    entry = next(one for one in house.entries() if one["kind"] == "collection.changed")
    assert entry["before"] != entry["after"]
    (opened,) = apply(house, '[[collection]]\nname = "notes"\nreaders = "everyone"')
    assert opened.diff == {"readers": (["bob"], "everyone")}
    house.add("notes", fees="# Fees")
    (kept,) = apply(house, '[[collection]]\nname = "notes"\nstate = "absent"')
    assert kept.problem is not None
    assert kept.problem.what == "Collection notes holds documents."
    (document,) = house.installation.library.documents(house.owner)
    house.installation.library.delete(house.owner, document.id)
    absent = '[[collection]]\nname = "notes"\nstate = "absent"'
    assert states(apply(house, absent)) == [("notes", "remove", "done")]
    assert states(apply(house, absent)) == [("notes", "none", "unchanged")]


def test_a_collection_that_a_use_case_names_is_not_removed(house: House) -> None:
    apply(house, WHOLE)
    (kept,) = apply(house, '[[collection]]\nname = "plans"\nstate = "absent"')
    assert kept.problem is not None
    assert "A use case names collection plans" in kept.problem.what


def test_a_use_case_is_suspended_and_retired_with_a_reason(house: House) -> None:
    apply(house, WHOLE)
    anna = Caller(house.installation.gate.principals.named("anna"), None, "local")
    house.installation.gate.use_cases.approve(anna, "counter")
    (bare,) = apply(house, '[[use_case]]\nid = "counter"\nstate = "suspended"')
    assert bare.problem is not None
    assert "needs a reason" in bare.problem.what
    ended = '[[use_case]]\nid = "counter"\nstate = "suspended"\nreason = "An incident."'
    assert states(apply(house, ended)) == [("counter", "suspend", "done")]
    assert states(apply(house, ended)) == [("counter", "none", "unchanged")]
    retired = ended.replace("suspended", "retired")
    assert states(apply(house, retired)) == [("counter", "retire", "done")]


@pytest.mark.parametrize(
    ("item", "what"),
    [
        ('[[principal]]\nname = "eve"\nclearance = "cosmic"', "There is no level 'cosmic'"),
        ('[[principal]]\nname = " eve"', "cannot be a name"),
        ('[[principal]]\nname = "eve"\ntenant = "nowhere"', "no tenant of that name"),
        ('[[principal]]\nname = "eve"\nroles = []', "needs a role"),
        ('[[use_case]]\nid = "eve"', "A new use case needs purpose"),
        ('[[use_case]]\nid = "eve"\npurpose = "x"\nlegal_basis = "x"\nrisk = "minimal"',
         "lacks answers"),
        ('[[use_case]]\nid = "eve"\npurpose = "x"\nlegal_basis = "x"\nrisk = "minimal"\n'
         'not_prohibited = "x"\ncollections = ["absent"]', "no collection “absent”"),
        ('[[use_case]]\nid = "documents"\nhours = "sometimes"', "are not opening hours"),
        ('[[use_case]]\nid = "documents"\nretention_days = 10', "183"),
        ('[policies]\nfiles = { "x.cedar" = "permit" }', "x.cedar, line 1"),
    ],
)  # fmt: skip
def test_a_mistake_that_the_plan_finds_keeps_everything_from_being_done(
    house: House, item: str, what: str
) -> None:
    before = len(house.entries())
    changes = apply(house, '[[collection]]\nname = "notes"\n' + item)
    assert len(house.entries()) == before
    assert house.installation.library.collections(house.owner) == []
    failed = [one for one in changes if one.state == "failed"]
    assert len(failed) == 1
    assert failed[0].problem is not None
    assert what in failed[0].problem.what
    assert failed[0].problem.next
    assert {one.state for one in changes if one is not failed[0]} == {"not tried"}


def test_what_fails_on_the_way_ends_it_there_and_the_next_run_goes_on(house: House) -> None:
    admin = house.person("admin", roles=("admin", "user"))
    text = """
[[principal]]
name = "bob"
[[principal]]
name = "high"
clearance = "secret"
[[collection]]
name = "notes"
"""
    changes = apply(house, text, admin)
    assert states(changes) == [
        ("bob", "create", "done"),
        ("high", "create", "failed"),
        ("notes", "create", "not tried"),
    ]
    assert changes[1].problem is not None
    assert "rights that you do not have" in changes[1].problem.what
    assert house.entries()[-1]["kind"] == "declaration.applied"
    assert (house.entries()[-1]["changes"], house.entries()[-1]["failed"]) == (1, 1)
    assert states(apply(house, text)) == [  # by the owner, who may
        ("bob", "none", "unchanged"),
        ("high", "create", "done"),
        ("notes", "create", "done"),
    ]


def test_policies_are_proposed_once_and_approved_by_an_owner(house: House) -> None:
    folder = house.folder / "policies"
    files = {path.name: path.read_text() for path in folder.glob("*.cedar")}
    declared = Declaration.parse({"policies": {"files": files}})
    applying, admin = house.installation.applying, house.person("admin", roles=("admin", "user"))
    assert [one.state for one in applying.apply(admin, declared)] == ["unchanged"]
    files["mine.cedar"] = (
        '@id("nobody-adds") forbid (principal, action == Action::"add", resource);'
    )
    declared = Declaration.parse({"policies": {"files": files}})
    (proposed,) = applying.apply(admin, declared)
    assert (proposed.act, list(proposed.diff)) == ("propose", ["mine.cedar"])
    (again,) = applying.apply(admin, declared)
    assert (again.state, again.note) == ("unchanged", proposed.note)
    house.collection("before")
    digest = proposed.note.rpartition(" ")[2]
    house.installation.gate.enforcement.approve(house.owner, digest)
    with pytest.raises(Refused, match="nobody-adds"):
        house.collection("after")
    for entry in house.entries_of(house.ask("What is due?").run):
        assert entry["policy"] == {
            "decision": "allow",
            "deciding": ["users-ask"],
            "digest": digest,
        }


def test_users_neither_plan_nor_apply(house: House) -> None:
    bob = house.person("bob")
    for act in (plan, apply):
        with pytest.raises(Refused):
            act(house, WHOLE, bob)


def test_an_administrator_sees_and_changes_nothing_of_another_tenant(house: House) -> None:
    apply(house, WHOLE)
    anna = Caller(house.installation.gate.principals.named("anna"), None, "local")
    (change,) = apply(house, '[[principal]]\nname = "otto"\nroles = ["admin"]', anna)
    assert change.problem is not None
    assert change.problem.what == "That name cannot be used: it is taken."
    (change,) = apply(house, '[[principal]]\nname = "eve"\ntenant = "roads"', anna)
    assert change.problem is not None
    assert change.problem.what == "There is no tenant of that name."


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"tenants": []}, "tenants"),
        ({"principal": [{"name": "a", "role": ["user"]}]}, r"principal\[0\]|role"),
        ({"principal": [{"name": "a", "roles": ["king"]}]}, r"principal\[0\]\.roles\[0\]"),
        ({"principal": [{"name": "a"}, {"name": "a"}]}, "principal 'a' is declared twice"),
        ({"collection": [{"name": "a", "state": "gone"}]}, r"collection\[0\]\.state"),
        ({"use_case": [{"id": "a", "state": "approved"}]}, r"use_case\[0\]\.state"),
        ({"use_case": "a"}, "use_case"),
        ({"policies": {"files": [1]}}, r"policies\.files"),
    ],
)
def test_what_is_no_declaration_is_refused_by_name(plain: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        Declaration.parse(plain)


def test_one_thing_alone_raises_what_keeps_it_from_being_done(tmp_path: Path) -> None:
    with a_house(tmp_path / "data") as house:
        one = house.installation.applying.one
        for plain, error in (
            ({"use_case": [{"id": "x", "state": "retired", "reason": "x"}]}, NotFound),
            ({"principal": [{"name": "x", "clearance": "cosmic"}]}, Invalid),
        ):
            with pytest.raises(error):
                one(house.owner, Declaration.parse(plain))
        declared = Declaration.parse({"principal": [{"name": "bob"}]})
        assert one(house.owner, declared).state == "done"
        assert one(house.owner, declared).state == "unchanged"


def test_only_problems_of_ours_are_told_as_failures(house: House) -> None:
    assert issubclass(Invalid, CasemateError)
    (change,) = apply(house, '[[collection]]\nname = "a/b"')
    assert change.state == "failed"
