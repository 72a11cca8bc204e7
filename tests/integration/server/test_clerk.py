"""What a worker records goes through the owner's clerk, which takes records of runs and no more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from house_builders import House

from casemate.api.handing import HandedOver
from casemate.errors import NotFound, TooLarge, Unavailable
from casemate.gate.refusal import Refusal, Refusals
from casemate.ledger.receipt import canonical
from casemate.ledger.verify import verify
from casemate.reasoning.event import Request
from casemate.reasoning.record import Opened, Runs
from casemate.server import said
from casemate.server.clerk import Clerk, OutOfOrder
from casemate.server.records import Acts, Afar
from casemate.server.wire import Message, framed

Change = Callable[[Any], Any]


class Counter:
    """A worker and its owner in one process: a wire of which the middle can be changed."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.change: Change = lambda message: message
        self.clerk = Clerk(house.installation, self._answer)
        self.afar = Afar(self)  # type: ignore[arg-type]
        own = house.installation.runs
        self.runs = Runs(
            house.installation.database,
            house.installation.keyring,
            house.installation.ledger,
            house.installation.gate.country.policy,
            clock=own._clock,
            new_id=own._new_id,
            random=own._random,
            recorder=self.afar,
        )

    def say(self, message: Message) -> None:
        content = framed(self.change(message))
        self.clerk.hear(msgspec.msgpack.decode(content[4:], type=said.FromWorker))

    def _answer(self, message: Message) -> None:
        heard = msgspec.msgpack.decode(framed(message)[4:], type=said.FromOwner)
        asyncio.get_running_loop().call_soon(self.afar.hear, heard)  # never at once, as on a wire

    async def opened(self) -> Opened:
        admission = self.house.installation.gate.admit(self.house.owner, use_case="documents")
        label = self.house.label("unclassified")
        request = Request(question="How much?")
        return await self.runs.open_soon(admission, request, "sha256:" + "0" * 64, label)

    async def closed(self, opened: Opened, outcome: str = "unanswered") -> Any:
        contents: dict[str, object] = {
            "answer": {"text": "x", "language": "en", "citations": [], "sentences": []},
            "sources": [],
            "steps": {"thinking": ""},
        }
        label = self.house.label("unclassified")
        return await self.runs.close_soon(opened, outcome, label, contents)


def at_the(house: House, do: Callable[[Counter], Awaitable[None]]) -> None:
    async def act() -> None:
        await do(Counter(house))

    asyncio.run(act())


def test_a_run_that_a_worker_records_has_the_receipt_of_any_other(house: House) -> None:
    runs: list[str] = []

    async def do(counter: Counter) -> None:
        opened = await counter.opened()
        await counter.closed(opened)
        runs.append(opened.id)

    at_the(house, do)
    receipt = house.installation.runs.receipt(house.owner, runs[0])
    assert verify(receipt, house.installation.log.vkey).facts["outcome"] == "unanswered"
    assert house.installation.runs.get(house.owner, runs[0]).question == "How much?"


def test_what_a_worker_has_open_when_it_goes_is_closed_as_failed(house: House) -> None:
    runs: list[str] = []

    async def do(counter: Counter) -> None:
        done, left, late = [await counter.opened() for _ in range(3)]
        await counter.closed(done)
        closing = asyncio.ensure_future(counter.closed(late))  # said, and not written yet
        await asyncio.sleep(0)
        await counter.clerk.close()
        await closing
        runs.extend(one.id for one in (done, left, late))

    at_the(house, do)
    found = {one.id: one.outcome for one in house.installation.runs.list(house.owner)}
    assert [found[run] for run in runs] == ["unanswered", "failed", "unanswered"]
    assert [one["kind"] for one in house.entries_of(runs[1])] == ["run.admitted", "run.finished"]
    assert house.installation.runs.recover() == 0


def entry_with(message: Any, **facts: object) -> Any:
    entry = json.loads(message.entry) | facts
    return msgspec.structs.replace(message, entry=canonical(entry))


def row_with(message: said.Opens, **facts: str) -> said.Opens:
    return msgspec.structs.replace(message, row=msgspec.structs.replace(message.row, **facts))


@pytest.mark.parametrize(
    "change",
    [
        lambda message: entry_with(message, kind="key.created"),
        lambda message: entry_with(message, kind="run.finished"),
        lambda message: entry_with(message, run="r_" + "0" * 20),
        lambda message: entry_with(message, tenant="another"),
        lambda message: entry_with(message, more="words"),
        lambda message: entry_with(message, label="lu:secret"),
        lambda message: row_with(message, id="r_" + "0" * 20),
        lambda message: row_with(message, label="lu:secret"),
        lambda message: row_with(message, use_case="another"),
        lambda message: msgspec.structs.replace(message, entry=b"{}"),
        lambda message: msgspec.structs.replace(message, entry=b"not JSON"),
    ],
)
def test_the_beginning_of_a_run_that_does_not_hang_together_is_not_written(
    house: House, change: Change
) -> None:
    size = house.installation.log.size

    async def do(counter: Counter) -> None:
        counter.change = change
        with pytest.raises(OutOfOrder):
            await counter.opened()

    at_the(house, do)
    assert house.installation.log.size == size
    assert house.installation.runs.list(house.owner) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda message: entry_with(message, kind="run.admitted"),
        lambda message: entry_with(message, principal="p_" + "0" * 20),
        lambda message: entry_with(message, outcome="answered"),
        lambda message: entry_with(message, admitted={"index": 0, "leaf": "sha256:" + "0" * 64}),
        lambda message: entry_with(message, model={"id": "other", "digest": "sha256:0"}),
        lambda message: msgspec.structs.replace(message, run="r_" + "0" * 20),
        lambda message: msgspec.structs.replace(message, outcome="answered"),
        lambda message: msgspec.structs.replace(message, ended="2020-01-01T00:00:00Z"),
    ],
)
def test_the_end_of_another_run_is_not_written(house: House, change: Change) -> None:
    async def do(counter: Counter) -> None:
        opened = await counter.opened()
        size = house.installation.log.size
        counter.change = change
        with pytest.raises(OutOfOrder):
            await counter.closed(opened)
        assert house.installation.log.size == size
        await counter.clerk.close()

    at_the(house, do)
    (run,) = house.installation.runs.list(house.owner)
    assert run.outcome == "failed"


def test_a_run_is_opened_once_and_ended_once(house: House) -> None:
    async def do(counter: Counter) -> None:
        kept: list[Any] = []
        counter.change = lambda message: (kept.append(message), message)[1]
        opened = await counter.opened()
        with pytest.raises(OutOfOrder):
            counter.say(kept[0])
        await counter.closed(opened)
        for message in kept[:3]:
            with pytest.raises(OutOfOrder):
                counter.say(message)

    at_the(house, do)
    assert len(house.installation.runs.list(house.owner)) == 1


def test_that_a_right_was_taken_back_is_told_once_and_only_of_the_workers_own_runs(
    house: House,
) -> None:
    async def do(counter: Counter) -> None:
        opened = await counter.opened()
        await counter.closed(opened, "failed")

        def stopped(run: str) -> asyncio.Future[Any]:
            return counter.afar.ask(lambda number: said.Stopped(number, run))[1]

        await stopped(opened.id)
        for run in (opened.id, "r_" + "0" * 20):
            with pytest.raises(NotFound):
                await stopped(run)
        denied = counter.afar.ask(
            lambda number: said.Denied(number, "p_" + "0" * 20, "ask", "UseCase:x", [], "sha256:0")
        )[1]
        with pytest.raises(NotFound):
            await denied

    at_the(house, do)
    kinds = [one["kind"] for one in house.entries()]
    assert kinds.count("run.stopped") == 1
    assert "refused" not in kinds


def test_of_somebody_forgotten_meanwhile_nothing_is_written(house: House) -> None:
    async def do(counter: Counter) -> None:
        opened = await counter.opened()
        installation = house.installation
        with installation.database.write() as connection:
            installation.keyring.retire(connection, house.owner.principal.id)
        with pytest.raises(NotFound):
            await counter.closed(opened)

    at_the(house, do)


def test_what_is_too_long_for_the_wire_fails_its_own_run_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def do(counter: Counter) -> None:
        opened = await counter.opened()
        monkeypatch.setattr("casemate.server.wire.LONGEST", 500)
        with pytest.raises(TooLarge):
            await counter.closed(opened)
        monkeypatch.undo()
        await counter.closed(opened)

    at_the(house, do)
    (run,) = house.installation.runs.list(house.owner)
    assert run.outcome == "unanswered"


def test_what_the_guard_of_a_worker_stopped_is_told_with_what_it_stopped_here(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Refusals()
    monkeypatch.setattr("casemate.server.clerk.refusals", heard)

    async def do(counter: Counter) -> None:
        acts = Acts(counter.afar, lambda: False)
        kinds = [{"way": "TCP", "reach": "private", "port": 443, "by": "somebody", "attempts": 3}]
        entry = {"kind": "connection.refused", "attempts": 3, "kinds": kinds}
        await asyncio.to_thread(acts.record, entry)

    at_the(house, do)
    assert heard.take() == {Refusal("TCP", "private", 443, "somebody"): 3}


def test_what_a_worker_cannot_record_hands_the_request_over_and_says_nothing(house: House) -> None:
    size = house.installation.log.size

    async def do(counter: Counter) -> None:
        acts = Acts(counter.afar, lambda: True)
        for kind in ("refused", "key.created", "connection.refused"):
            with pytest.raises(HandedOver):
                acts.record({"kind": kind})
        lists = {"kind": "certificate.lists_read", "lists": "sha256:0", "number": 1}
        with pytest.raises(HandedOver):
            acts.record(lists)
        acts.record(lists)  # the owner was led to it
        with pytest.raises(Unavailable):
            Acts(counter.afar, lambda: False).record({"kind": "key.created"})

    at_the(house, do)
    assert house.installation.log.size == size
