"""Runs in turn: a run waits for a slot, says so, and is counted for whoever asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from itertools import count
from typing import Any

import pytest
from house_builders import DOG_TAX, FEES, House
from test_run import kinds, play

from casemate.engines.engine import Token
from casemate.errors import TooMany
from casemate.gate.caller import Caller
from casemate.gate.limit import Limit
from casemate.reasoning.event import Admitted, Event, Finished, Request, StepFinished, Waiting


@pytest.fixture
def filled(house: House) -> House:
    house.add("notes", fees=FEES)
    return house


def one_slot(house: House) -> None:
    gate = house.installation.gate
    gate.capacities.declare(house.owner, "quote", slots=1, accelerators=2, watts=700)


def limited(house: House, measure: str, window: str, amount: float) -> Limit:
    quotas = house.installation.gate.quotas
    tenant, target = quotas.target(house.owner, "principal", house.owner.principal.name)
    made = Limit.parse(tenant, "principal", target, measure, window, amount)
    quotas.put(house.owner, made)
    return made


def used(house: House, limit: Limit) -> int:
    (found,) = house.installation.gate.budgets.used([limit])
    return found


async def follow(house: House, caller: Caller, told: list[Event], **more: Any) -> None:
    async with aclosing(house.installation.ask(caller, Request(question=DOG_TAX), **more)) as run:
        async for event in run:
            told.append(event)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def waits(told: list[Event]) -> Callable[[], bool]:
    return lambda: any(isinstance(one, Waiting) for one in told)


def test_who_waits_is_told_how_many_go_first_and_then_gets_an_answer(filled: House) -> None:
    one_slot(filled)
    go = asyncio.Event()
    engine = play(filled, go, "The dog tax is 40 euros a year. [1]")
    bob = filled.person("Bob")
    first: list[Event] = []
    second: list[Event] = []

    async def act() -> None:
        asking = asyncio.create_task(follow(filled, filled.owner, first))
        await until(lambda: bool(engine.prompts))
        waiting = asyncio.create_task(follow(filled, bob, second))
        await until(waits(second))
        go.set()
        await asyncio.gather(asking, waiting)

    asyncio.run(act())
    assert not any(isinstance(one, Waiting) for one in first)
    assert [one.position for one in second if isinstance(one, Waiting)] == [1, 0]
    assert isinstance(second[-1], Finished)


def test_a_reader_who_goes_away_while_waiting_frees_the_place_and_closes_the_run(
    filled: House,
) -> None:
    one_slot(filled)
    go = asyncio.Event()
    engine = play(filled, go, "The dog tax is 40 euros a year. [1]")
    told: list[Event] = []

    async def act() -> None:
        asking = asyncio.create_task(follow(filled, filled.owner, []))
        await until(lambda: bool(engine.prompts))
        leaving = asyncio.create_task(follow(filled, filled.owner, told))
        await until(waits(told))
        ((_, turns),) = filled.installation.engines.queues()
        leaving.cancel()
        await asyncio.wait({leaving})
        assert turns.waiting("normal") == 0
        go.set()
        await asyncio.wait_for(asking, 60)

    asyncio.run(act())
    assert isinstance(told[0], Admitted)
    assert kinds(filled, told[0].run) == [("run.admitted", None), ("run.finished", "failed")]
    assert len(engine.prompts) == 1


def test_time_for_which_others_go_first_is_not_the_runs_own(filled: House) -> None:
    one_slot(filled)
    go = asyncio.Event()
    ticks = count(0, 400)  # seconds, at every look: a run may take 600
    engine = play(filled, go, "The dog tax is 40 euros a year. [1]")
    told: list[Event] = []

    async def act() -> None:
        asking = asyncio.create_task(follow(filled, filled.owner, []))
        await until(lambda: bool(engine.prompts))
        waiting = asyncio.create_task(follow(filled, filled.person("Bob"), told))
        await until(waits(told))
        filled.installation._reasoner._clock = lambda: float(next(ticks))
        go.set()
        await asyncio.gather(asking, waiting)

    asyncio.run(act())
    limits = [one.step for one in told if isinstance(one, StepFinished) if one.step.kind == "limit"]
    assert not limits


def test_every_round_of_a_run_is_charged_and_what_the_engine_counts_is_believed(
    filled: House,
) -> None:
    one_slot(filled)
    tokens = limited(filled, "tokens", "day", 100_000)
    gpu = limited(filled, "gpu_seconds", "day", 100)
    requests = limited(filled, "requests", "day", 100)
    play(filled, "The dog tax is 40 euros a year. [1]", Token("", "count", read=321, written=12))
    filled.ask(DOG_TAX)
    assert used(filled, tokens) == 333
    assert used(filled, requests) == 1
    assert used(filled, gpu) > 0


def test_what_a_run_that_failed_had_used_counts_too(filled: House) -> None:
    tokens = limited(filled, "tokens", "day", 100_000)
    play(filled, Token("Forty. " * 100, id=1), OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        filled.events(filled.owner, DOG_TAX)
    assert used(filled, tokens) > 1


def test_beyond_a_limit_a_question_is_refused_before_it_is_recorded(filled: House) -> None:
    limited(filled, "requests", "month", 1)
    filled.ask(DOG_TAX)
    before = len(filled.entries())
    with pytest.raises(TooMany, match="Your limit, 1 requests a month") as caught:
        filled.ask(DOG_TAX)
    assert caught.value.retry_after > 60
    assert len(filled.entries()) == before


def test_work_nobody_waits_for_may_ask_as_batch_and_nobody_as_more_than_they_are(
    filled: House,
) -> None:
    standing = filled.installation.gate.admit(filled.owner, use_case=None).standing
    assert standing.priority == "normal"
    assert standing.under("batch").priority == "batch"
    assert standing.under("interactive").priority == "normal"
