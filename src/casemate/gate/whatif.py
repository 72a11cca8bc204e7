"""What if: what the gate would say to somebody, and why, in words. Nothing is done.

The same parts decide as in earnest: the policies in force, the limits in code, the labels, and for
a run the life and the hours of its use case. Who asks has to administer, and learns nothing about
a thing that they may not see themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from casemate.errors import Invalid, NotFound
from casemate.gate.caller import LEVELS, SIGNED_IN, Caller, Strength
from casemate.gate.label import Label
from casemate.gate.policy import ACTIONS, KINDS, Decision, Policy, Resource
from casemate.gate.principal import ROLES, Principal
from casemate.gate.right import RUNS

if TYPE_CHECKING:
    from casemate.gate.admission import Gate
    from casemate.gate.usecase import UseCase


@dataclass(frozen=True)
class WhatIf:
    """What would be said: whether it is allowed, why, and by which policies of which set."""

    allowed: bool
    reasons: tuple[str, ...]
    deciding: tuple[Policy, ...]
    digest: str


def what_if(
    gate: Gate,
    actor: Caller,
    name: str,
    action: str,
    resource: str,
    *,
    label: Label | None = None,
    roles: Sequence[str] = (),
    clearance: Label | None = None,
    strength: Strength = SIGNED_IN,
) -> WhatIf:
    """What the gate would say to the colleague called ``name`` who wants to do ``action``.

    ``resource``: a kind, alone or with ":" and an id, as ``Gate.require`` takes it. ``roles`` and
    ``clearance`` stand in for those that the principal has; ``strength`` is how they came in.
    Raises Invalid, Refused, NotFound.
    """
    gate.rights.administer(actor)
    kind, _, id = resource.partition(":")
    _check(action, kind, id, roles)
    principal = _imagined(gate.principals.colleague(actor, name), roles, clearance)
    target, labels = _target(gate, actor, kind, id)
    use_case = gate.use_cases.of_tenant(principal.tenant, id) if action in RUNS else None
    approved = use_case is None or use_case.state == "approved"
    if label is not None:
        labels = [*labels, label]
    if use_case is not None:
        labels = [*labels, principal.clearance.meet(use_case.ceiling)]
    caller = Caller(
        principal,
        None,
        strength.via,
        assurance=strength.assurance,
        second_factor=strength.second_factor,
    )
    decision = gate.rights.decide(caller, action, target, labels=labels, approved=approved)
    reasons = list(_reasons(gate, principal, labels, decision))
    if not decision.allowed:
        reasons += _stronger(gate, caller, action, target, labels, approved)
    closed = _closed(gate, use_case) if decision.allowed and use_case is not None else []
    known = gate.policies.policies
    return WhatIf(
        decision.allowed and not closed,
        tuple(reasons + closed),
        tuple(known[one] for one in decision.deciding if one in known),
        decision.digest,
    )


def _check(action: str, kind: str, id: str, roles: Sequence[str]) -> None:
    for wrong, what, known in (
        (action not in ACTIONS, f"There is no action {action[:40]!r}.", sorted(ACTIONS)),
        (kind not in KINDS, f"There is no resource {kind[:40]!r}.", list(KINDS)),
        (not ROLES.issuperset(roles), "There is no such role.", sorted(ROLES)),
    ):
        if wrong:
            raise Invalid(what, f"There are: {', '.join(known)}.")
    if action in RUNS and (kind != "use_case" or not id):
        raise Invalid("Asking and searching is done under a use case.", "Name use_case:ID.")


def _imagined(who: Principal, roles: Sequence[str], clearance: Label | None) -> Principal:
    wanted = frozenset(roles) or who.roles
    return replace(who, roles=wanted, clearance=clearance or who.clearance)


def _target(gate: Gate, actor: Caller, kind: str, id: str) -> tuple[Resource, list[Label]]:
    found = gate.thing(actor, kind, id)
    if found is None:
        what = kind.replace("_", " ")
        raise NotFound(
            f"There is no such {what} that you may see.", f"List them to find the {what}."
        )
    return found


def _reasons(
    gate: Gate, principal: Principal, labels: Iterable[Label], decision: Decision
) -> Iterable[str]:
    if not decision.deciding:
        yield "No policy permits it, and what no policy permits is refused."
    known = gate.policies.policies
    for id in decision.deciding:
        policy = known.get(id)
        if policy is None:
            yield f"{id}: a limit of the gate itself, whatever the policies say."
        elif policy.says:
            yield f"{policy.says} ({id}, {policy.place})"
        else:
            verb = "permits" if decision.allowed else "forbids"
            yield f"The policy {id} {verb} it ({policy.place})."
    for label in labels:
        if not principal.clearance.dominates(label):
            yield f"{label} is at stake, and the clearance is {principal.clearance}."


def _stronger(
    gate: Gate,
    caller: Caller,
    action: str,
    target: Resource,
    labels: Sequence[Label],
    approved: bool,
) -> list[str]:
    """What of the way in would have to be stronger, if nothing else is in the way."""
    for both, level in itertools.product((False, True), (None, *LEVELS)):
        other = replace(caller, via="session", assurance=level, second_factor=both)
        if gate.rights.decide(other, action, target, labels=labels, approved=approved).allowed:
            wanted = ["two factors"] * both + ([f"the level of assurance {level}"] if level else [])
            how = f" with {' and '.join(wanted)}" if wanted else ""
            return [f"It would be allowed after signing in{how}."]
    return []


def _closed(gate: Gate, use_case: UseCase) -> list[str]:
    if use_case.hours is None or use_case.hours.open_at(gate.acts.clock()):
        return []
    return [f"But it is open {use_case.hours}, and it is closed now."]
