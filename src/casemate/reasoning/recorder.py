"""The recorder: what several runs have to record becomes durable together.

One thread takes whatever waits and commits it in this order: the content and rows of all, in one
transaction; the entries that commit to the content, in one batch of the ledger; and then, with the
next transaction, where the entries lie. So no entry commits to content that could be lost, and
what a crash takes of the last part is found again in the ledger (``Runs.recover``).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import sqlalchemy as sa

from casemate.at_hand import one_turn, waits
from casemate.errors import CasemateError, Unavailable
from casemate.ledger.record import Recorded
from casemate.store.database import Database, execute_many
from casemate.store.keyring import Keyring, erased
from casemate.store.tables import openings, runs

if TYPE_CHECKING:
    from casemate.ledger.record import Ledger

_MOST = 256  # records in one transaction
_MOST_TURNS = 8  # of an event loop, in which records are gathered

Row = dict[str, object]

Sealed = tuple[Sequence[Row], bytes]
"""Rows of sealed content, and the entry that commits to it, in canonical bytes."""


class _Record:
    """What is to be recorded of a run. It is sealed when that is looked at, once."""

    def __init__(self, subject: str, seal: Callable[[], Sealed]) -> None:
        self.subject = subject
        self._seal = seal
        self._sealed: Sealed | None = None

    def sealed(self) -> Sealed:
        """Its sealed content and its entry. Raises what sealing raises."""
        if self._sealed is None:
            self._sealed = self._seal()
        return self._sealed

    @property
    def contents(self) -> Sequence[Row]:
        """Its sealed content. Raises what sealing raises."""
        return self.sealed()[0]

    @property
    def entry(self) -> bytes:
        """Its entry. Raises what sealing raises."""
        return self.sealed()[1]


class Opening(_Record):
    """That a run begins, with its row. ``subject``: whose data key seals its content."""

    def __init__(self, subject: str, row: Row, seal: Callable[[], Sealed]) -> None:
        super().__init__(subject, seal)
        self.row = row


class Ending(_Record):
    """How a run ends. ``after``: what its row says once the entry is there.

    ``label``: the one that its content has, if that is above the one that it began with.
    """

    def __init__(
        self, subject: str, run: str, label: str | None, after: Row, seal: Callable[[], Sealed]
    ) -> None:
        super().__init__(subject, seal)
        self.run = run
        self.label = label
        self.after = after


class Records(Protocol):
    """What records of runs are given to: see ``Recorder``, which writes them.

    seals: whether a record may be given that is not sealed yet, though sealing may have to wait.
    """

    seals: bool

    def write(self, record: Opening | Ending) -> Recorded:
        """Where the entry of ``record`` lies, once all of it is durable; for threads."""

    def write_soon(self, record: Opening | Ending) -> asyncio.Future[Recorded]:
        """As ``write``, for tasks."""

    def close(self) -> None:
        """Let nothing more be recorded."""


@dataclass
class _Waiting:
    """One record, and whoever waits for it: a thread, or a task of an event loop."""

    record: Opening | Ending
    future: Future[Recorded] | asyncio.Future[Recorded]
    loop: asyncio.AbstractEventLoop | None = None
    found: Recorded | BaseException | None = None


class Recorder:
    """Writes records of runs. ``close`` ends it, once what waits is written.

    Its thread also seals them: many, one after the other, cost half of what each costs by itself.
    """

    seals = True

    def __init__(self, database: Database, keyring: Keyring, ledger: Ledger) -> None:
        self._database = database
        self._keyring = keyring
        self._ledger = ledger
        self._waiting: deque[_Waiting] = deque()
        self._filled = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._tried: set[str] = set()  # runs whose end was begun to be recorded
        self._gathered: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}

    def write(self, record: Opening | Ending) -> Recorded:
        """Where the entry of ``record`` lies, once all of it is durable; for threads.

        Raises NotFound if its subject was forgotten; Unavailable if it cannot be recorded.
        """
        waits()
        future: Future[Recorded] = Future()
        self._put(_Waiting(record, future))
        return future.result()

    def write_soon(self, record: Opening | Ending) -> asyncio.Future[Recorded]:
        """As ``write``, for tasks. Whoever stops waiting does not stop the writing.

        What comes in the next turns of the event loop goes with it: a batch costs as much for one
        as for ten, and more turns bring more as long as there is much to do.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Recorded] = loop.create_future()
        gathered = self._gathered.get(loop)
        if gathered is None:
            gathered = self._gathered[loop] = []
            loop.call_soon(self._gather, loop, 0, 0)
        gathered.append(_Waiting(record, future, loop))
        return future

    def close(self) -> None:
        """Write what waits, then stop."""
        for loop in tuple(self._gathered):
            self._put_gathered(loop)
        with self._filled:
            self._closed = True
            self._filled.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _gather(self, loop: asyncio.AbstractEventLoop, turns: int, before: int) -> None:
        """Wait for one turn more, if the one that passed brought something."""
        count = len(self._gathered.get(loop, ()))
        if count > before and turns < _MOST_TURNS:
            loop.call_soon(self._gather, loop, turns + 1, count)
        else:
            self._put_gathered(loop)

    def _put_gathered(self, loop: asyncio.AbstractEventLoop) -> None:
        gathered = self._gathered.pop(loop, None)
        if not gathered:  # the recorder was closed meanwhile
            return
        try:
            self._put(*gathered)
        except Unavailable as problem:
            for one in gathered:
                one.found = problem
            _tell(gathered)

    def _put(self, *waiting: _Waiting) -> None:
        with self._filled:
            if self._closed:
                raise Unavailable("The ledger is closed.", "Start again.")
            self._waiting.extend(waiting)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
                self._thread.start()
            self._filled.notify()

    def _run(self) -> None:
        while batch := self._take():
            try:
                self._commit(batch)
            except BaseException as problem:
                # Whoever waits must hear of it, and the next batch may well succeed.
                for one in batch:
                    one.found = one.found or problem
            _tell(batch)
            if not self._waiting:
                with suppress(CasemateError):  # it is tried again with what comes next
                    self._database.settle()

    def _commit(self, batch: Sequence[_Waiting]) -> None:
        stored = self._each(self._sealed(batch), self._store)
        entries = self._ledger.record_together([one.record.entry for one in stored])
        for one, found in zip(stored, entries, strict=True):
            one.found = found
        self._note(stored)

    def _sealed(self, batch: Sequence[_Waiting]) -> list[_Waiting]:
        """Those that could be sealed; the others know why not."""
        with one_turn():
            for one in batch:
                try:
                    one.record.sealed()
                except Exception as problem:
                    one.found = problem
        return [one for one in batch if one.found is None]

    def _take(self) -> list[_Waiting]:
        with self._filled:
            while not self._waiting and not self._closed:
                self._filled.wait()
            return [self._waiting.popleft() for _ in range(min(_MOST, len(self._waiting)))]

    def _each(
        self, batch: Sequence[_Waiting], write: Callable[[Sequence[_Waiting]], None]
    ) -> list[_Waiting]:
        """Write all together; if one cannot be, each by itself: nobody fails for another's sake.

        What fails for all, as a disk that takes no more, is not tried again for each.
        """
        if not batch:
            return []
        try:
            write(batch)
        except Exception as problem:
            if len(batch) > 1 and not isinstance(problem, CasemateError):
                for one in batch:
                    self._each([one], write)
            else:
                for one in batch:
                    one.found = problem
        return [one for one in batch if not isinstance(one.found, Exception)]

    def _store(self, batch: Sequence[_Waiting]) -> None:
        records = [one.record for one in batch]
        with self._database.write() as connection:
            # Of somebody forgotten while the run went on, nothing is kept any more.
            subjects = {record.subject for record in records if record.contents}
            if subjects and self._keyring.retired(connection, subjects):
                if len(records) == 1:
                    raise erased()
                raise _NotTogether
            begun = [record for record in records if isinstance(record, Opening)]
            ended = [record for record in records if isinstance(record, Ending)]
            since = self._ledger.log.size
            _BEGINS.execute(connection, [one.row | {"since": since} for one in begun])
            # A first attempt to end this run may have left content that no entry commits to.
            _LEFT.execute(connection, [{"id_": one.run} for one in ended if one.run in self._tried])
            self._tried.update(one.run for one in ended)
            _OPENS.execute(connection, [row for record in records for row in record.contents])
            # With the content: at no moment does it lie there under a lower one.
            risen = [one for one in ended if one.label is not None]
            _RISES.execute(connection, [{"id_": one.run, "label": one.label} for one in risen])

    def _note(self, batch: Sequence[_Waiting]) -> None:
        """Keep where entries lie. They are durable: a disk that refuses now is asked again."""
        noted = [
            {"id_": one.record.run, **one.record.after, "finished": one.found.index}
            for one in batch
            if isinstance(one.record, Ending) and isinstance(one.found, Recorded)
        ]
        self._tried.difference_update(str(row["id_"]) for row in noted)
        if noted:
            self._database.defer(*_AFTER.prepared(self._database.dialect, noted))


class _NotTogether(Exception):
    """One of a batch cannot be stored; each is tried by itself."""


class _ForMany:
    """A statement for many rows of plain values: compiled once, and given straight to the driver.

    For a batch of a few rows what lies between would cost more than the database.
    """

    def __init__(self, statement: sa.sql.expression.UpdateBase, *columns: str) -> None:
        self._statement = statement
        self._columns = columns or None
        self._text = ""
        self._order: Sequence[str] = ()

    def execute(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        """Execute it for each row; nothing without one."""
        if rows:
            execute_many(connection, *self.prepared(connection.dialect, rows))

    def prepared(
        self, dialect: sa.Dialect, rows: Sequence[Row]
    ) -> tuple[str, list[tuple[object, ...]]]:
        """Its text, and the values of each row."""
        if not self._text:
            compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
            self._order = compiled.positiontup or ()
            self._text = str(compiled)
        order = self._order
        return self._text, [tuple([row[name] for name in order]) for row in rows]


_RUN = runs.c.id == sa.bindparam("id_")
_BEGINS = _ForMany(
    runs.insert(), "id", "tenant", "principal", "use_case", "model", "label", "since", "created"
)
_OPENS = _ForMany(openings.insert())
_LEFT = _ForMany(
    sa.delete(openings).where(
        openings.c.run == sa.bindparam("id_"), openings.c.entry == sa.literal_column("'finished'")
    )
)
_RISES = _ForMany(sa.update(runs).where(_RUN), "label")
_AFTER = _ForMany(sa.update(runs).where(_RUN), "admitted", "outcome", "label", "finished", "ended")


def _tell(batch: Sequence[_Waiting]) -> None:
    """Wake whoever waits: each event loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
    for one in batch:
        if one.loop is None:
            _resolve(one)
        else:
            by_loop.setdefault(one.loop, []).append(one)
    for loop, waiting in by_loop.items():
        with suppress(RuntimeError):  # it has closed, and whoever waited in it is gone
            loop.call_soon_threadsafe(_resolve_all, waiting)


def _resolve_all(batch: Sequence[_Waiting]) -> None:
    for one in batch:
        _resolve(one)


def _resolve(one: _Waiting) -> None:
    if one.future.done():  # nobody waits any more
        return
    if isinstance(one.found, Recorded):
        one.future.set_result(one.found)
    elif one.found is not None:
        one.future.set_exception(one.found)
