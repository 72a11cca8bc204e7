"""The floor: side by side, or alone, in the order of arrival."""

from __future__ import annotations

import asyncio

from casemate.engines.llama.floor import Floor


class Visit:
    """Someone on the floor, who leaves when told to."""

    def __init__(self, floor: Floor, *, alone: bool = False) -> None:
        self.inside = False
        self.leave = asyncio.Event()
        self._place = floor.alone() if alone else floor.shared()
        self.task = asyncio.create_task(self._stay())

    async def _stay(self) -> None:
        async with self._place:
            self.inside = True
            await self.leave.wait()
        self.inside = False


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_as_many_as_there_are_slots_are_inside() -> None:
    async def visits() -> None:
        floor = Floor(2)
        crowd = [Visit(floor) for _ in range(3)]
        await settle()
        assert [one.inside for one in crowd] == [True, True, False]
        crowd[1].leave.set()
        await settle()
        assert [one.inside for one in crowd] == [True, False, True]
        for one in crowd:
            one.leave.set()
        await asyncio.gather(*(one.task for one in crowd))

    asyncio.run(visits())


def test_who_is_alone_waits_for_the_others_and_they_for_them() -> None:
    async def visits() -> None:
        floor = Floor(4)
        first, alone, later = Visit(floor), Visit(floor, alone=True), Visit(floor)
        await settle()
        assert (first.inside, alone.inside, later.inside) == (True, False, False)
        first.leave.set()
        await settle()
        assert (alone.inside, later.inside) == (True, False)
        alone.leave.set()
        await settle()
        assert (alone.inside, later.inside) == (False, True)
        later.leave.set()
        await later.task

    asyncio.run(visits())


def test_who_gives_up_waiting_takes_no_place() -> None:
    async def visits() -> None:
        floor = Floor(1)
        first, waiting, alone = Visit(floor), Visit(floor), Visit(floor, alone=True)
        await settle()
        waiting.task.cancel()
        first.task.cancel()
        await settle()
        assert alone.inside
        alone.task.cancel()
        last = Visit(floor)
        await settle()
        assert last.inside
        last.leave.set()
        await last.task

    asyncio.run(visits())
