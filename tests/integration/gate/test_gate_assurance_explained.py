"""What `policy explain` says where a policy demands how somebody signed in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gate_builders import World

from casemate.errors import Refused
from casemate.gate.caller import Strength
from casemate.gate.policy import PolicySet
from casemate.gate.session import SecondStep
from casemate.gate.whatif import WhatIf, what_if

DEMAND = b"""
@id("questions-need-two-factors")
@says("Who asks has signed in with two factors, or with substantial assurance.")
forbid (principal, action == Action::"ask", resource)
unless { context.second_factor || context.assurance >= 2 };
"""


def asking(world: World, strength: Strength) -> WhatIf:
    return what_if(world.gate, world.owner, "Bob", "ask", "use_case:documents", strength=strength)


def test_a_demand_is_named_with_what_would_meet_it(world: World) -> None:
    world.person("Bob")
    files = {**world.gate.policies.files, "demand.cedar": DEMAND}
    world.gate.rights.policies = PolicySet.parse(files)
    weak = asking(world, Strength("session"))
    assert not weak.allowed
    assert [one.id for one in weak.deciding] == ["questions-need-two-factors"]
    assert weak.reasons[0].startswith("Who asks has signed in with two factors")
    assert weak.reasons[-1] == (
        "It would be allowed after signing in with the level of assurance substantial."
    )
    assert asking(world, Strength("session", None, True)).allowed
    assert asking(world, Strength("session", "high")).allowed


def test_nothing_is_promised_where_no_means_would_help(world: World) -> None:
    world.person("Bob")
    found = what_if(
        world.gate, world.owner, "Bob", "administer", "installation", strength=Strength("key")
    )
    assert not [reason for reason in found.reasons if "signing in" in reason]


def test_a_run_is_refused_to_who_signed_in_weakly_and_given_to_who_did_not(world: World) -> None:
    world.person("Bob")
    files = {**world.gate.policies.files, "demand.cedar": DEMAND}
    world.gate.rights.policies = PolicySet.parse(files)
    made = world.gate.second_factors.enrol(world.owner, "Bob")
    link = world.gate.sessions.link_for(world.gate.principals.named("Bob"), actor=world.owner)
    weak = world.caller("Bob")
    with pytest.raises(Refused, match="questions-need-two-factors"):
        world.gate.admit(weak, use_case="documents")
    with pytest.raises(SecondStep) as step:
        world.gate.sessions.redeem(link)
    token = world.gate.sessions.complete(step.value.ticket, made.recovery_codes[0])
    assert world.gate.admit(world.gate.sessions.caller(token), use_case="documents")


def test_what_is_remembered_of_somebody_is_remembered_for_how_they_signed_in(world: World) -> None:
    secret_room = world.collection("room")
    world.person("Bob")
    demand = b"""
    @id("rooms-need-two-factors")
    forbid (principal, action == Action::"read", resource is Collection)
    unless { context.second_factor };
    """
    files = {**world.gate.policies.files, "demand.cedar": demand}
    world.gate.rights.policies = PolicySet.parse(files)
    weak = world.caller("Bob")
    strong = replace(weak, second_factor=True)
    for turn in range(2):
        assert secret_room in {one.id for one in world.gate.collections(strong)}
        assert world.gate.collections(weak) == []
        assert secret_room in world.gate.admit(strong, use_case="documents").collections
        assert world.gate.admit(weak, use_case="documents").collections == ()
        world.person(f"somebody else {turn}")  # the next turn is judged anew, where it has to be
