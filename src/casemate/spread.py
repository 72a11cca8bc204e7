"""Spreads: how long things took, as counts of what took at most so long."""

from __future__ import annotations

import threading
from bisect import bisect_left
from itertools import accumulate

# Seconds, from a lookup to minutes of reasoning; what took longer is counted after the last.
BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)


class Spread:
    """Durations of one sort; safe to add to from several threads."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0
        self._adding = threading.Lock()

    def add(self, seconds: float) -> None:
        """Count one."""
        with self._adding:
            self._counts[bisect_left(BOUNDS, seconds)] += 1
            self._seconds += seconds

    @property
    def mean(self) -> float | None:
        """Seconds; None before the first."""
        with self._adding:
            count = sum(self._counts)
            return self._seconds / count if count else None

    def read(self) -> tuple[list[int], float]:
        """For each bound, and last for all: how many took at most so long; and the sum of all."""
        with self._adding:
            return list(accumulate(self._counts)), self._seconds
