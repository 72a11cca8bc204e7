"""The door: a flood of one tenant waits for itself, before anybody spends time on it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest
from fake_installation import a_caller

from casemate.api import door as doors
from casemate.api.door import Door, leave, recognise
from casemate.errors import TooMany

AT_ONCE = doors._FREELY + doors._AT_ONCE


def a_scope(key: str, address: str = "127.0.0.1") -> dict[str, object]:
    return {"headers": [(b"authorization", key.encode())], "client": (address, 1)}


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Visitor:
    """A request that stays inside until it is told to go."""

    def __init__(self, door: Door, key: str, told: list[str], address: str = "127.0.0.1") -> None:
        self.key, self.go, self.scope = key, asyncio.Event(), a_scope(key, address)
        self.task = asyncio.create_task(self._visit(door, told))

    async def _visit(self, door: Door, told: list[str]) -> None:
        async with door.entered(self.scope):
            told.append(self.key)
            await self.go.wait()


async def known(door: Door, key: str, tenant: str) -> None:
    caller = a_caller(key)
    caller.principal.tenant = tenant
    scope = a_scope(key)
    async with door.entered(scope):
        recognise(scope, caller)


def test_who_is_known_goes_before_another_tenants_flood_with_many_keys() -> None:
    async def act() -> list[str]:
        door, told = Door(lambda: 0.0), []
        for number in range(60):
            await known(door, f"flood-{number}", "a")
        await known(door, "question", "b")
        flood = [Visitor(door, f"flood-{number % 60}", told) for number in range(200)]
        await settled()
        assert len(told) == AT_ONCE - 1  # the last place is kept for who was here lately
        last = Visitor(door, "question", told)
        await settled()
        assert told[-1] == "question"  # and needs nobody to leave
        for one in [*flood, last]:
            one.go.set()
        await asyncio.gather(*(one.task for one in [*flood, last]))
        return told

    assert asyncio.run(act())[AT_ONCE - 1] == "question"


def test_who_was_never_known_waits_with_others_of_the_same_address() -> None:
    async def act() -> list[str]:
        door, told = Door(lambda: 0.0), []
        guesses = [Visitor(door, f"guess-{number}", told, "10.0.0.9") for number in range(100)]
        await settled()
        other = Visitor(door, "first time", told, "10.0.0.7")
        await settled()
        guesses[0].go.set()
        await settled()
        for one in [*guesses, other]:
            one.go.set()
        await asyncio.gather(*(one.task for one in [*guesses, other]))
        return told

    assert asyncio.run(act())[AT_ONCE] == "first time"


def test_a_request_that_is_admitted_lets_the_next_one_in_and_a_long_one_does_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def act() -> None:
        door, told = Door(lambda: 0.0), []
        inside = [Visitor(door, "key", told) for _ in range(AT_ONCE + 1)]
        await settled()
        assert len(told) == AT_ONCE
        leave(inside[doors._FREELY].scope)  # the first with a turn
        await settled()
        assert len(told) == AT_ONCE + 1
        monkeypatch.setattr(doors, "_SECONDS", 0.0)
        more = [Visitor(door, "key", told) for _ in range(40)]
        leave(inside[doors._FREELY + 1].scope)
        async with asyncio.timeout(60):
            while len(told) < AT_ONCE + 41:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        for one in [*inside, *more]:
            one.go.set()
        await asyncio.gather(*(one.task for one in [*inside, *more]))
        assert door.turns.at_work("normal") == 0

    asyncio.run(act())


def test_a_flood_fills_half_of_the_room_and_is_refused_beyond_it() -> None:
    async def act() -> int:
        door, told = Door(lambda: 0.0), []
        await known(door, "key", "a")
        flood = [Visitor(door, "key", told) for _ in range(2000)]
        await settled()
        refused = [one for one in flood if one.task.done()]
        for one in flood:
            one.go.set()
        for one in flood:
            with suppress(TooMany):
                await one.task
        return len(refused)

    assert 2000 - doors._ROOM // 2 <= asyncio.run(act()) < 2000


def test_who_is_inside_takes_no_room_at_the_door():
    async def come_in() -> int:
        door = Door(lambda: 0.0)
        inside = 0
        async with AsyncExitStack() as stack:
            for _ in range(1000):
                scope = a_scope("one")
                await stack.enter_async_context(door.entered(scope))
                leave(scope)
                inside += 1
        return inside

    assert asyncio.run(come_in()) == 1000


def test_nobody_comes_in_without_a_turn_while_somebody_waits() -> None:
    async def act() -> list[str]:
        door, told = Door(lambda: 0.0), []
        flood = [Visitor(door, "flood", told) for _ in range(AT_ONCE + 20)]
        await settled()
        assert len(told) == AT_ONCE
        flood[0].go.set()  # one of those that came in freely: its place stays empty
        await settled()
        late = Visitor(door, "late", told)
        await settled()
        assert "late" not in told
        for one in [*flood, late]:
            one.go.set()
        await asyncio.gather(*(one.task for one in [*flood, late]))
        return told

    assert asyncio.run(act()).count("late") == 1
