"""What is read from the database again after a second: another process may have changed it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

SECONDS = 1.0

T = TypeVar("T")


class Fresh(Generic[T]):
    """A value that is never older than ``SECONDS``. ``clock`` only grows, in seconds."""

    def __init__(self, read: Callable[[], T], clock: Callable[[], float]) -> None:
        self._read = read
        self._clock = clock
        self._known: tuple[float, T] | None = None

    @property
    def stale(self) -> bool:
        """Whether the next look would read."""
        return self._known is None or self._clock() - self._known[0] >= SECONDS

    def now(self) -> T:
        """The value."""
        known = self._known
        if known is None or self._clock() - known[0] >= SECONDS:
            at = self._clock()  # before reading: what changes meanwhile counts as unread
            known = self._known = (at, self._read())
        return known[1]

    def forget(self) -> None:
        """Read at the next look: it was changed here."""
        self._known = None
