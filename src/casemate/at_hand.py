"""At hand: what waits for nothing is done on the event loop; a thread would cost more than it.

A thread for a piece of work costs about 100 µs and two changes of threads. Much of what is asked
for each request is remembered, and needs none. ``promptly`` tries it here; whoever would wait for a
disk calls ``waits``, which breaks the attempt off, and the work is done from its beginning in a
thread. So nothing that changes anything may come before something that waits.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class _Trying(threading.local):
    here = False
    seen: dict[object, object] | None = None  # in this turn of the event loop


_trying = _Trying()


class NotAtHand(BaseException):  # nobody on the way may take it for an error and go on
    """Something has to be waited for."""


def waits() -> None:
    """Say that a wait for a disk comes now. Raises NotAtHand where nobody may wait."""
    if _trying.here:
        raise NotAtHand


def at_hand(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``work`` gives, without waiting. Raises NotAtHand; and what ``work`` raises."""
    if _trying.here:
        return work(*args, **kwargs)
    _trying.here = True
    try:
        return work(*args, **kwargs)
    finally:
        _trying.here = False


def once(key: Hashable, look: Callable[[], T]) -> T:
    """What ``look`` gives, or gave before under ``key`` in this turn of the event loop.

    Elsewhere it is called each time. Nobody can tell the difference: whoever sends something after
    a change was confirmed to them is read from in a later turn than one in which was looked before
    the change.
    """
    seen = _trying.seen
    if seen is None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return look()
        seen = _trying.seen = {}
        loop.call_soon(look_again)
    if key in seen:
        return seen[key]  # type: ignore[return-value]
    found = seen[key] = look()
    return found


@contextmanager
def one_turn() -> Iterator[None]:
    """A block of a thread in which ``once`` remembers, as in one turn of an event loop."""
    _trying.seen = {}
    try:
        yield
    finally:
        _trying.seen = None


def look_again() -> None:
    """Forget what was seen in this turn: this thread has changed something."""
    _trying.seen = None


async def promptly(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``work`` gives: from here if it waits for nothing, from a thread otherwise."""
    try:
        return at_hand(work, *args, **kwargs)
    except NotAtHand:
        pass
    return await asyncio.to_thread(work, *args, **kwargs)
