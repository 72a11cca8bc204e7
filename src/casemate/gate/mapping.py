"""Mapping: what a directory's groups and attributes mean here: tenant, roles, clearance.

``directory.toml`` in the data folder, beside what connects to a directory (see ``directory``)::

    [[group]]
    name = "Registry"              # its displayName, its cn or its whole DN; case does not count
    roles = ["user"]
    clearance = "lu:restricted"    # left out: the group gives none
    tenant = "home"                # left out: in every tenant

    [everybody]                    # what everyone has whom the directory knows; left out: nothing
    roles = ["user"]
    clearance = "lu:unclassified"

Nothing is inherited and nothing is guessed: who is in no mapped group has no right, and a role
without a clearance opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from casemate.errors import Invalid
from casemate.gate.label import Label, clearance
from casemate.gate.principal import ROLES

if TYPE_CHECKING:
    from casemate.gate.country import Country

FILE = "directory.toml"
GIVEN = ROLES - {"owner", "provisioner"}
"""What a directory may give. Never the owner's role: who runs the directory is not the owner."""

_REPAIR = f"Correct {FILE} in the data folder."


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a group, or everybody, is given, as somebody wrote it."""

    roles: list[str] = []
    clearance: str = ""


class GroupGrant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one group is given, as somebody wrote it."""

    name: str
    roles: list[str] = []
    clearance: str = ""
    tenant: str = ""


@dataclass(frozen=True)
class Granted:
    """What somebody's groups give. ``clearance`` None: nothing may be read, whatever the roles."""

    roles: frozenset[str]
    clearance: Label | None


@dataclass(frozen=True)
class _Rule:
    group: str | None  # folded; None: everybody
    tenant: str  # its name; "": every one
    roles: frozenset[str]
    clearance: Label | None


class Mapping:
    """The rules of one file, checked."""

    def __init__(
        self, groups: Iterable[GroupGrant], everybody: Grant | None, country: Country
    ) -> None:
        """Raises Invalid naming the rule that is wrong."""
        rules = [] if everybody is None else [_rule("everybody", everybody, country)]
        rules += [_rule(f"group {one.name[:80]!r}", one, country) for one in groups]
        self._rules = tuple(rules)

    def granted(self, groups: Iterable[str], tenant: str) -> Granted:
        """What members of ``groups`` have in the tenant of that name.

        Roles add up; so do clearances: the highest level, every compartment. If two of them
        speak of people whom nothing can be released to together, there is no clearance.
        """
        names = {folded(name) for name in groups}
        roles: frozenset[str] = frozenset()
        label: Label | None = None
        for rule in self._rules:
            if rule.tenant not in ("", tenant):
                continue
            if rule.group is not None and rule.group not in names:
                continue
            roles |= rule.roles
            if rule.clearance is not None:
                label = rule.clearance if label is None else label.join(rule.clearance)
        # Releasable to nobody would pass every check of releasability: see ``clearance``.
        if label is not None and label.releasable_to is not None and not label.releasable_to:
            label = None
        return Granted(roles, label)


def folded(name: str) -> str:
    """A name as names are compared: without case and surrounding space."""
    return name.strip().casefold()


def known_clearance(text: str, country: Country, where: str) -> Label:
    """``text`` as a clearance. Raises Invalid saying where it stands."""
    try:
        label = clearance(country.policy.parse(text))
    except Invalid as problem:
        raise Invalid(f"{FILE}: {where}: {problem.what}", _REPAIR) from None
    if label.policy != country.policy:
        what = f"{FILE}: {where}: a clearance belongs to label policy {country.policy.id}."
        raise Invalid(what, _REPAIR)
    return label


def _rule(where: str, given: Grant | GroupGrant, country: Country) -> _Rule:
    unknown = sorted(set(given.roles) - GIVEN)
    if unknown:
        raise Invalid(
            f"{FILE}: {where}: {unknown[0][:40]!r} is no role that a directory gives.",
            f"It can give: {', '.join(sorted(GIVEN))}.",
        )
    label = known_clearance(given.clearance, country, where) if given.clearance else None
    group, tenant = None, ""
    if isinstance(given, GroupGrant):
        group, tenant = folded(given.name), given.tenant
        if not group:
            raise Invalid(f"{FILE}: a group has no name.", _REPAIR)
    return _Rule(group, tenant, frozenset(given.roles), label)
