"""Counts: what the processes of one server counted, told to the one that is asked, and added up.

In the terms of Prometheus' text format 0.0.4. Counters and histograms of processes that have ended
stay in the sum, so that they only ever grow; gauges go with their process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

_LASTING = frozenset({"counter", "histogram"})
_FIRST = frozenset({"process_start_time_seconds", "process_max_fds"})  # of whoever is asked
_LARGEST = frozenset({"casemate_replica_state"})  # 1 or 0: whether it is so anywhere

_WORSE = defaultdict(int, {"half open": 1, "open": 2})  # states of a circuit breaker

Labels = tuple[tuple[str, str], ...]


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One number. ``name`` may be longer than that of its family: ``…_total``, ``…_bucket``."""

    name: str
    labels: Labels
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """Samples of one kind: counter, gauge, histogram."""

    name: str
    documentation: str
    kind: str
    samples: tuple[Sample, ...]


class Replica(msgspec.Struct, frozen=True, array_like=True):
    """How a process sees one server of a model: see ``engines.remote.Health``."""

    model: str
    number: int
    state: str  # of its circuit breaker
    outstanding: int
    failures: int
    retries: int


class Counts(msgspec.Struct, frozen=True):
    """What one process counted since its start, and how it sees the servers of its models."""

    families: tuple[Family, ...] = ()
    replicas: tuple[Replica, ...] = ()

    def lasting(self) -> Counts:
        """What stays of it when its process has ended."""
        return Counts(tuple(one for one in self.families if one.kind in _LASTING))


def added(counts: Sequence[Counts]) -> Counts:
    """All together. The families are in the order of whoever comes first."""
    families: dict[str, Family] = {}
    sums: dict[str, dict[tuple[str, Labels], float]] = {}
    for family in (one for each in counts for one in each.families):
        families.setdefault(family.name, family)
        found = sums.setdefault(family.name, {})
        for one in family.samples:
            key = (one.name, one.labels)
            found[key] = _both(one.name, found[key], one.value) if key in found else one.value
    together = [
        Family(
            name,
            families[name].documentation,
            families[name].kind,
            tuple(Sample(*key, value) for key, value in found.items()),
        )
        for name, found in sums.items()
    ]
    seen: dict[tuple[str, int], Replica] = {}
    for replica in (one for each in counts for one in each.replicas):
        where = (replica.model, replica.number)
        seen[where] = _as_both_see(seen[where], replica) if where in seen else replica
    return Counts(tuple(together), tuple(seen.values()))


def _both(name: str, one: float, other: float) -> float:
    if name in _FIRST:
        return one
    if name.endswith("_created"):
        return min(one, other)
    return max(one, other) if name in _LARGEST else one + other


def _as_both_see(one: Replica, other: Replica) -> Replica:
    return Replica(
        one.model,
        one.number,
        one.state if _WORSE[one.state] > _WORSE[other.state] else other.state,
        one.outstanding + other.outstanding,
        one.failures + other.failures,
        one.retries + other.retries,
    )
