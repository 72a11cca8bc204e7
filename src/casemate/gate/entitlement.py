"""Entitlements: what the claims of a person mean here. Parsed strictly: what is missing denies.

A claim is found by its path, because providers nest them (``realm_access`` › ``roles``). The
addresses that name levels of assurance are those of the eIDAS SAML attribute profile, version 1.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from casemate.errors import CasemateError
from casemate.gate.caller import LEVELS
from casemate.gate.label import Label, LabelPolicy, clearance
from casemate.gate.name import checked_name
from casemate.gate.sign_in_refusal import Unassured, Unentitled

Claims = Mapping[str, Any]
Path_ = tuple[str, ...]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Rule(Generic[_T]):
    """What each value of a claim means. Values that are not named mean nothing."""

    path: Path_
    values: Mapping[str, _T]

    def meanings(self, claims: Claims, what: str) -> list[_T]:
        """What the values of the claim mean, those that mean something."""
        return [
            self.values[value] for value in texts(claims, self.path, what) if value in self.values
        ]


@dataclass(frozen=True)
class TenantRule:
    """The tenant of everybody (``name``), or what a claim says it is, by ``values`` if given."""

    name: str
    path: Path_
    values: Mapping[str, str]


@dataclass(frozen=True)
class Entitled:
    """What a person is and may do here."""

    name: str
    tenant: str
    roles: frozenset[str]
    clearance: Label
    assurance: str | None


@dataclass(frozen=True)
class Entitlements:
    """The rules of one provider. ``ceiling``: no clearance goes above it."""

    policy: LabelPolicy
    person: Path_
    tenant: TenantRule
    roles: Rule[frozenset[str]]
    clearance: Rule[Label]
    ceiling: Label | None
    levels: Mapping[str, str]  # acr → level
    minimum: str | None

    def of(self, claims: Claims, acr: object) -> Entitled:
        """What ``claims`` give. ``acr``: the claim of that name in the ID token.

        Raises Unentitled, saying which right is missing; Unassured.
        """
        assurance = self.levels.get(acr) if isinstance(acr, str) else None
        if self.minimum is not None and (
            assurance is None or LEVELS.index(assurance) < LEVELS.index(self.minimum)
        ):
            raise Unassured(self.minimum)
        given = self.roles.meanings(claims, "role")
        if not given:
            raise Unentitled("none of its groups has a role")
        return Entitled(
            self._name(claims),
            self._tenant(claims),
            frozenset().union(*given),
            self._clearance(claims),
            assurance,
        )

    @property
    def acr_values(self) -> tuple[str, ...]:
        """What to ask the provider for, so that signing in there will be strong enough."""
        if self.minimum is None:
            return ()
        enough = LEVELS[LEVELS.index(self.minimum) :]
        return tuple(acr for acr, level in self.levels.items() if level in enough)

    def _name(self, claims: Claims) -> str:
        name = _single(texts(claims, self.person, "name"), "name")
        try:
            return checked_name(name)
        except CasemateError:
            raise Unentitled("its name cannot be used here") from None

    def _tenant(self, claims: Claims) -> str:
        if self.tenant.name:
            return self.tenant.name
        found = _single(texts(claims, self.tenant.path, "tenant"), "tenant")
        if not self.tenant.values:
            return found
        if found not in self.tenant.values:
            raise Unentitled("its organisation is not known here")
        return self.tenant.values[found]

    def _clearance(self, claims: Claims) -> Label:
        try:
            if self.clearance.values:
                labels = self.clearance.meanings(claims, "clearance")
                if not labels:
                    raise Unentitled("it has no clearance that is known here")
                found = labels[0]
                for label in labels[1:]:
                    found = found.join(label)
            else:
                text = _single(texts(claims, self.clearance.path, "clearance"), "clearance")
                found = self.policy.parse(text)
            return clearance(found if self.ceiling is None else found.meet(self.ceiling))
        except Unentitled:
            raise
        except CasemateError:
            raise Unentitled("its clearance has no meaning here") from None


def texts(claims: Claims, path: Path_, what: str) -> list[str]:
    """The text, or the texts of the list, at ``path``; none if nothing is there.

    Raises Unentitled for anything else: a number or an object is not taken for a text.
    """
    found: Any = claims
    for step in path:
        if not isinstance(found, Mapping):
            raise Unentitled(f"its {what} is not written as expected")
        found = found.get(step)
        if found is None:
            return []
    several = found if isinstance(found, list) else [found]
    if not all(isinstance(one, str) for one in several):
        raise Unentitled(f"its {what} is not written as expected")
    return several


def _single(found: list[str], what: str) -> str:
    if len(found) != 1 or not found[0]:
        raise Unentitled(f"it has no {what}" if not found else f"it has more than one {what}")
    return found[0]
