"""Records of runs, as a worker makes them: it says them to the owner, who alone can write.

``Afar`` stands where ``reasoning.recorder.Recorder`` stands in the owner. What several workers say
at one moment still becomes durable together, because the owner's recorder takes it all.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from casemate import errors
from casemate.api.handing import HandedOver
from casemate.errors import CasemateError, TooLarge, Unavailable
from casemate.ledger.merkle import leaf_hash
from casemate.ledger.record import Recorded
from casemate.reasoning.recorder import Ending, Opening
from casemate.server import said
from casemate.server.wire import Message, TooLong, Wire

if TYPE_CHECKING:
    from casemate.reasoning.recorder import Row

Say = Callable[[int], Message]


class Afar:
    """The owner, as a worker's records and acts reach it. Made in the worker's event loop."""

    def __init__(self, wire: Wire[said.FromOwner]) -> None:
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[int]] = {}

    def write_soon(self, record: Opening | Ending) -> asyncio.Future[Recorded]:
        """See Recorder."""
        written: asyncio.Future[Recorded] = self._loop.create_future()

        def came(answer: asyncio.Future[int]) -> None:
            if written.done():  # nobody waits any more
                return
            if (problem := answer.exception()) is not None:
                written.set_exception(problem)
            else:
                leaf = f"sha256:{leaf_hash(record.entry).hex()}"
                written.set_result(Recorded(answer.result(), leaf, record.entry))

        self.ask(lambda number: _spoken(number, record)).add_done_callback(came)
        return written

    def write(self, record: Opening | Ending) -> Recorded:
        """See Recorder."""

        async def write() -> Recorded:
            return await self.write_soon(record)

        return asyncio.run_coroutine_threadsafe(write(), self._loop).result()

    def close(self) -> None:
        """See Recorder: what waits is the owner's."""

    def ask(self, say: Say) -> asyncio.Future[int]:
        """Say a message under a number of its own; the index that it was written at.

        In the worker's event loop. Fails as the owner says; with Unavailable if it is gone.
        """
        number, answer = next(self._numbers), self._loop.create_future()
        try:
            self._wire.say(say(number))
        except TooLong:
            answer.set_exception(
                TooLarge("This is too long to be recorded.", "Ask for a shorter answer.")
            )
        else:
            self._asked[number] = answer
        return answer

    def ask_from_a_thread(self, say: Say) -> int:
        """As ``ask``, for a thread that may wait."""
        found: Future[int] = Future()

        def asked() -> None:
            self.ask(say).add_done_callback(lambda answer: _pass_on(answer, found))

        self._loop.call_soon_threadsafe(asked)
        return found.result()

    def hear(self, answer: said.Written | said.Failed) -> None:
        """The owner's answer to something that was said."""
        waiting = self._asked.pop(answer.number, None)
        if waiting is None or waiting.done():
            return
        if isinstance(answer, said.Written):
            waiting.set_result(answer.index)
        else:
            waiting.set_exception(problem_of(answer))

    def lose(self) -> None:
        """The owner is gone: nobody will be answered."""
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(Unavailable("The ledger is closed.", "Start again."))
        self._asked.clear()


@dataclass(frozen=True)
class _Place:
    index: int


class Acts:
    """Where a worker's gate records: what it may, it says to the owner.

    Anything else means that the request needs the owner, and is handed over. ``asking`` tells
    whether this is on behalf of a request that nothing was answered to.
    """

    def __init__(self, afar: Afar, asking: Callable[[], bool]) -> None:
        self._afar = afar
        self._asking = asking
        self._lists: set[str] = set()  # of revoked certificates, that the owner was led to

    def record(self, entry: Mapping[str, object]) -> _Place:
        """See ``gate.acts.Recorder``. Raises HandedOver."""
        kind = entry["kind"]
        if kind == "certificate.lists_read" and entry["lists"] in self._lists:
            return _Place(-1)  # the owner read the same file, and says so itself
        if self._asking():
            if kind == "certificate.lists_read":
                self._lists.add(str(entry["lists"]))
            raise HandedOver
        if kind == "refused":
            return _Place(self._afar.ask_from_a_thread(lambda number: _denied(number, entry)))
        if kind == "connection.refused":
            return _Place(self._afar.ask_from_a_thread(lambda number: _stayed(number, entry)))
        raise Unavailable("A worker does not record this.", "Ask the owner.")


def problem_of(failed: said.Failed) -> CasemateError:
    """The error that the owner met."""
    kind = getattr(errors, failed.kind, None)
    if not (isinstance(kind, type) and issubclass(kind, CasemateError)):
        kind = Unavailable
    problem = kind(failed.what, failed.next)
    if failed.retry_after is not None and hasattr(problem, "retry_after"):
        problem.retry_after = failed.retry_after
    return problem


def failed(number: int, problem: BaseException) -> said.Failed:
    """``problem`` as the answer to message ``number``; nothing of it but what people are told."""
    if not isinstance(problem, CasemateError):
        problem = Unavailable("It could not be recorded.", "Look at the server's log.")
    kind = next(
        one.__name__ for one in type(problem).__mro__ if getattr(errors, one.__name__, None) is one
    )
    return said.Failed(
        number, kind, problem.what, problem.next, getattr(problem, "retry_after", None)
    )


def _spoken(number: int, record: Opening | Ending) -> Message:
    contents = _contents(record.contents)
    if isinstance(record, Opening):
        row: Mapping[str, Any] = record.row
        return said.Opens(number, said.Row(**row), contents, record.entry)
    after: Mapping[str, Any] = record.after
    return said.Ends(
        number,
        record.run,
        after["label"],
        after["outcome"],
        after["ended"],
        contents,
        record.entry,
    )


def _contents(rows: Sequence[Row]) -> list[said.Content]:
    found: Sequence[Mapping[str, Any]] = rows
    return [said.Content(one["field"], one["sealed"]) for one in found]


def _denied(number: int, entry: Mapping[str, Any]) -> said.Denied:
    return said.Denied(
        number,
        entry["actor"],
        entry["action"],
        entry["resource"],
        entry["policies"],
        entry["policy_set"],
    )


def _stayed(number: int, entry: Mapping[str, Any]) -> said.Stayed:
    return said.Stayed(number, [said.Reached(**one) for one in entry["kinds"]])


def _pass_on(answer: asyncio.Future[int], found: Future[int]) -> None:
    if (problem := answer.exception()) is not None:
        found.set_exception(problem)
    else:
        found.set_result(answer.result())
