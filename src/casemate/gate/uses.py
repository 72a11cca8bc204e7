"""Uses: when something that opens the door was used last, to within a minute.

Kept apart from what is used, so that a busy key or session costs a write a minute and no right
seems to have changed (see ``memory``).
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from casemate.at_hand import waits
from casemate.errors import Unavailable
from casemate.gate.acts import stamp

if TYPE_CHECKING:
    from casemate.gate.acts import Acts
    from casemate.store.database import Database

_MOST = 10_000  # that one process remembers


class Uses:
    """Notes uses in ``table``: its one key column, and ``last``."""

    def __init__(self, database: Database, acts: Acts, table: sa.Table) -> None:
        self._database = database
        self._acts = acts
        self._table = table
        [self._id] = table.primary_key.columns
        self._noted: dict[str, datetime] = {}  # id → the minute written last, by this process

    def note(self, id: str) -> None:
        """``id`` is used now."""
        moment = self._acts.clock()
        minute = moment.replace(second=0, microsecond=0)
        if self._noted.get(id) == minute:
            return
        now = stamp(moment)
        waits()
        if len(self._noted) > _MOST:
            self._noted.clear()
        self._noted[id] = minute
        with suppress(Unavailable), self._database.write() as connection:
            # A disk that is full refuses what matters; when something was used is not that.
            mine, table = self._id == id, self._table
            if not connection.execute(table.update().where(mine).values(last=now)).rowcount:
                connection.execute(table.insert().values({self._id.name: id, "last": now}))
