"""Expectations: a file of decisions that the policies have to give, as a regression test.

TOML, one ``[[expect]]`` for each: ``name``, ``decision`` (allow or refuse), ``action``, and, if
wanted, the ``deciding`` policies. Principals and resources are made up, see ``Actor`` and
``Thing``; the decision is that of the gate, with its limits, and not of Cedar alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from casemate.errors import Invalid
from casemate.gate.caller import Strength
from casemate.gate.country import Country
from casemate.gate.label import clearance
from casemate.gate.policy import ACTIONS, KINDS, Decision, PolicySet, Resource
from casemate.gate.principal import Principal
from casemate.gate.right import judged

FILE = "expected.toml"  # in the folder of the policies, it is asked before they are loaded

_Text = Annotated[str, Meta(min_length=1, max_length=200)]


class Actor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody made up. ``clearance``: without one, the lowest."""

    roles: list[str] = []
    clearance: str | None = None
    tenant: _Text = "home"
    id: _Text = "somebody"
    kind: Literal["person", "service"] = "person"
    disabled: bool = False


class Thing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something made up to act on. ``readers`` as collections have them; null: the tenant."""

    kind: Literal["installation", "collection", "use_case", "model", "run"]
    id: _Text = "something"
    tenant: _Text = "home"
    owner: str | None = None
    readers: list[str] | None = None
    label: str | None = None


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One decision that is expected."""

    name: _Text
    decision: Literal["allow", "refuse"]
    action: str
    principal: Actor
    resource: Thing
    deciding: list[str] | None = None
    approved: bool = True  # the use case, if one is at stake
    bound: bool = False  # the key, to a use case
    via: Literal["key", "session", "local", "certificate"] = "session"
    assurance: Literal["low", "substantial", "high"] | None = None
    second_factor: bool = False


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    expect: list[Expectation]


class Difference(msgspec.Struct, frozen=True):
    """An expectation that is not met, and how."""

    name: str
    what: str


def expectations(content: bytes, file: str = FILE) -> list[Expectation]:
    """The expectations of one file. Raises Invalid naming what is wrong, also if there is none."""
    try:
        found = msgspec.toml.decode(content, type=_File).expect
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Invalid(f"{file}: {problem}.", "Correct the file.") from None
    if not found:
        raise Invalid(f"{file} expects nothing.", "Write an [[expect]] for each decision.")
    for one in found:
        if one.action not in ACTIONS:
            raise Invalid(
                f"{file}: {one.name!r} has no known action.",
                f"There are: {', '.join(sorted(ACTIONS))}.",
            )
    return found


def differences(
    policies: PolicySet, wanted: Iterable[Expectation], country: Country
) -> Iterator[Difference]:
    """What ``policies`` decide differently. Raises Invalid for a label that is none."""
    for one in wanted:
        decision = _decided(policies, one, country)
        said = "allow" if decision.allowed else "refuse"
        by = ", ".join(decision.deciding) or "no policy"
        if said != one.decision:
            yield Difference(one.name, f"expected {one.decision}, but it is {said}, by {by}")
        elif one.deciding is not None and sorted(one.deciding) != list(decision.deciding):
            expected = ", ".join(sorted(one.deciding)) or "no policy"
            yield Difference(one.name, f"{said} as expected, but by {by} and not by {expected}")


def _decided(policies: PolicySet, one: Expectation, country: Country) -> Decision:
    who, thing, policy = one.principal, one.resource, country.policy
    principal = Principal(
        who.id,
        who.tenant,
        who.id,
        who.kind,
        frozenset(who.roles),
        clearance(policy.parse(who.clearance) if who.clearance else policy.lowest()),
        who.id,
        who.disabled,
    )
    resource = Resource(
        KINDS[thing.kind],
        thing.id,
        thing.tenant,
        thing.owner,
        None if thing.readers is None else tuple(thing.readers),
    )
    labels = [policy.parse(thing.label)] if thing.label else []
    return judged(
        policies,
        principal,
        one.action,
        resource,
        labels,
        approved=one.approved,
        bound=one.bound,
        strength=Strength(one.via, one.assurance, one.second_factor),
    )
