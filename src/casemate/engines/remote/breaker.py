"""Circuit breaker: a replica that fails is left alone, for longer each time it fails again.

Closed: it is asked. Open: it is not, until a pause has passed. Half open: one exchange tries it;
that decides. The pauses double, within bounds and with jitter, so that the processes that ask one
server do not come back in step. Source: M. Nygard, Release It!, 2nd ed., chapter 5; AWS
Architecture Blog, "Exponential Backoff and Jitter" (full jitter, here over the upper half).
"""

from __future__ import annotations

import random
from collections.abc import Callable

STATES = ("closed", "open", "half open")
_FAILURES = 5  # in a row, of exchanges that began: where one in a hundred fails, hardly ever
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


class Breaker:
    """Of one replica. ``now``: monotonic seconds, given with each call. ``draw``: from 0 to 1."""

    __slots__ = ("_draw", "_failures", "_opened", "_trying", "_until")

    def __init__(self, draw: Callable[[], float] = random.random) -> None:
        self._draw = draw
        self._failures = 0  # in a row
        self._opened = 0  # times in a row
        self._until = 0.0
        self._trying = False

    @property
    def is_closed(self) -> bool:
        """Whether the replica may be asked as often as anybody likes."""
        return not self._opened

    def state(self, now: float) -> str:
        """One of STATES."""
        if not self._opened:
            return "closed"
        return "half open" if self._trying or now >= self._until else "open"

    def is_due(self, now: float) -> bool:
        """Whether a trial may begin: it is half open, and none is under way."""
        return bool(self._opened) and not self._trying and now >= self._until

    def pause(self, now: float) -> float:
        """Seconds until the next trial; 0 where it is closed or due."""
        return max(0.0, self._until - now) if self._opened else 0.0

    def begin_trial(self) -> None:
        """The one exchange that decides has begun: it passes, fails or is abandoned."""
        self._trying = True

    def passed(self) -> None:
        """The trial was answered: closed."""
        self._opened = self._failures = 0
        self._trying = False

    def abandon(self) -> None:
        """The trial was given up by whoever asked, which says nothing about the replica."""
        self._trying = False

    def succeeded(self) -> None:
        """An answer came to its end. It does not close what is open: it began before."""
        if not self._opened:
            self._failures = 0

    def failed(self, now: float) -> None:
        """An exchange failed after it had begun; several in a row open it, one that tried does."""
        self._failures += 1
        if self._opened or self._failures >= _FAILURES:
            self._open(now)

    def unreachable(self, now: float) -> None:
        """There is no connection to be had: it is opened at once."""
        self._open(now)

    def _open(self, now: float) -> None:
        if self._opened and not self._trying and now < self._until:
            return  # exchanges that began before it opened end one by one: that is one failure
        longest = min(_LONGEST_PAUSE_SECONDS, _PAUSE_SECONDS * 2.0 ** min(self._opened, 16))
        self._until = now + longest * (0.5 + 0.5 * self._draw())
        self._opened += 1
        self._trying = False
