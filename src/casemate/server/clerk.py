"""The clerk: the owner's end of one worker, which writes what the worker records and no more.

A worker answers for runs of its own. The clerk works out every row from what a worker may say of a
run, looks whether the entries belong to it, and keeps which runs are open: those of a worker that
is gone it closes as failed, as a start after a crash does.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from casemate.errors import NotFound
from casemate.gate.refusal import Refusal, refusals
from casemate.ledger.record import Recorded
from casemate.reasoning.recorder import Ending, Opening
from casemate.server import said
from casemate.server.records import failed

if TYPE_CHECKING:
    from casemate.installation import Installation

_REMEMBERED = 16_384  # runs that have ended, of which it may still be said why

Say = Callable[[said.Written | said.Failed], None]
T = TypeVar("T")


class OutOfOrder(Exception):
    """A worker says what no worker of ours says; it is not listened to any further."""


class _Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    digest: str


class _Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    decision: Literal["allow"]
    deciding: tuple[str, ...]
    digest: str


class _Head(msgspec.Struct, frozen=True):
    """What both entries of a run say."""

    v: Literal[1]
    run: str
    tenant: str
    principal: str
    use_case: str
    model: _Model
    policy: _Policy


class _Begun(_Head, frozen=True, forbid_unknown_fields=True):
    kind: Literal["run.admitted"]
    time: str
    label: str
    question: str


class _At(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    index: int
    leaf: str


class _Over(_Head, frozen=True, forbid_unknown_fields=True):
    kind: Literal["run.finished"]
    time: str
    label: str
    outcome: said.Outcome
    admitted: _At
    witnesses: dict[str, object] | None = None
    answer: str | None = None
    sources: str | None = None
    steps: str | None = None


_begun = msgspec.json.Decoder(_Begun).decode
_over = msgspec.json.Decoder(_Over).decode


@dataclass
class _Open:
    """A run that a worker has open. ``writing``: of its first entry."""

    opening: Opening
    head: _Begun
    writing: asyncio.Future[Recorded]
    ending: bool = False  # its end is being written


class Clerk:
    """Hears one worker, in the owner's event loop. ``say`` answers it."""

    def __init__(self, installation: Installation, say: Say) -> None:
        self._installation = installation
        self._runs = installation.runs
        self._say = say
        self._open: dict[str, _Open] = {}
        self._ended: OrderedDict[str, str] = OrderedDict()  # run → pseudonym
        self._working: set[asyncio.Future[Any]] = set()

    def hear(
        self, message: said.Opens | said.Ends | said.Stopped | said.Denied | said.Stayed
    ) -> None:
        """Do what a worker asks for. Raises OutOfOrder, and Unavailable once nothing is written."""
        match message:
            case said.Opens():
                self._opens(message)
            case said.Ends():
                self._ends(message)
            case said.Stopped():
                self._later(message.number, partial(self._stopped, message.run))
            case said.Denied():
                self._later(message.number, partial(self._denied, message))
            case said.Stayed():
                self._stayed(message)

    async def close(self) -> None:
        """The worker is gone: close what it has open as failed, once all it said is written."""
        while self._working:
            await asyncio.wait(set(self._working))
        closing = []
        for one in self._open.values():
            if not one.writing.cancelled() and one.writing.exception() is None:
                closing.append(self._runs.cut_off(one.opening, one.writing.result()))
        self._open.clear()
        # What cannot be closed now, the next start closes.
        await asyncio.gather(*closing, return_exceptions=True)

    def _opens(self, message: said.Opens) -> None:
        row, head = message.row, _read(_begun, message.entry)
        told = (head.run, head.tenant, head.use_case, head.model.id, head.label, head.time)
        if told != (row.id, row.tenant, row.use_case, row.model, row.label, row.created):
            raise OutOfOrder("another run's entry")
        if row.id in self._open or row.id in self._ended:
            raise OutOfOrder("a run that was opened before")
        rows = _rows(row.id, "admitted", row.principal, message.contents)
        opening = Opening(
            row.principal,
            {name: getattr(row, name) for name in row.__struct_fields__},
            lambda: (rows, message.entry),
        )
        writing = self._runs.records.write_soon(opening)
        self._open[row.id] = _Open(opening, head, writing)

        def opened(writing: asyncio.Future[Recorded]) -> None:
            if writing.cancelled() or writing.exception() is not None:
                self._open.pop(row.id, None)
            self._answer(message.number, writing)

        self._follow(writing, opened)

    def _ends(self, message: said.Ends) -> None:
        run, over = self._open.get(message.run), _read(_over, message.entry)
        if run is None or run.ending or not run.writing.done():
            raise OutOfOrder("the end of a run that is not open")
        begun, admitted = run.head, run.writing.result()
        if any(
            (
                [getattr(over, name) for name in _HEAD] != [getattr(begun, name) for name in _HEAD],
                (over.admitted.index, over.admitted.leaf) != (admitted.index, admitted.leaf),
                (over.label, over.outcome) != (message.label, message.outcome),
                over.time != message.ended,
            )
        ):
            raise OutOfOrder("another run's entry")
        subject = run.opening.subject
        rows = _rows(message.run, "finished", subject, message.contents)
        after: dict[str, object] = {
            "admitted": admitted.index,
            "outcome": message.outcome,
            "label": message.label,
            "ended": message.ended,
        }
        risen = None if message.label == begun.label else message.label
        record = Ending(subject, message.run, risen, after, lambda: (rows, message.entry))
        run.ending = True

        def ended(writing: asyncio.Future[Recorded]) -> None:
            if writing.cancelled() or writing.exception() is not None:
                run.ending = False  # it may be ended once more, as failed
            else:
                del self._open[message.run]
                self._ended[message.run] = begun.principal
                if len(self._ended) > _REMEMBERED:
                    self._ended.popitem(last=False)
            self._answer(message.number, writing)

        self._follow(self._runs.records.write_soon(record), ended)

    def _stopped(self, run: str) -> int:
        # Once, and only of a run of this worker's.
        pseudonym = self._ended.pop(run, None)
        if pseudonym is None:
            raise _unknown()
        acts = self._installation.gate.acts
        return acts.record("run.stopped", None, run=run, subject=pseudonym)

    def _denied(self, message: said.Denied) -> int:
        here = {one.head.principal for one in list(self._open.values())}
        if message.actor not in here and message.actor not in list(self._ended.values()):
            raise _unknown()
        entry: dict[str, object] = {
            "v": 1,
            "kind": "refused",
            "time": self._installation.gate.acts.now(),
            "actor": message.actor,
            "action": message.action,
            "resource": message.resource,
            "policies": message.policies,
            "policy_set": message.policy_set,
        }
        return self._installation.ledger.record(entry).index

    def _stayed(self, message: said.Stayed) -> None:
        taken = {
            Refusal(one.way, one.reach, one.port, one.by): one.attempts for one in message.attempts
        }
        refusals.put_back(taken)  # told to the ledger with those of this process
        refusals.came.set()
        self._say(said.Written(message.number, -1))

    def _later(self, number: int, record: Callable[[], int]) -> None:
        """Record an act in a thread, and answer with its index."""

        def recorded(writing: asyncio.Future[int]) -> None:
            if (problem := writing.exception()) is not None:
                self._say(failed(number, problem))
            else:
                self._say(said.Written(number, writing.result()))

        self._follow(asyncio.ensure_future(asyncio.to_thread(record)), recorded)

    def _answer(self, number: int, writing: asyncio.Future[Recorded]) -> None:
        if writing.cancelled():
            return
        if (problem := writing.exception()) is not None:
            self._say(failed(number, problem))
        else:
            self._say(said.Written(number, writing.result().index))

    def _follow(
        self, working: asyncio.Future[T], then: Callable[[asyncio.Future[T]], None]
    ) -> None:
        self._working.add(working)
        working.add_done_callback(self._working.discard)
        working.add_done_callback(then)


def _unknown() -> NotFound:
    return NotFound("This worker has no such run.", "Nothing was recorded.")


_HEAD = _Head.__struct_fields__


def _read(decode: Callable[[bytes], T], entry: bytes) -> T:
    try:
        return decode(entry)
    except msgspec.MsgspecError:
        raise OutOfOrder("an entry that is none of a run") from None


def _rows(
    run: str, entry: str, subject: str, contents: list[said.Content]
) -> list[dict[str, object]]:
    return [
        {"run": run, "entry": entry, "field": one.field, "subject": subject, "sealed": one.sealed}
        for one in contents
    ]
