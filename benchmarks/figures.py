"""Figures: medians and percentiles, printed alike by every benchmark."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def timed(times: int, action: Callable[[], object], *, warm: int = 1) -> list[float]:
    """Seconds of each of ``times`` runs, after ``warm`` that are not counted."""
    for _ in range(warm):
        action()
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        action()
        found.append(time.perf_counter() - begun)
    return found


def line(name: str, seconds: list[float]) -> str:
    """p50, p95 and how often it ran, in milliseconds."""
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return (
        f"{name:<44} p50 {statistics.median(ordered) * 1000:9.2f} ms   "
        f"p95 {p95 * 1000:9.2f} ms   n {len(ordered)}"
    )
