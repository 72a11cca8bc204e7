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
from casemate.store.tables import kept, openings, reviews, runs, tenants, use_cases

if TYPE_CHECKING:
    from casemate.gate.admission import Gate
    from casemate.gate.caller import Caller
    from casemate.gate.principal import Principal
    from casemate.library.kept import Kept

_AT_ONCE = 500  # parameters in one statement


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one use case's old runs."""

    use_case: str
    before: str  # runs that ended before this were old enough
    runs: int  # whose content was erased
    openings: int
    kept: int  # exchanges of conversations, and what batches gave
    held: int  # runs kept because of a legal hold
    entry: int | None = None  # of the ledger; None if nothing was erased


class Retention:
    """Erases the content of runs that are older than their use case's retention."""

    def __init__(self, database: Database, gate: Gate, holds: Holds, kept: Kept) -> None:
        self._kept = kept
        self._dropped: list[str] = []  # content of what is being erased
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
            erased = [one for one in found if one.runs or one.kept]
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
                            "kept": one.kept,
                            "held": one.held,
                        }
                        for one in erased
                    },
                )
        self._kept.drop(self._dropped)
        self._dropped.clear()
        if erased:
            self._database.rewrite()  # the keys live on: no copy of what they seal may remain
        return [
            msgspec.structs.replace(one, entry=entry if one in erased else None) for one in found
        ]

    def _erase_kept(self, connection: sa.Connection, use_case: str, before: str) -> int:
        """Erase what people keep of such runs, in conversations and as results of batches."""
        mine = sa.and_(kept.c.use_case == use_case, kept.c.created < before)
        rows = connection.execute(
            sa.select(
                sa.func.coalesce(kept.c.run, kept.c.id).label("id"),
                kept.c.principal,
                kept.c.tenant,
                kept.c.number,
            ).where(mine)
        ).all()
        held = self._holds.covering(connection, rows)
        going = [row.number for row in rows if row.id not in held]
        gone = 0
        for start in range(0, len(going), _AT_ONCE):
            some = kept.c.number.in_(going[start : start + _AT_ONCE])
            count, blobs = self._kept.erase(connection, some)
            gone += count
            self._dropped += blobs
        return gone

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
        things = self._erase_kept(connection, use_case, before)
        counts: dict[str, Any] = {
            "runs": len(going), "openings": gone, "held": len(held), "kept": things
        }  # fmt: skip
        return Applied(use_case=use_case, before=before, **counts)
