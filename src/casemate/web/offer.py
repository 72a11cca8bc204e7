"""What each use case really reaches: the collections that the page of asking may offer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casemate.errors import NotFound, Refused
from casemate.gate.admission import DOCUMENTS

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.usecase import UseCase
    from casemate.installation import Installation
    from casemate.library.document import Collection


@dataclass(frozen=True)
class Offer:
    """One use case and what its asker can search under it."""

    use_case: UseCase
    collections: tuple[Collection, ...]  # by name
    too_high: bool  # a collection of it that the asker may read lies above its ceiling

    @property
    def names(self) -> frozenset[str]:
        """The names of its collections."""
        return frozenset(one.name for one in self.collections)


@dataclass(frozen=True)
class Offers:
    """Everything on offer to one caller."""

    readable: tuple[Collection, ...]  # by name, whatever a use case reaches
    each: tuple[Offer, ...]
    listed: bool  # the caller may choose between them

    def of(self, use_case: str) -> Offer | None:
        """That of the use case called ``use_case``; without a name, the first that reaches any."""
        if use_case:
            return next((one for one in self.each if one.use_case.id == use_case), None)
        first = self.each[0] if self.each else None
        return next((one for one in self.each if one.collections), first)

    @property
    def collections(self) -> list[tuple[Collection, list[str]]]:
        """Each collection that some use case reaches, with the ids of those that do."""
        if not self.each:  # the gate will say what is missing
            return [(one, []) for one in self.readable]
        found = [
            (one, [offer.use_case.id for offer in self.each if one in offer.collections])
            for one in self.readable
        ]
        return [(one, reached_by) for one, reached_by in found if reached_by]


def offers(house: Installation, caller: Caller) -> Offers:
    """What ``caller`` can ask about, use case by use case."""
    readable = sorted(house.library.collections(caller), key=lambda one: one.name.casefold())
    listed, found = True, []
    try:
        found = house.gate.use_cases.list(caller)
    except Refused:  # who may not list them asks under the one that the gate chooses
        listed = False
        try:
            chosen = caller.use_case or DOCUMENTS
            found = [house.gate.use_cases.of_tenant(caller.principal.tenant, chosen)]
        except NotFound:
            found = []
    return Offers(
        tuple(readable),
        tuple(
            _offer(one, readable, caller)
            for one in found
            if one.state == "approved" and caller.use_case in (None, one.id)
        ),
        listed,
    )


def _offer(use_case: UseCase, readable: Sequence[Collection], caller: Caller) -> Offer:
    limit = caller.principal.clearance.meet(use_case.ceiling)
    named = [
        one for one in readable if use_case.collections is None or one.id in use_case.collections
    ]
    reached = tuple(one for one in named if limit.dominates(one.label))
    return Offer(use_case, reached, len(reached) < len(named))
