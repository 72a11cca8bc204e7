"""Watches: what is open ends when its right goes, and only then."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import pytest

from casemate.errors import CasemateError, Refused, Unavailable
from casemate.gate.watch import Watches

LONG = 60.0


class Rights:
    """A number and an answer that tests change; it says when it has been asked."""

    def __init__(self) -> None:
        self.version = 0
        self.problem: CasemateError | None = None
        self.asked = threading.Semaphore(0)
        self.looked = threading.Semaphore(0)

    def number(self) -> int:
        self.looked.release()
        return self.version

    def check(self) -> None:
        self.asked.release()
        if self.problem is not None:
            raise self.problem

    def take_back(self) -> None:
        self.problem = Refused("taken back")
        self.version += 1


async def endless() -> AsyncGenerator[int, None]:
    yield 1
    await asyncio.Event().wait()


async def follow(standing: Watches, rights: Rights, then: Callable[[], None]) -> list[int]:
    seen = []
    with standing.watching(rights.check) as watch:
        async with aclosing(watch.during(endless())) as items:
            async for item in items:
                seen.append(item)
                await asyncio.to_thread(rights.asked.acquire, timeout=LONG)
                then()
    return seen


def test_what_waits_ends_when_its_right_goes() -> None:
    rights = Rights()
    standing = Watches(rights.number, 0.01)
    with pytest.raises(Refused, match="taken back"):
        asyncio.run(follow(standing, rights, rights.take_back))
    standing.close()


def test_a_right_that_went_before_the_watch_began_is_noticed_too() -> None:
    rights = Rights()
    rights.problem = Refused("taken back")

    async def hold() -> None:
        with standing.watching(rights.check) as watch:
            async with watch.held():
                await asyncio.Event().wait()

    standing = Watches(rights.number, LONG)
    with pytest.raises(Refused, match="taken back"):
        asyncio.run(hold())


def test_nothing_is_asked_again_while_the_number_stays() -> None:
    rights = Rights()

    async def hold() -> int:
        with standing.watching(rights.check) as watch:
            async with watch.held():
                for _ in range(5):
                    await asyncio.to_thread(rights.looked.acquire, timeout=LONG)
        return rights.asked._value

    standing = Watches(rights.number, 0.001)
    assert asyncio.run(hold()) == 1


def test_who_cannot_be_asked_permits_nothing() -> None:
    rights = Rights()

    def broken() -> int:
        raise OSError

    async def hold() -> None:
        with standing.watching(rights.check) as watch:
            async with watch.held():
                await asyncio.Event().wait()

    standing = Watches(broken, 0.01)
    with pytest.raises(Unavailable):
        asyncio.run(hold())


def test_a_right_that_goes_between_two_items_ends_before_the_next() -> None:
    rights = Rights()

    async def two() -> AsyncGenerator[int, None]:
        yield 1
        yield 2

    async def step() -> list[int]:
        seen = []
        with standing.watching(rights.check) as watch:
            async with aclosing(watch.during(two())) as items:
                async for item in items:
                    seen.append(item)
                    rights.take_back()
                    while watch.problem is None:  # noqa: ASYNC110 - it has no event to wait for
                        await asyncio.sleep(0)
        return seen

    standing = Watches(rights.number, 0.01)
    with pytest.raises(Refused, match="taken back"):
        asyncio.run(step())


def test_a_loop_that_has_closed_is_left_in_peace() -> None:
    rights = Rights()
    standing = Watches(rights.number, LONG)

    async def leave() -> object:
        with standing.watching(rights.check) as watch:
            return watch

    watch = asyncio.run(leave())
    watch.end(Refused("late"))  # type: ignore[attr-defined]
    standing.close()


def test_closing_does_not_wait_for_what_was_left_open() -> None:
    rights = Rights()
    standing = Watches(rights.number, LONG)

    async def leave_open() -> object:
        opened = standing.watching(rights.check)
        opened.__enter__()
        return opened  # kept, and never left: as a stream that nobody reads to its end

    kept = asyncio.run(leave_open())
    standing.close()
    del kept


def test_what_was_permitted_as_of_now_is_not_asked_again_before_something_changes() -> None:
    rights = Rights()
    standing = Watches(rights.number, 0.01)

    async def hold() -> bool:
        with standing.watching(rights.check, asked_at=rights.version):
            for _ in range(3):
                await asyncio.to_thread(rights.looked.acquire, timeout=LONG)
            return rights.asked.acquire(blocking=False)

    assert not asyncio.run(hold())
    standing.close()


def test_what_was_permitted_as_of_an_older_version_is_asked_again_at_once() -> None:
    rights = Rights()
    before = rights.version
    rights.take_back()
    standing = Watches(rights.number, LONG)

    async def hold() -> None:
        with standing.watching(rights.check, asked_at=before) as watch:
            async with watch.held():
                await asyncio.Event().wait()

    with pytest.raises(Refused, match="taken back"):
        asyncio.run(hold())
    standing.close()


def test_one_thread_looks_for_many_short_things_one_after_the_other() -> None:
    rights = Rights()
    standing = Watches(rights.number, LONG)

    async def short() -> threading.Thread | None:
        with standing.watching(rights.check, asked_at=rights.version):
            return standing._thread

    threads = {asyncio.run(short()) for _ in range(5)}
    assert len(threads) == 1
    standing.close()
