from __future__ import annotations

import json
from typing import Any

import pytest
from gate_builders import World

from casemate.errors import Conflict, Invalid, NotFound, Refused, Unsupported


def test_a_use_case_lives_from_draft_to_retired_and_each_move_is_recorded(world: World) -> None:
    cases = world.gate.use_cases
    assert world.use_case("office", approve=False).state == "draft"
    admin = world.admin()
    assert cases.approve(admin, "office").state == "approved"
    assert cases.suspend(world.owner, "office", "For a test.").state == "suspended"
    assert cases.approve(admin, "office").state == "approved"
    assert cases.retire(world.owner, "office", "For a test.").state == "retired"
    kinds = [kind for kind in world.ledger.kinds() if kind.startswith("use_case.")]
    assert kinds == [
        "use_case.registered",
        "use_case.registered",
        "use_case.approved",
        "use_case.suspended",
        "use_case.approved",
        "use_case.retired",
    ]
    assert [case.id for case in cases.list(world.owner)] == ["documents", "office"]
    assert cases.get(world.owner, "office").state == "retired"


def test_moves_that_make_no_sense_are_refused(world: World) -> None:
    cases, admin = world.gate.use_cases, world.admin()
    world.use_case("office", approve=False)
    with pytest.raises(Conflict, match="draft cannot become suspended"):
        cases.suspend(admin, "office", "For a test.")
    cases.retire(admin, "office", "For a test.")
    for move in (
        lambda: cases.approve(admin, "office"),
        lambda: cases.suspend(admin, "office", "For a test."),
        lambda: cases.retire(admin, "office", "For a test."),
    ):
        with pytest.raises(Conflict, match="retired"):
            move()


def test_who_is_alone_is_told_to_create_a_second_person(world: World) -> None:
    world.use_case("office", approve=False)
    with pytest.raises(Refused, match="none yet") as caught:
        world.gate.use_cases.approve(world.owner, "office")
    assert "casemate user create NAME --role admin" in caught.value.next


def test_who_registered_it_does_not_approve_it_though_there_are_others(world: World) -> None:
    world.use_case("office", approve=False)
    world.admin()
    with pytest.raises(Refused, match="second person decides") as caught:
        world.gate.use_cases.approve(world.owner, "office")
    assert "colleague" in caught.value.next


def test_neither_services_nor_keys_approve(world: World) -> None:
    world.use_case("office", approve=False)
    robot = world.person("robot", kind="service", roles=("admin",))
    world.admin()
    _, text = world.gate.keys.create(world.owner, "admin")
    for caller in (robot, world.gate.keys.caller(text)):
        with pytest.raises(Refused, match="person's decision"):
            world.gate.use_cases.approve(caller, "office")


def test_users_neither_register_nor_approve_nor_suspend(world: World) -> None:
    bob = world.person("Bob")
    world.use_case("office", approve=False)
    for act in (
        lambda: world.gate.use_cases.approve(bob, "office"),
        lambda: world.gate.use_cases.suspend(bob, "documents", "For a test."),
        lambda: world.gate.use_cases.retire(bob, "documents", "For a test."),
    ):
        with pytest.raises(Refused):
            act()
    assert [case.id for case in world.gate.use_cases.list(bob)] == ["documents", "office"]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"risk": "prohibited"}, Refused, "Article 5"),
        ({"risk": "some"}, Invalid, "risk class 'some'"),
        ({"risk": "high"}, Invalid, "oversight"),
        ({"oversight": "sometimes"}, Invalid, "oversight 'sometimes'"),
        ({"retention_days": 182}, Invalid, "183"),
        ({"retention_days": 10**9}, Invalid, "days"),
        ({"purpose": "  "}, Invalid, "purpose"),
        ({"legal_basis": ""}, Invalid, "legal basis"),
        ({"models": ()}, Invalid, "model"),
        ({"models": ("quote", "quote")}, Invalid, "twice"),
        ({"collections": ("absent",)}, NotFound, "absent"),
    ],
)
def test_what_cannot_be_registered_is_refused(
    world: World, wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        world.use_case("office", approve=False, **wrong)


@pytest.mark.parametrize("risk", ["minimal", "high"])
def test_oversight_before_an_answer_is_not_offered_and_what_to_use_is_said(
    world: World, risk: str
) -> None:
    with pytest.raises(Unsupported, match="not built yet") as caught:
        world.use_case("office", approve=False, oversight="before", risk=risk)
    assert "“after”" in caught.value.next
    assert "“none”" in caught.value.next
    assert [case.id for case in world.gate.use_cases.list(world.owner)] == ["documents"]
    assert world.use_case("office", approve=False, oversight="after", risk=risk)


@pytest.mark.parametrize("id", ["", "Office", "a b", "-a", "a-", "a" * 65, "../x", "a:b"])
def test_an_id_that_is_no_plain_word_is_refused(world: World, id: str) -> None:
    with pytest.raises(Invalid, match="id of a use case"):
        world.use_case(id, approve=False)


def test_an_id_that_is_taken_is_refused(world: World) -> None:
    with pytest.raises(Conflict):
        world.use_case("documents", approve=False)


def test_another_tenants_collection_is_as_absent_as_any(world: World) -> None:
    army = world.gate.principals.create_tenant(world.owner, "army")
    theirs = world.collection("theirs", tenant=army)
    with pytest.raises(NotFound, match="no collection with id"):
        world.use_case("office", approve=False, collections=[theirs])


def test_nobody_approves_a_use_case_of_collections_above_their_clearance(world: World) -> None:
    payroll, plans = world.collection("payroll", "restricted"), world.collection("plans", "secret")
    world.use_case("office", approve=False, collections=[world.collection("notes"), payroll])
    world.use_case("staff", approve=False, collections=[payroll, plans])
    low = world.admin("low", "unclassified")
    with pytest.raises(Refused) as caught:
        world.gate.use_cases.approve(low, "office")
    assert caught.value.what == (
        "You cannot approve what you may not see: "
        "use case office names a collection that you may not read."
    )
    assert "whose clearance covers" in caught.value.next
    assert world.gate.use_cases.get(world.owner, "office").state == "draft"
    entry = world.ledger.entries[-1]
    assert (entry["kind"], entry["action"]) == ("refused", "approve")
    with pytest.raises(Refused, match="names 2 collections"):
        world.gate.use_cases.approve(low, "staff")
    assert world.gate.use_cases.approve(world.admin("high"), "office").state == "approved"


def test_nobody_approves_a_use_case_of_collections_kept_from_them(world: World) -> None:
    admin, other = world.admin(), world.admin("other")
    board = world.collection("board", readers=json.dumps([other.principal.id]))
    world.use_case("office", approve=False, collections=[board])
    with pytest.raises(Refused, match="cannot approve what you may not see"):
        world.gate.use_cases.approve(admin, "office")
    assert world.gate.use_cases.approve(other, "office").state == "approved"


def test_a_use_case_of_all_collections_is_approved_without_reading_any(world: World) -> None:
    world.collection("plans", "secret")
    world.use_case("office", approve=False)
    admin = world.admin("low", "unclassified")
    assert world.gate.use_cases.approve(admin, "office").state == "approved"
