"""Retention: the content of runs is erased when its use case no longer needs it.

Never before six months have passed: Regulation (EU) 2024/1689 (AI Act), Articles 19(1) and 26(6).
Storage limitation: Regulation (EU) 2016/679 (GDPR), Article 5(1)(e). The entries of the ledger,
which are the logs in the sense of the AI Act, stay.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from casemate.gate.acts import stamp
from casemate.gate.country import RETENTION_FLOOR_DAYS
from casemate.oversight.hold import Holds
from casemate.store.database import Database
from casemate.store.tables import openings, reviews, runs, tenants, use_cases

if TYPE_CHECKING:
    from casemate.gate.admission import Gate
    from casemate.gate.caller import Caller
    from casemate.gate.principal import Principal

_AT_ONCE = 500  # parameters in one statement


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one use case's old runs."""

    use_case: str
    before: str  # runs that ended before this were old enough
    runs: int  # whose content was erased
    openings: int
    held: int  # runs kept because of a legal hold
    entry: int | None = None  # of the ledger; None if nothing was erased


class Retention:
    """Erases the content of runs that are older than their use case's retention."""

    def __init__(self, database: Database, gate: Gate, holds: Holds) -> None:
        self._database = database
        self._gate = gate
        self._holds = holds

    def run(self, caller: Caller) -> list[Applied]:
        """Apply retention in the caller's tenant. Raises Refused."""
        self._gate.rights.administer(caller)
        return self._apply(caller.principal.tenant, caller.principal)

    def daily(self) -> list[Applied]:
        """Apply retention everywhere, as the installation itself: once a day while it runs."""
        with self._database.read() as connection:
            every = connection.execute(sa.select(tenants.c.id).order_by(tenants.c.id)).scalars()
            ids = list(every)
        return [one for id in ids for one in self._apply(id, None)]

    def _apply(self, tenant: str, actor: Principal | None) -> list[Applied]:
        with self._database.write() as connection:
            query = sa.select(use_cases.c.id, use_cases.c.retention_days)
            found = [
                self._erase(connection, row.id, row.retention_days)
                for row in connection.execute(
                    query.where(use_cases.c.tenant == tenant).order_by(use_cases.c.id)
                ).all()
            ]
            erased = [one for one in found if one.runs]
            entry = None
            if erased:
                # Last before the commit, like every act at the gate (see gate/acts.py).
                entry = self._gate.acts.record(
                    "retention.applied",
                    actor,
                    tenant=tenant,
                    use_cases={
                        one.use_case: {
                            "before": one.before,
                            "runs": one.runs,
                            "openings": one.openings,
                            "held": one.held,
                        }
                        for one in erased
                    },
                )
        if erased:
            self._database.rewrite()  # the keys live on: no copy of what they seal may remain
        return [msgspec.structs.replace(one, entry=entry if one.runs else None) for one in found]

    def _erase(self, connection: sa.Connection, use_case: str, days: int) -> Applied:
        country = self._gate.country
        # Whatever a row or a pack says, nothing younger than the law's floor goes.
        days = max(
            days, RETENTION_FLOOR_DAYS, country.retention_floor_days, country.keep_content_days
        )
        before = stamp(self._gate.acts.clock() - timedelta(days=days))
        has_content = sa.exists().where(openings.c.run == runs.c.id)
        old = connection.execute(
            sa.select(runs)
            .where(runs.c.use_case == use_case, runs.c.ended < before, has_content)
            .order_by(runs.c.id)
        ).all()
        held = self._holds.covering(connection, old)
        going = [row.id for row in old if row.id not in held]
        gone = 0
        for start in range(0, len(going), _AT_ONCE):
            some = going[start : start + _AT_ONCE]
            gone += connection.execute(sa.delete(openings).where(openings.c.run.in_(some))).rowcount
            # A reviewer's words about an answer would tell what it said.
            connection.execute(reviews.update().where(reviews.c.run.in_(some)).values(reason=""))
        counts: dict[str, Any] = {"runs": len(going), "openings": gone, "held": len(held)}
        return Applied(use_case=use_case, before=before, **counts)
