"""Leases: what each process holds of a budget, in the tables that all of them share.

A row of ``quota_leases`` is held by one process until it expires; ``quota_uses`` holds what was
used and reported. The functions work in the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from casemate.gate.limit import Limit
from casemate.store.tables import quota_leases, quota_uses, tenants

LEASE_SECONDS = 30
_KEPT_SECONDS = 62 * 86_400  # that counts of windows which are over are kept


@dataclass
class Lease:
    """What this process holds of one budget, in the window that begins at ``start``."""

    limit: Limit
    start: int
    granted: int = 0  # of which the database knows that it is held here
    reserved: int = 0  # by runs that are open
    used: int = 0  # and not reported yet
    drawing: bool = False  # the database is being asked: nothing is taken until it has answered
    active: bool = True  # something was taken since the last report

    @property
    def spare(self) -> int:
        """What is held and not needed."""
        return self.granted - self.reserved - self.used

    @property
    def free(self) -> int:
        """What may be taken now."""
        return 0 if self.drawing else self.spare


class Leases:
    """The leases of one process. ``holder``: a name for it that no other has."""

    def __init__(self, holder: str) -> None:
        self._holder = holder
        self._swept = 0.0

    def lock(self, connection: sa.Connection, tenant: str) -> None:
        """Let no other process draw on this tenant's budgets until the transaction ends.

        (PostgreSQL; on SQLite there is one writer anyway.)
        """
        connection.execute(
            sa.select(tenants.c.id).where(tenants.c.id == tenant).with_for_update(key_share=True)
        )

    def used(self, connection: sa.Connection, limit: Limit, start: int) -> int:
        """What was used and reported, by every process."""
        uses = quota_uses.c
        query = sa.select(uses.used).where(uses.counter == counter(limit), uses.start == start)
        return int(connection.execute(query).scalar() or 0)

    def held(
        self, connection: sa.Connection, limit: Limit, start: int, now: datetime, *, here: bool
    ) -> int:
        """What is held by every process that is alive; ``here``: by this one as well."""
        leases = quota_leases.c
        query = sa.select(sa.func.sum(leases.amount)).where(
            leases.counter == counter(limit),
            leases.start == start,
            leases.expires >= int(now.timestamp()),
        )
        if not here:
            query = query.where(leases.holder != self._holder)
        return int(connection.execute(query).scalar() or 0)

    def write(
        self, connection: sa.Connection, lease: Lease, used: int, held: int, now: datetime
    ) -> None:
        """Add what was ``used``, and hold this much from now on."""
        name, uses, leases = counter(lease.limit), quota_uses.c, quota_leases.c
        this = (uses.counter == name, uses.start == lease.start)
        change = quota_uses.update().where(*this).values(used=uses.used + used)
        # Made where a lease is drawn first, under the lock: two never insert it at once.
        if not connection.execute(change).rowcount:
            row = {"counter": name, "start": lease.start, "used": used}
            connection.execute(quota_uses.insert().values(row))
        mine = (
            leases.counter == name,
            leases.start == lease.start,
            leases.holder == self._holder,
        )
        if held <= 0:
            connection.execute(quota_leases.delete().where(*mine))
            return
        values = {"amount": held, "expires": int(now.timestamp()) + LEASE_SECONDS}
        if not connection.execute(quota_leases.update().where(*mine).values(values)).rowcount:
            key = {"counter": name, "start": lease.start, "holder": self._holder}
            connection.execute(quota_leases.insert().values(key | values))

    def sweep(self, connection: sa.Connection, now: datetime) -> None:
        """Once an hour, forget what no window needs any more."""
        at = now.timestamp()
        if at - self._swept < 3600:
            return
        uses, leases = quota_uses.c, quota_leases.c
        # What counts open runs has no window, begins at 0, and is never used up.
        ended = (uses.start > 0, uses.start < int(at) - _KEPT_SECONDS)
        connection.execute(quota_uses.delete().where(*ended))
        minutes = (uses.counter.endswith("/minute"), uses.start < int(at) - 3600)
        connection.execute(quota_uses.delete().where(*minutes))
        connection.execute(quota_leases.delete().where(leases.expires < int(at)))
        self._swept = at


def counter(limit: Limit) -> str:
    """What a limit is counted under, whatever its amount."""
    return f"{limit.tenant}/{limit.kind}/{limit.target}/{limit.measure}/{limit.window}"
