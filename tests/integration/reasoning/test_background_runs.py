"""Runs in the background: followed, ended, failed, forgotten; nothing of another's is seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import pytest
from house_builders import House

from casemate.errors import CasemateError, Conflict, NotFound, Unavailable
from casemate.reasoning.background import CANCELLED, FAILED, IN_PROGRESS, Background, Going
from casemate.reasoning.event import Admitted, Answer, Event, Finished, Request, Text, Waiting

FACTS = {"wanted": "an answer"}


@dataclass
class Script:
    """A run that tells its events, waits in the middle, and then ends or fails."""

    problem: Exception | None = None
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False
    kept: list[str] = field(default_factory=list)

    async def events(self) -> AsyncGenerator[Event, None]:
        try:
            yield Admitted(run="r_1", use_case="documents", model="quote", entry=1)
            yield Waiting(position=2)
            await self.go_on.wait()
            yield Waiting(position=0)
            yield Text(text="Yes.")
            if self.problem is not None:
                raise self.problem
            answer = Answer(text="Yes.", language="en", sentences=(), citations=(), sources=())
            yield Finished(
                run="r_1", outcome="answered", label="U", entry=2, answer=answer, steps=()
            )
        finally:
            self.closed = True

    async def keep(self, admitted: Admitted, finished: Finished) -> None:
        self.kept.append(finished.run)


async def begun(house: House, script: Script, who: Any) -> tuple[Background, Going]:
    background = Background(house.installation.kept)
    going = await background.begin(
        who,
        Request(question="?"),
        script.events(),
        facts=FACTS,
        label=house.label("unclassified"),
        keep=script.keep,
    )
    return background, going


async def told(going: Going) -> list[str]:
    return [type(event).__name__ for event in [event async for event in going.follow()]]


def test_it_is_followed_by_as_many_as_want_to_and_is_kept_at_its_end(house: House) -> None:
    bob, eve = house.person("bob"), house.person("eve")

    async def scene() -> None:
        script = Script()
        background, going = await begun(house, script, bob)
        standing = await background.standing(bob, "r_1")
        assert (standing.state, standing.facts) == (IN_PROGRESS, FACTS)
        for act in (background.standing, background.cancel, background.forget):
            with pytest.raises(NotFound):
                await act(eve, "r_1")
        with pytest.raises(Conflict):
            await background.forget(bob, "r_1")
        readers = [asyncio.create_task(told(going)) for _ in range(2)]
        await asyncio.sleep(0)
        assert going.queued
        script.go_on.set()
        whole = ["Admitted", "Waiting", "Waiting", "Text", "Finished"]
        assert await asyncio.gather(*readers) == [whole, whole]
        assert await told(going) == whole
        assert script.kept == ["r_1"]
        with pytest.raises(NotFound):  # what was answered lies with its run
            await background.standing(bob, "r_1")

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (Unavailable("The model stopped.", "Ask again."), "The model stopped."),
        (KeyError(), "wrong"),
    ],
)
def test_one_that_fails_says_why_without_what_nobody_foresaw(
    house: House, problem: Exception, said: str
) -> None:
    bob = house.person("bob")

    async def scene() -> None:
        script = Script(problem)
        script.go_on.set()
        background, going = await begun(house, script, bob)
        with pytest.raises(type(problem)):
            await told(going)
        assert going.task is not None
        await going.task
        standing = await background.standing(bob, "r_1")
        assert standing.state == FAILED
        assert said in standing.problem
        await background.forget(bob, "r_1")
        with pytest.raises(NotFound):
            await background.standing(bob, "r_1")

    asyncio.run(scene())


def test_one_that_is_cancelled_is_closed_before_that_is_said(house: House) -> None:
    bob = house.person("bob")

    async def scene() -> None:
        script = Script()
        background, going = await begun(house, script, bob)
        assert (await background.cancel(bob, "r_1")).state == CANCELLED
        assert script.closed
        with pytest.raises(CasemateError, match="cancelled"):
            await told(going)

    asyncio.run(scene())


def test_one_that_the_end_of_the_server_ended_has_failed(house: House) -> None:
    bob = house.person("bob")

    async def scene() -> None:
        script = Script()
        background, _ = await begun(house, script, bob)
        await background.close()
        assert script.closed
        assert (await background.standing(bob, "r_1")).state == FAILED

    asyncio.run(scene())


def test_what_is_refused_is_refused_before_anything_is_kept(house: House) -> None:
    bob = house.person("bob")

    async def refused() -> AsyncGenerator[Event, None]:
        raise Conflict("No.", "Never.")
        yield

    async def scene() -> None:
        background = Background(house.installation.kept)
        with pytest.raises(Conflict, match="No"):
            await background.begin(
                bob,
                Request(question="?"),
                refused(),
                facts=FACTS,
                label=house.label("unclassified"),
                keep=Script().keep,
            )
        assert house.installation.kept.list(bob, "background") == []

    asyncio.run(scene())


def test_one_of_somebody_who_is_forgotten_ends_and_leaves_nothing(house: House) -> None:
    bob = house.person("bob")

    async def scene() -> None:
        script = Script(Unavailable("The model stopped.", ""))
        background, going = await begun(house, script, bob)
        forget = house.installation.forgetting.forget
        await asyncio.to_thread(forget, house.owner, "bob")
        script.go_on.set()
        with pytest.raises(Unavailable):
            await told(going)
        assert going.task is not None
        await going.task
        with pytest.raises(CasemateError):
            await background.standing(bob, "r_1")

    asyncio.run(scene())
