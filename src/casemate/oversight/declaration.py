"""Declarations: what an organisation wants its tenants, people, collections and use cases to be.

One document, TOML on the command line and JSON at ``/api/apply``. What it does not name is left
alone, and so is every field that it leaves out of something that exists; nothing ends but what it
says is to end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Meta, Struct

from casemate.errors import Invalid

_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_Role = Literal["owner", "admin", "auditor", "user"]
_PLACE = re.compile(r" - at `\$\.?(.*)`$")


class WantedTenant(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An organisation. It is never taken away."""

    name: _Name


class WantedPrincipal(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A person or a service. New ones are users with the lowest clearance unless it says more."""

    name: _Name
    tenant: _Name | None = None  # for the owner; without it, the tenant of who applies
    kind: Literal["person", "service"] | None = None
    roles: list[_Role] | None = None
    clearance: str | None = None
    state: Literal["active", "disabled"] = "active"


class WantedCollection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A collection. ``readers``: names of people and ``role:NAME``, or everyone of the tenant."""

    name: _Name
    label: str | None = None
    readers: list[_Name] | Literal["everyone"] | None = None
    state: Literal["present", "absent"] = "present"


class WantedUseCase(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A use case. ``collections``: names, or all. Another person approves what is new in it."""

    id: _Name
    purpose: str | None = None
    legal_basis: str | None = None
    risk: str | None = None
    models: list[_Name] | None = None
    collections: list[_Name] | Literal["all"] | None = None
    ceiling: str | None = None
    oversight: str | None = None
    retention_days: int | None = None
    hours: str | None = None  # "always": no opening hours
    quota: dict[str, int] | None = None
    screening: dict[str, dict[str, str]] | None = None
    not_prohibited: str | None = None  # a reason: no to every question of the screening
    state: Literal["registered", "suspended", "retired"] = "registered"
    reason: str = ""  # of a suspension, or of its end


class WantedPolicies(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All policy files, by name. Another person, an owner, approves them."""

    files: dict[str, str]


class Declaration(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that is wanted, in the order in which it is applied."""

    tenant: list[WantedTenant] = []
    principal: list[WantedPrincipal] = []
    collection: list[WantedCollection] = []
    use_case: list[WantedUseCase] = []
    policies: WantedPolicies | None = None

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> Self:
        """A document as a declaration. Raises Invalid naming the place that is wrong."""
        try:
            found = msgspec.convert(plain, cls)
        except msgspec.ValidationError as problem:
            text = str(problem)
            place = _PLACE.search(text)
            fact = text[: place.start()] if place else text
            where = place.group(1) if place else "the document"
            raise Invalid(f"{where}: {fact}.", "Correct the declaration.") from None
        for kind, names in (
            ("tenant", [one.name for one in found.tenant]),
            ("principal", [one.name for one in found.principal]),
            ("collection", [one.name for one in found.collection]),
            ("use_case", [one.id for one in found.use_case]),
        ):
            for twice in sorted({one for one in names if names.count(one) > 1}):
                raise Invalid(f"{kind} {twice[:80]!r} is declared twice.", "Declare it once.")
        return found
