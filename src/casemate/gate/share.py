"""Shares: who goes first, and how much of an engine each gets, while several wait for it.

A use case has a priority; a tenant has a weight among tenants, and a principal one among those of
its tenant. ``engines.schedule`` acts on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from casemate.errors import Invalid, Refused
from casemate.gate.fresh import Fresh
from casemate.gate.limit import EVERY, PRINCIPAL, TENANT, USE_CASE, check_home
from casemate.gate.right import Rights
from casemate.store.database import Database
from casemate.store.tables import principals, shares

if TYPE_CHECKING:
    from casemate.gate.caller import Caller

PRIORITIES = ("interactive", "normal", "batch")  # first come first
NORMAL = "normal"
HEAVIEST = 1000


@dataclass(frozen=True)
class Standing:
    """How one run stands among those that wait."""

    priority: str = NORMAL
    tenant_weight: int = 1
    principal_weight: int = 1

    def under(self, priority: str | None) -> Standing:
        """The same, with this priority if it is a lower one: nobody raises their own."""
        if priority is None or PRIORITIES.index(priority) <= PRIORITIES.index(self.priority):
            return self
        return Standing(priority, self.tenant_weight, self.principal_weight)


NO_STANDING = Standing()  # of whoever nothing is set for

_Known = dict[tuple[str, str, str], tuple[int | None, str | None]]


class Shares:
    """Sets priorities and weights; each change is an entry of the ledger."""

    def __init__(self, database: Database, rights: Rights, seconds: Callable[[], float]) -> None:
        self._database = database
        self._rights = rights
        self._known: Fresh[_Known] = Fresh(self._read, seconds)

    def standing(self, tenant: str, principal: str, use_case: str) -> Standing:
        """How a run of theirs stands. May read the database, at most once a second."""
        known = self._known.now()

        def weight(kind: str, target: str) -> int:
            own = known.get((tenant, kind, target), (None, None))[0]
            return own or known.get((tenant, kind, EVERY), (None, None))[0] or 1

        priority = known.get((tenant, USE_CASE, use_case), (None, None))[1]
        return Standing(priority or NORMAL, weight(TENANT, tenant), weight(PRINCIPAL, principal))

    def prioritise(self, actor: Caller, tenant: str, use_case: str, priority: str) -> None:
        """Set the priority of a use case (ids). Raises Invalid, Refused.

        The highest is for the owner to give, whichever the tenant: it goes before every other's.
        """
        self._rights.administer(actor)
        owns = "owner" in actor.principal.roles
        if priority not in PRIORITIES:
            raise Invalid(
                f"There is no priority {priority[:40]!r}.", f"There are: {', '.join(PRIORITIES)}."
            )
        if priority == PRIORITIES[0] and not owns:
            raise Refused(
                "An interactive use case goes before those of every other tenant.",
                "Ask the owner of the installation to make it one.",
            )
        if not owns:
            check_home(actor, tenant, USE_CASE)
        self._put(actor, tenant, USE_CASE, use_case, "priority", priority)

    def weigh(self, actor: Caller, tenant: str, kind: str, target: str, weight: int) -> None:
        """Set the weight of a principal or, for the owner alone, of a tenant. Or Invalid, Refused.

        ``target``: an id, or ``EVERY`` principal. Twice the weight is twice the work done while
        both wait.
        """
        self._rights.administer(actor)
        if kind == TENANT and "owner" not in actor.principal.roles:
            raise Refused("A tenant's weight is set by the owner alone.", "Ask the owner.")
        if kind not in (TENANT, PRINCIPAL) or not 1 <= weight <= HEAVIEST:
            raise Invalid(
                "That is no weight.",
                f"Give a principal or a tenant a whole number from 1 to {HEAVIEST}.",
            )
        check_home(actor, tenant, kind)
        self._put(actor, tenant, kind, target, "weight", weight)

    def chosen(self, actor: Caller) -> list[tuple[str, str, int | None, str | None]]:
        """Kind, target, weight and priority of what is set in the actor's tenant. Or Refused."""
        self._rights.administer(actor)
        self._known.forget()
        home = actor.principal.tenant
        return [
            (kind, target, weight, priority)
            for (tenant, kind, target), (weight, priority) in sorted(self._known.now().items())
            if tenant == home
        ]

    def _put(
        self, actor: Caller, tenant: str, kind: str, target: str, column: str, value: int | str
    ) -> None:
        this = (shares.c.tenant == tenant, shares.c.kind == kind, shares.c.target == target)
        with self._database.write() as connection:
            row = connection.execute(sa.select(shares.c[column]).where(*this)).first()
            before = None if row is None else row[0]
            if before == value:
                return
            if row is None:
                key = {"tenant": tenant, "kind": kind, "target": target}
                connection.execute(shares.insert().values(key | {column: value}))
            else:
                connection.execute(shares.update().where(*this).values({column: value}))
            facts: dict[str, int | str] = {"after": value}
            if before is not None:
                facts["before"] = before
            self._rights.acts.record(
                "share.set",
                actor.principal,
                of=kind,
                target=_shown(connection, kind, target),
                what=column,
                **facts,
            )
        self._known.forget()

    def _read(self) -> _Known:
        with self._database.read() as connection:
            rows = connection.execute(sa.select(shares)).all()
        return {(row.tenant, row.kind, row.target): (row.weight, row.priority) for row in rows}


def _shown(connection: sa.Connection, kind: str, target: str) -> str:
    """How the ledger names a target: people by their pseudonym."""
    if kind != PRINCIPAL or target == EVERY:
        return target
    query = sa.select(principals.c.pseudonym).where(principals.c.id == target)
    return str(connection.execute(query).scalar_one())
