"""Watches: what was permitted is asked again while it is used, and ends when it is taken back.

A run may take minutes. In the meantime a person can be disabled, a key revoked or a use case
suspended, also by another process on the same database. Each process that has something open looks
at one number of the database twice a second; when it has grown, everything that is open is asked
again, and what no longer stands is cut off.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import Context
from functools import partial
from types import TracebackType
from typing import TypeVar

from casemate.errors import CasemateError, Unavailable

_SECONDS = 0.5  # between two looks; with the asking again, an end comes within a second
_IDLE_LOOKS = 20  # with nothing open, after which nobody looks any more
T = TypeVar("T")


class Watch:
    """One thing that is open, in one event loop. ``check`` raises once it may not be any more.

    ``asked_at``: the version that was known when it was asked last; None: it was not asked yet.
    """

    def __init__(self, check: Callable[[], None], asked_at: int | None = None) -> None:
        self.problem: CasemateError | None = None  # why this ended
        self.asked_at = asked_at
        self._check = check
        self._loop = asyncio.get_running_loop()
        self._deadline: asyncio.Timeout | None = None

    async def during(self, items: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        """The items, as long as this stands. Raises what ``check`` raised."""
        while True:
            async with self.held():
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
            yield item

    def held(self) -> Held:
        """A block that is cancelled at once when this ends. Raises what ``check`` raised."""
        return Held(self)

    def ask_again(self) -> None:
        """Check, and end this if it no longer stands. Called from any thread."""
        try:
            self._check()
        except CasemateError as problem:
            self.end(problem)

    def end(self, problem: CasemateError) -> None:
        """End this with ``problem``. Called from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._end, problem)
        except RuntimeError:
            return  # the loop has closed, and what was open in it with it

    def _end(self, problem: CasemateError) -> None:
        if self.problem is None:
            self.problem = problem
            if self._deadline is not None:
                self._deadline.reschedule(self._loop.time())


class Held(AbstractAsyncContextManager[None]):
    """A block that lasts no longer than its watch."""

    __slots__ = ("_deadline", "_watch")

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._deadline = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        if self._watch.problem is not None:
            raise self._watch.problem
        await self._deadline.__aenter__()
        self._watch._deadline = self._deadline

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watch._deadline = None
        try:
            await self._deadline.__aexit__(kind, error, trace)
        except TimeoutError:
            if self._watch.problem is None:
                raise
            raise self._watch.problem from None
        if isinstance(error, TimeoutError) and self._watch.problem is not None:
            raise self._watch.problem from None


class Watches:
    """Asks again for everything that is open. ``version`` grows when rights may have gone."""

    def __init__(self, version: Callable[[], int], seconds: float = _SECONDS) -> None:
        self._version = version
        self._seconds = seconds
        self._changing = threading.Condition()
        self._open: set[Watch] = set()
        self._looking = False
        self._closing = False
        self._thread: threading.Thread | None = None

    def watching(self, check: Callable[[], None], asked_at: int | None = None) -> Watching:
        """Something that is open in this block. ``check``: see ``Watch``; it runs in a thread.

        ``asked_at``: the version before it was permitted. Without it, it is asked once in any
        case, because its right may go between permission and watch.
        """
        return Watching(self, check, asked_at)

    def _begin(self, watch: Watch) -> None:
        with self._changing:
            self._open.add(watch)
            if not self._looking:
                self._looking = True
                # In a context of its own: it asks for everybody, not for whoever came first.
                look = partial(Context().run, self._look)
                self._thread = threading.Thread(target=look, name="standing", daemon=True)
                self._thread.start()

    def _end(self, watch: Watch) -> None:
        with self._changing:
            self._open.discard(watch)

    def close(self) -> None:
        """Look no more, at nothing; returns once nobody does."""
        with self._changing:
            self._open.clear()
            self._closing = True
            self._changing.notify()
        if self._thread is not None:
            self._thread.join()
        self._closing = False

    def _look(self) -> None:
        """Look twice a second, in a thread of its own: uploads that fill a pool delay nothing.

        It goes on for a while with nothing open: a thread for each short run would cost more.
        """
        idle = 0
        while True:
            with self._changing:
                idle = 0 if self._open else idle + 1
                if self._closing or idle > _IDLE_LOOKS:
                    self._looking = False
                    return
                watches = tuple(self._open)
            try:
                version = self._version() if watches else None
                for watch in watches:
                    if watch.asked_at != version:
                        watch.ask_again()
                        watch.asked_at = version
            except Exception:
                # Whether they still may is not known, so they may not.
                for watch in watches:
                    watch.end(_unknown())
            with self._changing:
                if not self._closing:
                    self._changing.wait(self._seconds)


class Watching(AbstractContextManager[Watch]):
    """Something that is open, from ``with`` to the end of the block."""

    __slots__ = ("_asked_at", "_check", "_watch", "_watches")

    _watch: Watch

    def __init__(self, watches: Watches, check: Callable[[], None], asked_at: int | None) -> None:
        self._watches = watches
        self._check = check
        self._asked_at = asked_at

    def __enter__(self) -> Watch:
        self._watch = Watch(self._check, self._asked_at)
        self._watches._begin(self._watch)
        return self._watch

    def __exit__(self, *_: object) -> None:
        self._watches._end(self._watch)


def _unknown() -> Unavailable:
    return Unavailable(
        "It cannot be checked whether this may go on.", "Check the disk, then ask again."
    )
