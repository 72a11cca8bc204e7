"""Quotas: the limits that an organisation sets for itself, kept where every process sees them.

A limit holds for one principal, one use case, or the tenant as a whole; set for ``EVERY``
principal or use case it is each one's own, until a limit of the same measure and window is set for
one by name. What is used of them, ``gate.budget`` counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import sqlalchemy as sa

from casemate.errors import NotFound, Refused
from casemate.gate.fresh import Fresh
from casemate.gate.limit import EVERY, PRINCIPAL, TENANT, USE_CASE, Limit, check_home
from casemate.gate.right import Rights
from casemate.store.database import Database
from casemate.store.tables import principals, quotas, use_cases

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.principal import Principals
    from casemate.gate.register import UseCases


class Quotas:
    """Sets limits, each change an entry of the ledger, and knows which hold for whom.

    ``seconds`` is a clock that only grows.
    """

    def __init__(
        self,
        database: Database,
        rights: Rights,
        principals: Principals,
        use_cases: UseCases,
        seconds: Callable[[], float],
    ) -> None:
        self._database = database
        self._rights = rights
        self._principals = principals
        self._use_cases = use_cases
        self._known = Fresh(self._read, seconds)  # by tenant

    def target(self, actor: Caller, kind: str, name: str) -> tuple[str, str]:
        """Tenant and target of a limit, as ids; ``name``: as people call it, or ``EVERY``.

        Of a tenant, none means the actor's own. Raises NotFound, Refused.
        """
        self._may(actor, kind)
        home = actor.principal.tenant
        if kind == TENANT:
            other = home if name == "" else self._principals.tenant(actor, name)
            return other, other
        if name == EVERY:
            return home, EVERY
        if kind == PRINCIPAL:
            return home, self._principals.colleague(actor, name).id
        return home, self._use_cases.of_tenant(home, name).id

    def put(self, actor: Caller, limit: Limit) -> None:
        """Set a limit in place of the one of the same target, measure and window.

        The tenant's own are for the owner alone: an administrator answers for what is inside.
        Raises Refused.
        """
        self._may(actor, limit.kind)
        check_home(actor, limit.tenant, limit.kind)
        with self._database.write() as connection:
            before = connection.execute(sa.select(quotas.c.amount).where(*_is(limit))).scalar()
            values = {
                "amount": limit.amount,
                "set_by": actor.principal.id,
                "set_at": self._rights.acts.now(),
            }
            if before is None:
                key = {
                    name: getattr(limit, name)
                    for name in ("tenant", "kind", "target", "measure", "window")
                }
                connection.execute(quotas.insert().values(key | values))
            elif before != limit.amount:
                connection.execute(quotas.update().where(*_is(limit)).values(values))
            else:
                return  # said again: nothing changes, and nothing is recorded
            self._record(connection, actor, "quota.set", limit, before=before, after=limit.amount)
        self._known.forget()

    def remove(self, actor: Caller, limit: Limit) -> None:
        """Take a limit away; its ``amount`` does not matter. Raises NotFound, Refused."""
        self._may(actor, limit.kind)
        check_home(actor, limit.tenant, limit.kind)
        with self._database.write() as connection:
            before = connection.execute(sa.select(quotas.c.amount).where(*_is(limit))).scalar()
            if before is None:
                raise NotFound("There is no such limit.", "`casemate quota show` lists them.")
            connection.execute(quotas.delete().where(*_is(limit)))
            self._record(connection, actor, "quota.removed", limit, before=before, after=None)
        self._known.forget()

    def limits(self, actor: Caller) -> list[Limit]:
        """Every limit of the actor's tenant; for the owner, those of other tenants too. Or Refused.

        What another tenant allows its own people is its own affair.
        """
        self._rights.administer(actor)
        home = actor.principal.tenant
        self._known.forget()
        known = self._known.now()
        found = list(known.get(home, ()))
        if "owner" in actor.principal.roles:
            found += [
                limit
                for tenant, limits in known.items()
                for limit in limits
                if tenant != home and limit.kind == TENANT
            ]
        return found

    def holding(self, tenant: str, principal: str, use_case: str) -> list[Limit]:
        """The limits on a run, each with the id that it counts for as its target.

        May read the database, at most once a second.
        """
        limits = self._known.now().get(tenant)
        if not limits:
            return []
        return _holding(limits, {PRINCIPAL: principal, USE_CASE: use_case, TENANT: tenant})

    @property
    def stale(self) -> bool:
        """Whether ``holding`` would read the database."""
        return self._known.stale

    def _read(self) -> dict[str, list[Limit]]:
        known: dict[str, list[Limit]] = {}
        with self._database.read() as connection:
            for row in connection.execute(_ALL):
                known.setdefault(row.tenant, []).append(
                    Limit(row.tenant, row.kind, row.target, row.measure, row.window, row.amount)
                )
            for row in connection.execute(_APPROVED):
                known.setdefault(row.tenant, []).extend(_terms(row.tenant, row.id, row.quota))
        return known

    def _may(self, actor: Caller, kind: str) -> None:
        self._rights.administer(actor)
        if kind == TENANT and "owner" not in actor.principal.roles:
            raise Refused(
                "What your organisation as a whole may use is set by the owner alone.",
                "Set limits for people and use cases, or ask the owner.",
            )

    def _record(
        self, connection: sa.Connection, actor: Caller, kind: str, limit: Limit, **facts: int | None
    ) -> None:
        self._rights.acts.record(
            kind,
            actor.principal,
            of=limit.kind,
            target=self._pseudonym(connection, limit),
            measure=limit.measure,
            window=limit.window,
            # absent rather than null: a fact is a number or a text
            **{name: value for name, value in facts.items() if value is not None},
        )

    def _pseudonym(self, connection: sa.Connection, limit: Limit) -> str:
        if limit.kind != PRINCIPAL or limit.target == EVERY:
            return limit.target
        query = sa.select(principals.c.pseudonym).where(principals.c.id == limit.target)
        return str(connection.execute(query).scalar_one())


_APPROVED = sa.select(use_cases.c.tenant, use_cases.c.id, use_cases.c.quota).where(
    use_cases.c.quota.is_not(None)
)
_ALL = sa.select(quotas).order_by(
    quotas.c.tenant, quotas.c.kind, quotas.c.target, quotas.c.measure, quotas.c.window
)


def _terms(tenant: str, use_case: str, quota: str) -> Iterator[Limit]:
    """The limits that a use case was approved with."""
    for name, amount in json.loads(quota).items():
        measure, _, window = name.partition("/")
        yield Limit.parse(tenant, USE_CASE, use_case, measure, window, amount)


def _is(limit: Limit) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        quotas.c.tenant == limit.tenant,
        quotas.c.kind == limit.kind,
        quotas.c.target == limit.target,
        quotas.c.measure == limit.measure,
        quotas.c.window == limit.window,
    )


def _holding(limits: Iterable[Limit], own: dict[str, str]) -> list[Limit]:
    found: dict[tuple[str, str, str], Limit] = {}
    explicit: set[tuple[str, str, str]] = set()
    for limit in limits:
        id = own[limit.kind]
        key = (limit.kind, limit.measure, limit.window)
        if limit.target == id:
            # Set for it by an administrator, and in the terms it was approved with: both hold.
            if key not in explicit or limit.amount < found[key].amount:
                found[key] = limit
            explicit.add(key)
        elif limit.target == EVERY and key not in found:
            found[key] = Limit(
                limit.tenant, limit.kind, id, limit.measure, limit.window, limit.amount
            )
    return list(found.values())
