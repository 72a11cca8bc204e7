"""Turns: so many at a time, so many waiting, and a clear refusal for whoever comes after."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from casemate.errors import TooMany


class Turns:
    """Hands out ``at_once`` turns; ``waiting`` more may stand in line for one."""

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._free = threading.Semaphore(at_once)
        self._places = threading.Semaphore(at_once + waiting)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn and hold it. Raises TooMany at once if the line is full."""
        if not self._places.acquire(blocking=False):
            raise TooMany(
                "Too many imports are waiting for their turn.", "Try again when some have ended."
            )
        try:
            with self._free:
                yield
        finally:
            self._places.release()
