"""A deadline that is moved often and met almost always: one timer, moved only when it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """By when something has to have happened, in one event loop; what is called if it has not."""

    __slots__ = ("_loop", "_missed", "_timer", "_when")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._when: float | None = None
        self._missed: Callable[[], object] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        return self._when is not None

    def set(self, seconds: float, missed: Callable[[], object]) -> None:
        """It is so far away from now, and what it was before no more."""
        when = self._when = self._loop.time() + seconds
        self._missed = missed
        timer = self._timer
        if timer is None or timer.when() > when:
            if timer is not None:
                timer.cancel()
            self._timer = self._loop.call_at(when, self._look)

    def clear(self) -> None:
        """There is none. The timer stays for the next; ``close`` ends it."""
        self._when = self._missed = None

    def close(self) -> None:
        """There is none, and will be none."""
        self.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        timer, self._timer = self._timer, None
        when, missed = self._when, self._missed
        if when is None or missed is None or timer is None:
            return
        if when > timer.when():
            self._timer = self._loop.call_at(when, self._look)
            return
        self.clear()
        missed()
