"""The relay: the short way to a model server tells, records and proves what the long way does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from house_builders import House, a_house
from model_server import DONE, ModelServer, a_call, a_chunk, a_script
from test_remote_model import with_model

from casemate.errors import Broken, CasemateError, Refused
from casemate.gate.caller import Caller
from casemate.ledger.verify import verify
from casemate.reasoning import relay
from casemate.reasoning.event import Admitted, Event, Finished, Request, Text

QUESTION = "How much is the dog tax?"
CUT = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":21,"completion_tokens":8}}\n\n'
SAID = {
    "text": a_script("It is ", "40 euros."),
    "thinking, then text": a_script("40 ", "euros.", thinking=["Let me ", "see."]),
    "nothing": a_script(),
    "a bound of tokens": a_chunk(content="It is 40") + CUT + USAGE + DONE,
    "counts": a_chunk(content="Ë é 😀") + USAGE + DONE,
}


@pytest.fixture
def house(tmp_path: Path, model_server: ModelServer) -> Iterator[House]:
    with a_house(tmp_path / "data") as house:
        with_model(house, model_server, place="unclassified", ceiling="unclassified")
        use_cases = house.installation.gate.use_cases
        use_cases.register(
            house.owner,
            "chat",
            purpose="To help the counter.",
            legal_basis="The commune's own tasks.",
            risk="minimal",
            models=("tiny",),
            collections=(),
            ceiling=house.label("unclassified"),
            oversight="none",
            retention_days=400,
            screening=use_cases.not_prohibited("It judges nobody."),
        )
        use_cases.approve(house.person("second chat", roles=("admin",)), "chat")
        yield house


def told(house: House, caller: Caller | None = None, **more: Any) -> list[Event]:
    """What is told of a question by the short way, if it goes that way."""
    heard: list[Event] = []

    async def tell(events: Sequence[Event]) -> None:
        heard.extend(events)

    async def follow() -> None:
        request = Request(question=QUESTION, use_case="chat", seed=7, **more)
        try:
            await house.installation.tell(caller or house.owner, request, tell)
        finally:
            await house.installation.engines.close()

    asyncio.run(follow())
    return heard


def plain(events: Sequence[Event]) -> list[object]:
    """Events without what differs from run to run."""
    return [
        (type(one).__name__, one.answer, one.outcome, one.steps, one.counted, one.label)
        if isinstance(one, Finished)
        else (type(one).__name__, one.use_case, one.model)
        if isinstance(one, Admitted)
        else one
        for one in events
    ]


@pytest.mark.parametrize("pieces", SAID.values(), ids=SAID)
@pytest.mark.parametrize("size", [7, 1 << 20])
def test_the_short_way_tells_and_records_what_the_long_way_does(
    house: House, model_server: ModelServer, pieces: bytes, size: int
) -> None:
    model_server.pieces = [pieces[at : at + size] for at in range(0, len(pieces), size)]
    long = house.events(house.owner, QUESTION, use_case="chat", seed=7)
    short = told(house)
    assert plain(short) == plain(long)
    asked, again = model_server.asked
    assert asked == again
    runs = house.installation.runs
    first, second = (events[-1].run for events in (long, short))  # type: ignore[union-attr]
    assert runs.contents(house.owner, first) == runs.contents(house.owner, second)
    left, right = (
        [{name: one[name] for name in ("kind", "use_case", "label", "model", "policy")}
         for one in house.entries_of(run)]
        for run in (first, second)
    )  # fmt: skip
    assert left == right
    verified = verify(runs.receipt(house.owner, second), house.installation.log.vkey)
    assert verified.facts["outcome"] == "unanswered"


@pytest.mark.parametrize(
    ("more", "short"),
    [
        ({}, True),
        ({"temperature": 0.5, "max_tokens": 9}, True),
        ({"history": (("user", "Hello."), ("system", "Be brief."))}, True),
        ({"stop": ("x",)}, False),
        ({"schema": "{}"}, False),
        ({"logprobs": 0}, False),
    ],
)
def test_what_the_relay_does_not_do_takes_the_long_way(
    house: House, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], short: bool
) -> None:
    relayed: list[relay.Relay] = []
    run = relay.Relay.run

    async def seen(self: relay.Relay, label: Any) -> None:
        relayed.append(self)
        await run(self, label)

    monkeypatch.setattr(relay.Relay, "run", seen)
    assert isinstance(told(house, **more)[-1], Finished)
    assert bool(relayed) == short


@pytest.mark.parametrize(
    "pieces",
    [
        [a_chunk(content="It is ")],
        [a_call(0, id="c1", name="shell", arguments="{}"), DONE],
        [b"data: {\n\n"],
    ],
    ids=["breaks off", "calls a tool that nobody offered", "talks nonsense"],
)
def test_an_answer_that_is_none_ends_the_run_as_failed(
    house: House, model_server: ModelServer, pieces: list[bytes]
) -> None:
    model_server.pieces = pieces
    with pytest.raises(Broken):
        told(house)
    admitted, finished = house.entries()[-2:]
    assert (admitted["kind"], finished["kind"]) == ("run.admitted", "run.finished")
    assert finished["outcome"] == "failed"


def test_who_hears_and_breaks_off_ends_the_run_as_failed(
    house: House, model_server: ModelServer
) -> None:
    model_server.pieces = [a_chunk(content="It is ")]
    model_server.holds = True

    async def tell(events: Sequence[Event]) -> None:
        if any(isinstance(one, Text) for one in events):
            raise ConnectionResetError

    async def follow() -> None:
        request = Request(question=QUESTION, use_case="chat")
        with pytest.raises(ConnectionResetError):
            await house.installation.tell(house.owner, request, tell)
        await house.installation.engines.close()

    asyncio.run(follow())
    assert house.entries()[-1]["outcome"] == "failed"


def test_what_is_taken_back_ends_a_relay_at_once_and_is_recorded(
    house: House, model_server: ModelServer
) -> None:
    model_server.pieces = [a_chunk(content="It is ")]
    model_server.holds = True
    bob = house.person("Bob")
    gate = house.installation.gate

    async def follow() -> CasemateError:
        begun = asyncio.Event()

        async def tell(events: Sequence[Event]) -> None:
            if any(isinstance(one, Text) for one in events):
                begun.set()

        request = Request(question=QUESTION, use_case="chat")
        running = asyncio.create_task(house.installation.tell(bob, request, tell))
        await begun.wait()
        await asyncio.to_thread(gate.principals.disable, house.owner, "Bob")
        with pytest.raises(Refused) as ended:
            await running
        await house.installation.engines.close()
        return ended.value

    assert "taken back" in asyncio.run(follow()).what
    kinds = [one["kind"] for one in house.entries()]
    assert "run.stopped" in kinds
    assert [one for one in house.entries() if one["kind"] == "run.finished"][-1][
        "outcome"
    ] == "failed"


def test_a_bound_of_time_ends_an_answer_and_keeps_what_was_said(
    house: House, model_server: ModelServer
) -> None:
    model_server.pieces = [a_chunk(content="It is 40 euros.")]
    model_server.holds = True
    house.installation._reasoner._seconds = 0.5
    finished = told(house)[-1]
    assert isinstance(finished, Finished)
    assert finished.answer.text == "It is 40 euros."
    assert ("limit", "time") in [(one.kind, one.subject) for one in finished.steps]
