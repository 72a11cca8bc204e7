"""Whether time tells in the leak campaign: calls about the hidden against calls about the absent.

The two of a pair follow each other at once, in an order that is drawn, so that what slows the
machine slows both. The test is that of Mann and Whitney, two-sided, with the normal approximation
and the correction for ties. Its effect size is A, the probability that a call about the hidden
takes longer than one about the absent (1/2: no difference; Vargha and Delaney, 2000).

Sources: Mann, Whitney, Annals of Mathematical Statistics 18(1), 1947; for the smallest effect that
n pairs show, Noether, Journal of the American Statistical Association 82(398), 1987.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import leak_pairs
from leak_asker import Asker

_NORMAL = statistics.NormalDist()
_LEVEL, _POWER = 0.01, 0.9
# An asker who could tell two groups apart this well would be told something. Cliff's delta of
# 0.147 is where a difference ceases to be negligible by the usual convention (Romano, 2006).
_TELLING = 0.147 / 2


@dataclass(frozen=True)
class Compared:
    """Two samples of seconds, of the hidden and of the absent."""

    hidden: Sequence[float]
    absent: Sequence[float]

    @property
    def a(self) -> float:
        """The probability that one of the hidden is larger than one of the absent."""
        return self._u / (len(self.hidden) * len(self.absent))

    @property
    def p(self) -> float:
        """How likely at least this difference is, if there is none."""
        n, m = len(self.hidden), len(self.absent)
        ties = Counter([*self.hidden, *self.absent]).values()
        whole = n + m
        correction = sum(count**3 - count for count in ties) / (whole * (whole - 1))
        spread = math.sqrt(n * m / 12 * (whole + 1 - correction))
        if not spread:
            return 1.0
        z = max(0.0, abs(self._u - n * m / 2) - 0.5) / spread
        return 2 * (1 - _NORMAL.cdf(z))

    @property
    def smallest(self) -> float:
        """How far from 1/2 A has to be to be found with ``_POWER`` at ``_LEVEL``."""
        n = min(len(self.hidden), len(self.absent))
        reach = _NORMAL.inv_cdf(1 - _LEVEL / 2) + _NORMAL.inv_cdf(_POWER)
        return reach / math.sqrt(6 * n)

    @property
    def smallest_seconds(self) -> float:
        """The shift of all times that would move A as far, from how densely they lie."""
        low, high = 0.0, max(self.absent) - min(self.absent)
        for _ in range(40):
            middle = (low + high) / 2
            shifted = Compared([one + middle for one in self.absent], self.absent)
            low, high = (low, middle) if shifted.a - 0.5 >= self.smallest else (middle, high)
        return high

    @property
    def tells(self) -> bool:
        """Whether somebody learns something from the time, beyond chance and beyond measuring."""
        return self.p < _LEVEL and abs(self.a - 0.5) >= _TELLING

    @property
    def _u(self) -> float:
        """The statistic of Mann and Whitney, from the ranks of the hidden."""
        both = sorted([(one, True) for one in self.hidden] + [(one, False) for one in self.absent])
        ranks, place = 0.0, 0
        while place < len(both):
            end = place
            while end < len(both) and both[end][0] == both[place][0]:
                end += 1
            rank = (place + 1 + end) / 2
            ranks += rank * sum(hidden for _, hidden in both[place:end])
            place = end
        return ranks - len(self.hidden) * (len(self.hidden) + 1) / 2


async def measured(ask: Asker, count: int, seconds: float) -> dict[str, Compared]:
    """Times of ``count`` pairs of each kind, or fewer, made while nobody else asks."""
    until = time.monotonic() + seconds
    times: dict[str, tuple[list[float], list[float]]] = {}
    while time.monotonic() < until:
        person = ask.dice.choice(ask.world.people)
        paper, shelf = ask.hidden_paper(person), ask.hidden_shelf(person)
        if paper is None or shelf is None:
            continue
        some = leak_pairs.kinds(ask, person, paper, shelf)
        wanted = [name for name in some if len(times.get(name, ((), ()))[0]) < count]
        if not wanted:
            break
        for name in ask.dice.sample(wanted, min(3, len(wanted))):
            hidden, absent = await leak_pairs.made(ask, person, name, some[name], "time")
            first, second = times.setdefault(name, ([], []))
            first.append(hidden.seconds)
            second.append(absent.seconds)
    return {name: Compared(*both) for name, both in sorted(times.items())}


def line(name: str, found: Compared) -> str:
    """The figures of one kind of pair."""
    hidden, absent = (statistics.median(one) * 1000 for one in (found.hidden, found.absent))
    return (
        f"time {name:13} n={len(found.hidden):5} median hidden {hidden:7.2f} ms, absent "
        f"{absent:7.2f} ms; Mann–Whitney p={found.p:.3f}, A={found.a:.3f}; "
        f"n shows A off by {found.smallest:.3f} ({found.smallest_seconds * 1000:.2f} ms)"
        + ("; TELLS" if found.tells else "")
    )
