"""What if: the same answer as in earnest, with reasons, and nothing done."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from gate_builders import World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from casemate.errors import CasemateError, Invalid, NotFound, Refused
from casemate.gate.caller import Caller
from casemate.gate.hours import Hours
from casemate.gate.whatif import what_if


def test_it_says_who_would_be_allowed_by_which_policy_in_words(world: World) -> None:
    world.person("Bob")
    found = what_if(world.gate, world.owner, "Bob", "ask", "use_case:documents")
    assert found.allowed
    assert found.reasons == (
        "Users ask and search under use cases. (users-ask, use.cedar, line 3)",
    )
    (policy,) = found.deciding
    assert policy.text.startswith('@id("users-ask")')
    assert found.digest == world.gate.policies.digest


def test_it_says_why_somebody_would_be_refused(world: World) -> None:
    world.person("Bob")
    plans = world.collection("plans", "secret")
    world.gate.principals.change(world.owner, "Anne", clearance=world.label("secret"))
    anne = world.caller("Anne")
    found = what_if(world.gate, anne, "Bob", "read", f"collection:{plans}")
    assert not found.allowed
    assert found.reasons == (
        "Nobody uses what is labelled above their clearance. "
        "(label-must-be-dominated, limits.cedar, line 3)",
        "lu:secret is at stake, and the clearance is lu:unclassified.",
    )
    assert what_if(
        world.gate, anne, "Bob", "read", f"collection:{plans}", clearance=world.label("secret")
    ).allowed


def test_no_policy_at_all_is_a_reason_too(world: World) -> None:
    world.person("Bob")
    found = what_if(world.gate, world.owner, "Bob", "administer", "installation")
    assert found.reasons == ("No policy permits it, and what no policy permits is refused.",)
    assert what_if(
        world.gate, world.owner, "Bob", "administer", "installation", roles=("admin",)
    ).allowed


def test_drafts_and_closed_use_cases_are_told(world: World) -> None:
    world.person("Bob")
    world.use_case("draft", approve=False)
    found = what_if(world.gate, world.owner, "Bob", "ask", "use_case:draft")
    assert "not approved" in found.reasons[0]
    world.use_case("office", hours=Hours.parse("mon-fri 08:00-18:00", "UTC"))
    world.watch.moment = datetime(2026, 3, 7, 9, 0, tzinfo=UTC)
    found = what_if(world.gate, world.owner, "Bob", "ask", "use_case:office")
    assert (found.allowed, found.reasons[-1]) == (
        False,
        "But it is open mon-fri 08:00-18:00 UTC, and it is closed now.",
    )


def test_nothing_is_recorded_and_nobody_but_administrators_asks(world: World) -> None:
    bob = world.person("Bob")
    before = len(world.ledger.entries)
    what_if(world.gate, world.owner, "Bob", "administer", "installation")
    assert len(world.ledger.entries) == before
    with pytest.raises(Refused):
        what_if(world.gate, bob, "Anne", "ask", "use_case:documents")


def test_what_one_may_not_see_is_as_absent_as_what_is_not_there(world: World) -> None:
    admin = world.admin("admin", "unclassified")
    plans = world.collection("plans", "secret")
    for id in (plans, "absent", "../x", "c\ud800"):
        with pytest.raises(NotFound, match="no such collection that you may see"):
            what_if(world.gate, admin, "Anne", "read", f"collection:{id}")


@pytest.mark.parametrize(
    ("action", "resource", "roles"),
    [
        ("fly", "installation", ()),
        ("read", "moon", ()),
        ("ask", "installation", ()),
        ("ask", "use_case", ()),
        ("read", "installation", ("king",)),
    ],
)
def test_what_there_is_not_is_refused(
    world: World, action: str, resource: str, roles: tuple[str, ...]
) -> None:
    with pytest.raises(Invalid):
        what_if(world.gate, world.owner, "Anne", action, resource, roles=roles)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    action=st.sampled_from(["ask", "search", "read", "add", "administer", "approve", "audit"]),
    roles=st.sets(st.sampled_from(["owner", "admin", "auditor", "user"]), min_size=1),
    clearance=st.sampled_from(["unclassified", "secret"]),
    kind=st.sampled_from(["use_case:documents", "collection:c0", "installation"]),
)
def test_it_says_the_same_as_the_gate_does_in_earnest(
    world: World, action: str, roles: set[str], clearance: str, kind: str
) -> None:
    if not world.gate.collections(world.owner):
        world.collection("notes")
    if action in ("ask", "search"):
        kind = "use_case:documents"
    name = f"{'-'.join(sorted(roles))}-{clearance}"
    try:
        bob = world.caller(name)
    except NotFound:
        bob = world.person(name, clearance, roles=tuple(roles))
    said = what_if(world.gate, world.owner, name, action, kind).allowed
    assert said == in_earnest(world, bob, action, kind)


def in_earnest(world: World, bob: Caller, action: str, kind: str) -> bool:
    try:
        if action in ("ask", "search"):
            world.gate.admit(bob, use_case="documents", action=action)
        else:
            world.gate.require(bob, action, resource=kind)
    except CasemateError:
        return False
    return True
