"""At hand: what waits for nothing is done on the event loop; a thread would cost more than it.

A thread for a piece of work costs about 100 µs and two changes of threads. Much of what is asked
for each request is remembered, and needs none. ``promptly`` tries it here; whoever would wait for a
disk calls ``waits``, which breaks the attempt off, and the work is done from its beginning in a
thread. So nothing that changes anything may come before something that waits.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class _Trying(threading.local):
    here = False
    seen: dict[object, object] | None = None  # by who looked


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
    _trying.here, _trying.seen = True, {}
    try:
        return work(*args, **kwargs)
    finally:
        _trying.here, _trying.seen = False, None


def once(look: Callable[[], T]) -> T:
    """What ``look`` gives, or gave before in the same piece of work at hand.

    Such a piece takes microseconds, in which nothing else runs here: one look is as of now.
    """
    if _trying.seen is None:
        return look()
    try:
        return _trying.seen[look]  # type: ignore[return-value]
    except KeyError:
        found = _trying.seen[look] = look()
        return found


async def promptly(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``work`` gives: from here if it waits for nothing, from a thread otherwise."""
    try:
        return at_hand(work, *args, **kwargs)
    except NotAtHand:
        pass
    return await asyncio.to_thread(work, *args, **kwargs)
