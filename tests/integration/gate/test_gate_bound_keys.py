"""A key that is bound to a use case reaches what that one may use, and nothing beside it."""

from __future__ import annotations

import json

import pytest
from gate_builders import World

from casemate.errors import NotFound, Refused
from casemate.gate.caller import Caller


def bound(world: World, use_case: str, name: str = "Anne") -> Caller:
    _, text = world.gate.keys.create(world.owner, name, use_case=use_case)
    return world.gate.keys.caller(text)


def reached(world: World, caller: Caller) -> set[str]:
    return {reach.id for reach in world.gate.collections(caller)}


def test_a_bound_key_reaches_the_collections_of_its_use_case_alone(world: World) -> None:
    notes, more = world.collection("notes"), world.collection("more")
    world.use_case("counter", collections=[notes])
    assert reached(world, world.owner) == {notes, more}
    assert reached(world, bound(world, "counter")) == {notes}


def test_a_bound_key_reaches_no_higher_than_its_use_cases_ceiling(world: World) -> None:
    notes = world.collection("notes")
    world.collection("payroll", "restricted")
    world.person("Bob", "secret")
    world.use_case("office", ceiling=world.label("unclassified"))
    assert reached(world, bound(world, "office", "Bob")) == {notes}


def test_a_bound_key_reaches_no_higher_than_its_holder(world: World) -> None:
    notes = world.collection("notes")
    payroll = world.collection("payroll", "restricted")
    eve = world.person("Eve")
    world.collection("hers", readers=json.dumps([eve.principal.id]), owner=eve.principal.id)
    world.person("Bob")
    world.use_case("office", ceiling=world.label("secret"), collections=[notes, payroll])
    assert reached(world, bound(world, "office", "Bob")) == {notes}


def test_a_bound_key_reaches_nothing_while_its_use_case_is_not_approved(world: World) -> None:
    notes = world.collection("notes")
    world.use_case("counter", approve=False)
    key = bound(world, "counter")
    assert reached(world, key) == set()
    world.gate.use_cases.approve(world.admin(), "counter")
    assert reached(world, key) == {notes}
    world.gate.use_cases.suspend(world.owner, "counter", "For a test.")
    assert reached(world, key) == set()


def test_a_bound_key_reaches_nothing_under_another_use_case(world: World) -> None:
    world.collection("notes")
    world.use_case("counter")
    other = world.gate.use_cases.get(world.owner, "documents")
    assert world.gate.collections(bound(world, "counter"), other) == []
    own = world.gate.use_cases.get(world.owner, "counter")
    assert world.gate.collections(bound(world, "counter"), own)


def test_a_bound_key_sees_no_use_case_but_its_own(world: World) -> None:
    world.use_case("counter")
    key, cases = bound(world, "counter"), world.gate.use_cases
    assert [case.id for case in cases.list(key)] == ["counter"]
    assert cases.get(key, "counter").id == "counter"
    answers = set()
    for id in ("documents", "nothing"):
        with pytest.raises(NotFound) as caught:
            cases.get(key, id)
        answers.add((caught.value.what, caught.value.next))
    assert len(answers) == 1


@pytest.mark.parametrize("act", ["audit", "add", "delete", "administer", "approve", "review"])
def test_a_bound_key_of_the_owner_does_nothing_of_the_office(world: World, act: str) -> None:
    notes = world.collection("notes")
    world.use_case("counter")
    key = bound(world, "counter")
    with pytest.raises(Refused, match="bound-key-only-asks"):
        world.gate.require(key, act)
    with pytest.raises(Refused, match="bound-key-only-asks"):
        world.gate.require(key, act, resource=f"collection:{notes}")


def test_a_bound_key_of_the_owner_lists_no_keys_of_others(world: World) -> None:
    world.person("Bob")
    world.gate.keys.create(world.owner, "Bob")
    world.use_case("counter")
    key = bound(world, "counter")
    assert {one.principal for one in world.gate.keys.list(key)} == {"Anne"}
    assert {one.principal for one in world.gate.keys.list(world.owner)} == {"Anne", "Bob"}


def test_to_a_bound_key_what_its_use_case_may_not_use_is_as_absent_as_any(world: World) -> None:
    notes = world.collection("notes")
    world.collection("more")
    world.collection("payroll", "restricted")
    world.person("Bob", "secret")
    world.use_case("counter", collections=[notes])
    world.use_case("low", ceiling=world.label("unclassified"))
    for use_case, name in (("counter", "more"), ("low", "payroll")):
        key, answers = bound(world, use_case, "Bob"), set()
        for asked in (name, "absent"):
            with pytest.raises(NotFound) as caught:
                world.gate.admit(key, use_case=None, collections=[asked])
            answers.add((caught.value.what.replace(repr(asked), "NAME"), caught.value.next))
        assert len(answers) == 1
