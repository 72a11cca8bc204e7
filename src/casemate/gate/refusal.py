"""Refusals: what the guard stopped, counted, and told to the ledger without being a flood.

An entry says how often, by which package, in which way and how far away: neither a name nor an
address, for either could carry what somebody wanted out. At most one entry a minute is made,
however many attempts there are.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casemate.errors import CasemateError

if TYPE_CHECKING:
    from casemate.gate.acts import Acts

_PAUSE_SECONDS = 60.0
_MOST_KINDS = 32  # that are told apart in one entry


@dataclass(frozen=True)
class Refusal:
    """One kind of attempt. reach: how far away, or what it is. port: 0 where there is none."""

    way: str
    reach: str
    port: int
    by: str


_OTHERS = Refusal("other", "unknown", 0, "several")


class Refusals:
    """Counts attempts. ``count`` neither waits nor fails: it is called where anything may wait."""

    def __init__(self) -> None:
        self.total = 0
        self._counts: Counter[Refusal] = Counter()
        self._counting = threading.RLock()  # counting may itself be interrupted by a refusal
        self.came = threading.Event()

    def count(self, refusal: Refusal) -> None:
        """Count one more."""
        with self._counting:
            self.total += 1
            known = refusal in self._counts or len(self._counts) < _MOST_KINDS
            self._counts[refusal if known else _OTHERS] += 1
        self.came.set()

    def take(self) -> dict[Refusal, int]:
        """What came since the last time."""
        with self._counting:
            taken, self._counts = dict(self._counts), Counter()
        return taken

    def put_back(self, taken: dict[Refusal, int]) -> None:
        """What could not be told is still to be."""
        with self._counting:
            self._counts.update(taken)


refusals = Refusals()  # of this process: so is the guard


class Telling:
    """Tells a ledger what was refused, from a thread of its own. ``close`` tells the rest."""

    def __init__(
        self, acts: Acts, told: Refusals = refusals, pause_seconds: float = _PAUSE_SECONDS
    ) -> None:
        self._acts = acts
        self._refusals = told
        self._pause_seconds = pause_seconds
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="refusals", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tell what is left, and end."""
        self._closing.set()
        self._refusals.came.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._closing.is_set():
            self._refusals.came.wait()
            self._refusals.came.clear()
            self._tell()
            self._closing.wait(self._pause_seconds)
        self._tell()

    def _tell(self) -> None:
        taken = self._refusals.take()
        if not taken:
            return
        try:
            self._acts.record(
                "connection.refused",
                None,
                attempts=sum(taken.values()),
                kinds=[
                    {
                        "way": one.way,
                        "reach": one.reach,
                        "port": one.port,
                        "by": one.by,
                        "attempts": count,
                    }
                    for one, count in sorted(taken.items(), key=lambda item: -item[1])
                ],
            )
        except CasemateError:  # the ledger cannot take it now; the next time it may
            self._refusals.put_back(taken)
            self._refusals.came.set()
