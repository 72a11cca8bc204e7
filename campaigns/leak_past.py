"""A fact of the leak campaign's world that changes while calls are under way.

A call that began before a change ended may have seen what was before, or what came; one that began
after it may not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

EVER = float("-inf")


@dataclass
class _Held(Generic[T]):
    value: T
    until: float = float("inf")


class Past(Generic[T]):
    """What holds now, and what held until when."""

    def __init__(self, value: T) -> None:
        self._held = [_Held(value)]

    @property
    def now(self) -> T:
        """What holds; during a change, what will."""
        return self._held[-1].value

    def since(self, began: float) -> Iterator[T]:
        """Whatever held at some moment after ``began`` (``time.monotonic``)."""
        return (one.value for one in self._held if one.until >= began)

    def settled(self, began: float) -> bool:
        """Whether one thing alone has held since ``began``."""
        return sum(one.until >= began for one in self._held) == 1

    @contextmanager
    def becoming(self, value: T) -> Iterator[None]:
        """Both hold until the block ends; from then on ``value``, or the old one if it failed."""
        before, after = self._held[-1], _Held(value)
        self._held.append(after)
        try:
            yield
        except BaseException:
            # What failed may have been seen for a moment, if it failed late.
            after.until = time.monotonic()
            self._held.remove(after)
            self._held.insert(-1, after)
            raise
        before.until = time.monotonic()
