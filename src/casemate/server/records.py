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
from functools import partial
from typing import TYPE_CHECKING, Any

from casemate import errors
from casemate.api.errors import known
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
Answer = said.Written | said.Entered


class Afar:
    """The owner, as a worker reaches it. Made, and used, in the worker's event loop."""

    seals = False  # that is for this process to do, before it says anything

    def __init__(self, wire: Wire[said.FromOwner]) -> None:
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._followed: dict[int, asyncio.Queue[int]] = {}

    def write_soon(self, record: Opening | Ending) -> asyncio.Future[Recorded]:
        """See Recorder."""
        written: asyncio.Future[Recorded] = self._loop.create_future()

        def came(answer: asyncio.Future[Answer]) -> None:
            if written.done():  # nobody waits any more
                return
            if (problem := answer.exception()) is not None:
                written.set_exception(problem)
            else:
                leaf = f"sha256:{leaf_hash(record.entry).hex()}"
                written.set_result(Recorded(_index(answer), leaf, record.entry))

        _, writing = self.ask(lambda number: _spoken(number, record))
        writing.add_done_callback(came)
        return written

    def write(self, record: Opening | Ending) -> Recorded:
        """See Recorder."""
        leaf = f"sha256:{leaf_hash(record.entry).hex()}"
        index = self.ask_from_a_thread(lambda number: _spoken(number, record))
        return Recorded(index, leaf, record.entry)

    def close(self) -> None:
        """See Recorder: what waits is the owner's."""

    def say(self, message: Message) -> None:
        """Say what has no answer."""
        self._wire.say(message)

    def ask(self, say: Say) -> tuple[int, asyncio.Future[Answer]]:
        """Say a message under a number of its own: the number, and the answer.

        Which fails as the owner says, or with TooLarge.
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
        return number, answer

    def ask_from_a_thread(self, say: Say) -> int:
        """As ``ask``, for a thread that may wait: where it was written."""
        found: Future[int] = Future()

        def asked() -> None:
            self.ask(say)[1].add_done_callback(partial(_pass_on, found))

        self._loop.call_soon_threadsafe(asked)
        return found.result()

    def follow(self, say: Say) -> tuple[int, asyncio.Queue[int]]:
        """Say a message under a number of its own: the number, and what is passed about it."""
        number = next(self._numbers)
        passed = self._followed[number] = asyncio.Queue()
        self._wire.say(say(number))
        return number, passed

    def leave(self, number: int) -> None:
        """Follow it no more."""
        self._followed.pop(number, None)

    def hear(self, answer: Answer | said.Failed | said.Passed) -> None:
        """The owner's answer to something that was said."""
        if isinstance(answer, said.Passed):
            if (followed := self._followed.get(answer.number)) is not None:
                followed.put_nowait(answer.position)
            return
        waiting = self._asked.pop(answer.number, None)
        if waiting is None or waiting.done():
            return
        if isinstance(answer, said.Failed):
            waiting.set_exception(problem_of(answer))
        else:
            waiting.set_result(answer)


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
    """``problem`` as the answer to message ``number``: what people are told of it, and no more."""
    problem = known(problem if isinstance(problem, Exception) else Unavailable("It was given up."))
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


def _index(answer: asyncio.Future[Answer]) -> int:
    written = answer.result()
    return written.index if isinstance(written, said.Written) else -1


def _pass_on(found: Future[int], answer: asyncio.Future[Answer]) -> None:
    if (problem := answer.exception()) is not None:
        found.set_exception(problem)
    else:
        found.set_result(_index(answer))
