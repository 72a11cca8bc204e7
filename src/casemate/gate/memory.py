"""Memory: what the gate has read of the database, kept as long as no right has changed there.

The database counts every committed change of what rights depend on, whichever process makes it
(``Database.rights_changes``). The count is read before each use of what is remembered; when it has
moved, everything is forgotten. So a revoked key, a changed clearance or a suspended use case counts
from the next request on, here and in every other process. What depends on time (an expiry, opening
hours) is never decided from memory: the value is remembered, the clock is asked each time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

from casemate.at_hand import once

T = TypeVar("T")

_MOST = 16_384  # values; about 1 kB each


class Memory:
    """Values by key, of one count of changes; safe to use from several threads."""

    def __init__(self, changes: Callable[[], int], most: int = _MOST) -> None:
        self._changes = changes
        self._most = most
        self._held: tuple[int, dict[Hashable, object]] = (-1, {})

    def recall(self, key: Hashable, read: Callable[[], T]) -> T:
        """What ``read`` gives, or gave since the last change. What it raises is not kept.

        One key always belongs to one kind of value. ``read`` looks at nothing that changes but
        ``store.tables.RIGHTS_TABLES``: a change elsewhere is not counted.
        """
        # Counted before it is read: a change that comes in between makes the value newer than its
        # count, never older, and the next call reads it again.
        count = once(self._changes, self._changes)
        held, values = self._held
        if held != count:
            values = {}
            self._held = (count, values)
        try:
            return values[key]  # type: ignore[return-value]
        except KeyError:
            pass
        found = read()
        if len(values) >= self._most:
            values.clear()
        values[key] = found
        return found
