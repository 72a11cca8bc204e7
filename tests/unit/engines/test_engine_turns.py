"""Turns: waiting for a slot, giving it up, and room that nobody takes whole."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack, aclosing, suppress

import pytest

from casemate.engines.engine import Prompt, Sampling, Token
from casemate.engines.in_turn import InTurn
from casemate.engines.schedule import Flow
from casemate.engines.turns import Turns
from casemate.errors import TooMany
from casemate.gate.budget import Use
from casemate.gate.capacity import Capacity
from casemate.models.profile import Profile

A, B = Flow("a", "anna"), Flow("b", "bert")


class Watch:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def turns(slots: int = 1, room: int = 100, watch: Watch | None = None) -> Turns:
    return Turns(slots, room, watch or Watch())


async def settled() -> None:
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def holding(some: Turns, flow: Flow, until: asyncio.Event, told: list[str]) -> None:
    with some.turn(flow, 10) as turn:
        async for position in turn.waiting():
            told.append(f"{flow.principal} is {position}")
        told.append(f"{flow.principal} begins")
        await until.wait()


def test_a_free_slot_is_had_without_waiting() -> None:
    async def ask() -> list[str]:
        told: list[str] = []
        done = asyncio.Event()
        done.set()
        await holding(turns(), A, done, told)
        return told

    assert asyncio.run(ask()) == ["anna begins"]


def test_who_waits_is_told_the_position_and_begins_when_the_slot_is_free() -> None:
    async def ask() -> list[str]:
        some, told = turns(), []
        done = asyncio.Event()
        first = asyncio.create_task(holding(some, A, done, told))
        await settled()
        second = asyncio.create_task(holding(some, B, done, told))
        await settled()
        assert some.waiting("normal") == 1
        done.set()
        await asyncio.gather(first, second)
        assert some.at_work("normal") == some.waiting("normal") == 0
        return told

    assert asyncio.run(ask()) == ["anna begins", "bert is 1", "bert begins"]


def test_who_goes_away_while_waiting_frees_the_place_at_once() -> None:
    async def ask() -> None:
        some, told = turns(), []
        done = asyncio.Event()
        first = asyncio.create_task(holding(some, A, done, told))
        gone = asyncio.create_task(holding(some, B, done, told))
        await settled()
        gone.cancel()
        await settled()
        assert some.waiting("normal") == 0
        assert some.given_up["normal"] == 1
        done.set()
        await first

    asyncio.run(ask())


def test_who_goes_away_just_as_the_slot_comes_hands_it_on() -> None:
    async def ask() -> list[str]:
        some, told = turns(), []
        done, never = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(holding(some, A, done, told))
        await settled()
        gone = asyncio.create_task(holding(some, B, never, told))
        last = asyncio.create_task(holding(some, A, done, told))
        await settled()
        done.set()
        await first  # the slot is gone's now, who has not been woken yet
        gone.cancel()
        await last
        assert some.at_work("normal") == 0
        return told

    assert asyncio.run(ask())[-1] == "anna begins"


def test_more_slots_are_given_out_as_soon_as_they_are_declared() -> None:
    async def ask() -> None:
        some, told, done = turns(), [], asyncio.Event()
        tasks = [asyncio.create_task(holding(some, A, done, told)) for _ in range(3)]
        await settled()
        assert some.at_work("normal") == 1
        some.slots = 3
        await settled()
        assert some.at_work("normal") == 3
        done.set()
        await asyncio.gather(*tasks)

    asyncio.run(ask())


def test_slots_that_are_declared_are_room_as_well() -> None:
    some = turns(slots=1, room=4)
    some.slots = 101
    with ExitStack() as places:
        for number in range(52):  # half of what is free, and so on
            places.enter_context(some.place(Flow("a", f"p{number}")))
        with pytest.raises(TooMany):
            places.enter_context(some.place(Flow("a", "p")))


def test_one_tenant_fills_half_of_the_room_and_the_next_still_finds_some() -> None:
    some = turns(room=100)

    def taken(open_: ExitStack, flows: list[Flow]) -> int:
        count = 0
        for flow in flows:
            with suppress(TooMany):
                open_.enter_context(some.place(flow))
                count += 1
        return count

    with ExitStack() as open_:
        assert taken(open_, [Flow("a", f"p{i}") for i in range(1000)]) == 50
        assert taken(open_, [Flow("b", f"p{i}") for i in range(1000)]) == 25
        assert taken(open_, [Flow("c", "carla")]) == 1
    with ExitStack() as open_:  # all of it came back
        assert taken(open_, [A] * 1000) == 34
        assert taken(open_, [Flow("a", "colleague")]) == 1


# An engine in turn


class Scripted:
    """Writes what it is told to."""

    capabilities = frozenset({"generate"})
    profile = Profile()

    def __init__(self, *tokens: Token, watch: Watch, fails: bool = False) -> None:
        self._tokens, self._watch, self._fails = tokens, watch, fails

    async def generate(self, prompt: Prompt, sampling: Sampling):  # type: ignore[no-untyped-def]
        for token in self._tokens:
            self._watch.seconds += 1
            yield token
        if self._fails:
            raise OSError


def written(*tokens: Token, fails: bool = False, after: int = 99) -> tuple[list[Token], Use]:
    """What comes of an engine in turn, and what was counted."""
    watch, used = Watch(), Use()
    engine = Scripted(*tokens, watch=watch, fails=fails)
    some = turns(watch=watch)
    capacity = Capacity(slots=2, accelerators=8, watts=1000)
    asked = Prompt("?", "en", None, (), (), ())  # type: ignore[arg-type]

    async def ask() -> list[Token]:
        found: list[Token] = []
        in_turn = InTurn(engine, some, A, capacity, used, watch)  # type: ignore[arg-type]
        async with aclosing(in_turn.generate(asked, Sampling())) as tokens:
            async for token in tokens:
                found.append(token)
                if len(found) == after:
                    break
        assert some.at_work("normal") == 0
        return found

    try:
        return asyncio.run(ask()), used
    except OSError:
        return [], used


def test_tokens_are_counted_by_id_or_by_their_length() -> None:
    _, used = written(Token("Gl", id=7), Token("ass", id=8), Token("goes there"))
    assert used.tokens == 1 + 2 + 3  # the empty prompt counts as one


def test_what_an_engine_counts_itself_is_what_counts() -> None:
    told, used = written(Token("Glass"), Token("", "count", read=900, written=80))
    assert used.tokens == 980
    assert [token.kind for token in told] == ["text", "count"]


def test_gpu_seconds_and_energy_are_the_slots_part_of_what_is_declared() -> None:
    _, used = written(Token("a"), Token("b"), Token("c"))
    assert used.gpu_seconds == 3 * 8 * 1000 // 2  # milliseconds
    assert used.watt_hours == 3 * 1000 // 2  # joules


@pytest.mark.parametrize("more", [{"after": 2}, {"fails": True}])
def test_what_was_used_until_a_reader_left_or_an_engine_failed_counts(more: dict[str, int]) -> None:
    _, used = written(Token("a", id=1), Token("b", id=2), **more)  # type: ignore[arg-type]
    assert used.tokens == 3
    assert used.gpu_seconds > 0


def _told_to_come_again(some: Turns, flow: Flow) -> int:
    with pytest.raises(TooMany) as refused, some.place(flow):
        pass
    return refused.value.retry_after


def test_those_who_are_refused_are_told_to_come_as_fast_as_turns_come_free() -> None:
    watch = Watch()
    some = turns(slots=2, room=40, watch=watch)  # a turn takes a second, so two a second
    with ExitStack() as full:
        for number in range(20):
            full.enter_context(some.place(Flow("a", f"person {number}")))
        told = [_told_to_come_again(some, A) for _ in range(200)]
        assert told[0] == 6  # ten of the twenty are then done, and one turn more
        assert max(Counter(told).values()) <= 3 * 2  # a minute holds 110 of them: some share
        assert max(told) <= 60
        assert told[:100] == sorted(told[:100])
        watch.seconds += 60
        assert _told_to_come_again(some, A) == 6


def test_how_often_one_tenant_is_refused_is_not_told_to_another() -> None:
    some = turns(slots=1, room=4)
    with ExitStack() as full:
        for flow in (A, B, Flow("c", "carla")):
            full.enter_context(some.place(flow))
        first = _told_to_come_again(some, B)
        for _ in range(30):
            _told_to_come_again(some, A)
        assert _told_to_come_again(some, B) == first + 1
