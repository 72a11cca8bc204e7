"""One timer for a deadline that is moved often."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from casemate.api.deadline import Deadline


class Clockwork(asyncio.AbstractEventLoop):
    """A loop whose time passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[asyncio.TimerHandle] = []
        self.made = 0

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def call_at(self, when, callback, *args, context=None):  # type: ignore[no-untyped-def]
        self.made += 1
        self.timers.append(asyncio.TimerHandle(when, callback, args, self, context))
        return self.timers[-1]

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self.timers.remove(handle)

    def go(self, seconds: float) -> None:
        self.now += seconds
        while due := [one for one in self.timers if one.when() <= self.now]:
            first = min(due, key=lambda one: one.when())
            self.timers.remove(first)
            first._run()


def a_deadline() -> tuple[Clockwork, Deadline, list[str], Callable[[str], Callable[[], None]]]:
    loop, missed = Clockwork(), []
    return loop, Deadline(loop), missed, lambda name: lambda: missed.append(name)


def test_what_has_not_happened_by_then_is_told() -> None:
    loop, deadline, missed, tell = a_deadline()
    deadline.set(5, tell("late"))
    loop.go(4.9)
    assert deadline
    assert missed == []
    loop.go(0.2)
    assert missed == ["late"]
    assert not deadline


def test_a_deadline_that_is_moved_makes_no_timer_unless_it_comes_sooner() -> None:
    loop, deadline, missed, tell = a_deadline()
    deadline.set(5, tell("first"))
    for _ in range(100):
        loop.go(0.04)
        deadline.clear()
        deadline.set(5, tell("moved"))
    assert loop.made == 1
    loop.go(4.9)
    assert missed == []
    loop.go(0.2)
    assert missed == ["moved"]
    deadline.set(9, tell("far"))
    deadline.set(1, tell("near"))
    loop.go(1)
    assert missed == ["moved", "near"]


def test_what_was_cleared_or_closed_is_not_told() -> None:
    loop, deadline, missed, tell = a_deadline()
    deadline.set(1, tell("late"))
    deadline.clear()
    loop.go(2)
    assert missed == []
    deadline.set(1, tell("late"))
    deadline.close()
    loop.go(2)
    assert missed == []
    assert loop.timers == []
