"""The recorder: many records at once, each as durable and as separate as if it were alone."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import sqlalchemy as sa
from house_builders import House

from casemate.errors import NotFound, Unavailable
from casemate.ledger.receipt import ReceiptError
from casemate.reasoning.event import Request
from casemate.reasoning.record import Opened
from casemate.store.tables import openings, runs

ANSWER = {
    "answer": {"text": "x", "language": "en", "citations": [], "sentences": []},
    "sources": [],
    "steps": {},
}


def admitted(house: House, caller: Any = None) -> tuple[Any, Request, str, Any]:
    admission = house.installation.gate.admit(caller or house.owner, use_case="documents")
    return admission, Request(question="How much?"), admission.model_digest, admission.label


async def opened(house: House, count: int) -> list[Opened]:
    record = house.installation.runs
    asked = admitted(house)
    return list(await asyncio.gather(*(record.open_soon(*asked) for _ in range(count))))


def test_many_runs_at_once_have_an_entry_each_and_their_rows_say_where(house: House) -> None:
    record = house.installation.runs

    async def work() -> list[Opened]:
        begun = await opened(house, 40)
        ends = (record.close_soon(one, "unanswered", house.label("unclassified"), ANSWER)
                for one in begun)  # fmt: skip
        await asyncio.gather(*ends)
        return begun

    begun = asyncio.run(work())
    for one in begun:
        first, last = house.entries_of(one.id)
        assert (first["kind"], last["kind"]) == ("run.admitted", "run.finished")
        assert last["admitted"]["index"] == one.admitted.index
        summary = record.get(house.owner, one.id)
        assert summary.admitted_entry == one.admitted.index
        assert house.entries()[summary.finished_entry or -1]["run"] == one.id
        assert record.receipt(house.owner, one.id)


def test_somebody_forgotten_meanwhile_fails_alone(house: House) -> None:
    record, keyring = house.installation.runs, house.installation.keyring
    bob = house.person("Bob")

    async def work() -> list[object]:
        theirs = await record.open_soon(*admitted(house, bob))
        mine = await opened(house, 3)
        label = house.label("unclassified")
        ends = [record._ends(one, "unanswered", label, ANSWER) for one in (theirs, *mine)]
        with house.installation.database.write() as connection:
            keyring.retire(connection, bob.principal.id)
        waiting = [record._recorder.write_soon(one) for one in ends]
        return list(await asyncio.gather(*waiting, return_exceptions=True))

    first, *others = asyncio.run(work())
    assert isinstance(first, NotFound)
    assert not any(isinstance(one, BaseException) for one in others)


def test_what_cannot_be_sealed_fails_alone(house: House) -> None:
    record = house.installation.runs
    odd = {**ANSWER, "steps": {"share": 0.5}}  # which has no canonical form

    async def work() -> tuple[list[Opened], list[object]]:
        begun = await opened(house, 3)
        ends = [
            record.close_soon(one, "unanswered", house.label("unclassified"), content)
            for one, content in zip(begun, (ANSWER, odd, ANSWER), strict=True)
        ]
        return begun, list(await asyncio.gather(*ends, return_exceptions=True))

    begun, found = asyncio.run(work())
    assert isinstance(found[1], ReceiptError)
    for one, kinds in zip(begun, (2, 1, 2), strict=True):
        assert len(house.entries_of(one.id)) == kinds
    assert record.get(house.owner, begun[1].id).outcome is None


def test_content_is_in_the_database_before_an_entry_commits_to_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, database = house.installation.ledger, house.installation.database
    record = ledger.record_together
    found: list[int] = []

    def looked(entries: Any) -> Any:
        with database.read() as connection:
            found.append(
                connection.execute(sa.select(sa.func.count()).select_from(openings)).scalar_one()
            )
        return record(entries)

    monkeypatch.setattr(ledger, "record_together", looked)
    asyncio.run(opened(house, 1))
    assert found == [1]


def test_a_ledger_that_refuses_fails_the_run_and_leaves_no_entry_behind(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = house.installation.ledger
    size = ledger.log.size

    def refuses(entries: Any) -> list[Exception]:
        return [Unavailable("There is no room left.", "Free some.") for _ in entries]

    monkeypatch.setattr(ledger, "record_together", refuses)
    with pytest.raises(Unavailable, match="no room"):
        asyncio.run(opened(house, 1))
    assert ledger.log.size == size


def test_what_a_crash_takes_of_the_last_part_is_found_in_the_ledger(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = house.installation.runs
    (one,) = asyncio.run(opened(house, 1))
    monkeypatch.setattr(record._recorder, "_note", lambda batch: None)
    record.close(one, "unanswered", house.label("unclassified"), ANSWER)
    with house.installation.database.read() as connection:
        row = connection.execute(sa.select(runs).where(runs.c.id == one.id)).one()
    assert (row.outcome, row.finished) == (None, None)
    assert record.recover() == 1
    assert record.get(house.owner, one.id).outcome == "unanswered"


def test_nothing_is_recorded_once_the_recorder_has_stopped(house: House) -> None:
    asked = admitted(house)
    house.installation.runs.settle()
    with pytest.raises(Unavailable):
        house.installation.runs.open(*asked)


def test_what_nobody_foresaw_is_heard_by_who_waits_and_ends_nothing_else(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, record = house.installation.ledger, house.installation.ledger.record_together

    def breaks(entries: Any) -> Any:
        monkeypatch.setattr(ledger, "record_together", record)
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(ledger, "record_together", breaks)
    with pytest.raises(RuntimeError, match="unforeseen"):
        asyncio.run(opened(house, 3))
    assert len(asyncio.run(opened(house, 3))) == 3


def test_a_database_that_refuses_is_asked_once_for_all(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = house.installation.runs._recorder
    asked: list[int] = []

    def refuses(batch: Any) -> None:
        asked.append(len(batch))
        raise Unavailable("The database does not answer.", "Check the disk.")

    monkeypatch.setattr(recorder, "_store", refuses)

    async def work() -> list[object]:
        begins = [house.installation.runs._begins(*admitted(house)).record for _ in range(8)]
        waiting = [recorder.write_soon(one) for one in begins]
        return list(await asyncio.gather(*waiting, return_exceptions=True))

    assert all(isinstance(one, Unavailable) for one in asyncio.run(work()))
    assert sum(asked) == 8


def test_a_disk_that_refuses_to_note_where_an_entry_lies_is_asked_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry is durable and says how the run ended: it must not end a second time."""
    record, database = house.installation.runs, house.installation.database
    settle = database.settle
    refusals = [1]

    def refusing() -> None:
        if refusals:
            refusals.pop()
            raise Unavailable("The disk is full.", "Make room.")
        settle()

    monkeypatch.setattr(database, "settle", refusing)

    async def work() -> list[str]:
        first, second = await opened(house, 2)
        for one in (first, second):
            await record.close_soon(one, "unanswered", house.label("unclassified"), ANSWER)
        return [first.id, second.id]

    for run in asyncio.run(work()):
        assert [one["kind"] for one in house.entries_of(run)] == ["run.admitted", "run.finished"]
        assert record.get(house.owner, run).outcome == "unanswered"
        assert record.contents(house.owner, run)["answer"] == ANSWER["answer"]


def test_a_run_that_is_cancelled_twice_while_it_is_recorded_still_ends(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, ledger = house.installation.runs, house.installation.ledger
    together, writing, go = ledger.record_together, threading.Event(), threading.Event()

    def held(entries: Any) -> Any:
        writing.set()
        assert go.wait(30)
        return together(entries)

    monkeypatch.setattr(ledger, "record_together", held)

    async def work() -> None:
        task = asyncio.ensure_future(record.open_soon(*admitted(house)))
        await asyncio.to_thread(writing.wait, 30)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], BaseException)
        go.set()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*rest)

    asyncio.run(work())
    (summary,) = record.list(house.owner)
    assert summary.outcome == "failed"
    kinds = [one["kind"] for one in house.entries_of(summary.id)]
    assert kinds == ["run.admitted", "run.finished"]


def test_a_first_question_waits_for_another_writer_without_holding_up_the_loop(
    house: House,
) -> None:
    """Its asker's key has to be made first, which is written."""
    bob = house.person("Bob")
    database, record = house.installation.database, house.installation.runs

    async def work() -> Opened:
        with database._writing:
            task = asyncio.ensure_future(record.open_soon(*admitted(house, bob)))
            for _ in range(5):  # the loop goes on: nothing here would, if it stood still
                await asyncio.sleep(0)
            assert not task.done()
        return await task

    assert asyncio.run(work()).subject == bob.principal.id
