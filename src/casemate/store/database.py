"""The database: SQLite with write-ahead log, every commit synced.

``read`` and ``write`` are the only ways in. One write at a time, taken up front, so that a
transaction never fails half-way because another one was faster.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DatabaseError, OperationalError

from casemate.at_hand import look_again, waits
from casemate.errors import CasemateError, Invalid, Tampered, Unavailable
from casemate.store.tables import REVISION, RIGHTS_TABLES

_WAITING = 30_000  # milliseconds that one process waits for another
_FOLDING = 2_000  # writers wait as long, so it is short
_KEPT_OPEN = 16  # connections; more are opened as more threads need one, and closed again


class Database:
    """Transactions on one database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._writing = threading.Lock()
        self._counting = threading.Lock()
        self._counter: sqlite3.Connection | None = None
        self._deferred: tuple[tuple[str, Sequence[tuple[Any, ...]]], ...] = ()
        self._writer = 0  # the thread that writes

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the SQLite file at ``path``, bringing its schema up to date.

        Raises Tampered if it is damaged, Unavailable if the disk is full or read-only, Invalid
        if a newer Casemate wrote it.
        """
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)),
            connect_args={"timeout": _WAITING / 1000, "check_same_thread": False},
            pool_size=_KEPT_OPEN,
            max_overflow=-1,
        )
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
        database = cls(engine)
        try:
            database._migrate()
        except CasemateError:
            engine.dispose()
            raise
        except DatabaseError as problem:
            engine.dispose()
            raise _plain(problem) from problem
        return database

    @property
    def dialect(self) -> sa.Dialect:
        """How statements are written for it."""
        return self._engine.dialect

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent snapshot. Raises Unavailable or Tampered if the disk fails."""
        waits()
        # Who writes has done it already, in a transaction that others do not see yet.
        if self._deferred and self._writer != threading.get_ident():
            with contextlib.suppress(CasemateError):  # a disk that takes nothing can be read
                self.settle()
        try:
            with self._engine.connect() as connection, connection.begin():
                yield connection
        except DatabaseError as problem:
            raise _plain(problem) from problem

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """All or nothing, durable when the block ends. Raises like ``read``."""
        waits()
        try:
            with self._writing, self._deferring(), self._engine.connect() as plain:
                connection = plain.execution_options(casemate_write=True)
                with connection.begin():
                    for statement, rows in self._deferred:
                        execute_many(connection, statement, rows)
                    yield connection
        except DatabaseError as problem:
            raise _plain(problem) from problem
        finally:
            look_again()

    def defer(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Execute a statement for each row with the next ``write``; whoever reads here sees it.

        In the driver's own words. For what is known from elsewhere too and found again after a
        crash: it is not durable by itself, and other processes see it later.
        """
        with self._writing:
            self._deferred = (*self._deferred, (statement, rows))

    def settle(self) -> None:
        """Execute what was deferred, without waiting for a sync. Raises like ``read``."""
        waits()
        if self._deferred:  # mostly not, and then a transaction would be for nothing
            with self._writing:
                self._settle()

    def _settle(self) -> None:
        if not self._deferred:
            return
        try:
            with self._deferring(), self._engine.connect() as plain:
                connection = plain.execution_options(casemate_write=True)
                with _unsynced(connection), connection.begin():
                    for statement, rows in self._deferred:
                        execute_many(connection, statement, rows)
        except DatabaseError as problem:
            raise _plain(problem) from problem

    @contextmanager
    def _alone(self) -> Iterator[sa.PoolProxiedConnection]:
        """A connection while nobody writes. Nothing is left deferred: readers would wait for it."""
        with self._writing:
            with contextlib.suppress(CasemateError):  # the disk is asked once more below
                self._settle()
            with contextlib.closing(self._engine.raw_connection()) as connection:
                yield connection

    @contextmanager
    def _deferring(self) -> Iterator[None]:
        """What is deferred now is done if the block, which does it, ends well."""
        self._writer = threading.get_ident()
        try:
            yield
            self._deferred = ()
        finally:
            self._writer = 0

    def rights_changes(self) -> int:
        """A number that rises with every committed change of what rights depend on.

        Whichever process makes the change: what was read before is good as long as this number
        stays. One short read, as ``glance``. Raises like ``read``.
        """
        ((number,),) = self.glance(_CHANGES)
        return int(number)

    def glance(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """The rows of one short read, as of now: a few microseconds, which no writer holds up.

        Raises like ``read``.
        """
        with self._counting:
            try:
                if self._counter is None:
                    # Its own connection, always outside a transaction: it sees what is newest.
                    self._counter = sqlite3.connect(
                        self._engine.url.database or "",
                        timeout=_WAITING / 1000,
                        isolation_level=None,
                        check_same_thread=False,
                    )
                    self._counter.execute("PRAGMA query_only=ON")
                # To its end, so that no read is left open and holds up a checkpoint.
                return self._counter.execute(query, values).fetchall()
            except sqlite3.Error as problem:
                raise _plain(OperationalError(None, None, problem)) from problem

    def check(self) -> None:
        """Read every page. Raises Tampered if SQLite finds damage."""
        with self.read() as connection:
            verdict = connection.exec_driver_sql("PRAGMA quick_check").scalar()
        if verdict != "ok":
            raise Tampered("The database is damaged.", "Restore it from a backup.")

    def fold_in(self) -> bool:
        """Move the write-ahead log into the file and empty it, so that what was deleted is gone.

        Call it outside ``read`` and ``write``. Waits a moment for readers; False if one still
        needs what was there before: call it again later. Raises like ``read``.
        """
        with self._alone() as connection:
            cursor = connection.cursor()
            try:
                cursor.execute(f"PRAGMA busy_timeout={_FOLDING}")
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                busy, *_ = cursor.fetchone() or (1,)
                cursor.execute(f"PRAGMA busy_timeout={_WAITING}")
            except sqlite3.Error as problem:
                connection.invalidate()
                raise _plain(OperationalError(None, None, problem)) from problem
            return not busy

    def rewrite(self) -> bool:
        """Write the whole file anew, so that no byte of what was deleted is left in it.

        ``secure_delete`` overwrites a row where it lies, not the stale copies that SQLite leaves
        in a page when it moves rows to another. Takes the time and the room of a copy, made
        beside the database and never outside the data folder; writers wait. Returns and raises
        like ``fold_in``, which it ends with.
        """
        with self._alone() as connection:
            cursor = connection.cursor()
            folder = str(Path(self._engine.url.database or "").parent).replace("'", "''")
            try:
                # The deprecated way is the one that does not depend on the environment.
                cursor.execute(f"PRAGMA temp_store_directory='{folder}'")
                try:
                    cursor.execute("VACUUM")
                finally:
                    cursor.execute("PRAGMA temp_store_directory=''")
            except sqlite3.Error as problem:
                connection.invalidate()
                raise _plain(OperationalError(None, None, problem)) from problem
        return self.fold_in()

    def close(self) -> None:
        """Close every connection; the write-ahead log is folded in."""
        with contextlib.suppress(CasemateError):
            self.settle()
        with self._counting:
            if self._counter is not None:
                self._counter.close()
                self._counter = None
        self._engine.dispose()

    def _migrate(self) -> None:
        with self._engine.connect() as connection:
            known = sa.inspect(connection).has_table("alembic_version")
            current = (
                connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
                if known
                else None
            )
        if current == REVISION:
            return
        if current is not None and current > REVISION:
            raise Invalid("A newer Casemate wrote this data folder.", "Install that version.")
        # Imported only when there is something to migrate: it costs a third of a second.
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", "casemate.store:migrations")
        with self._engine.connect().execution_options(casemate_write=True) as connection:
            config.attributes["connection"] = connection
            with connection.begin():
                command.upgrade(config, "head")
                # After every migration: one that rebuilds a table drops its triggers.
                _count_changes(connection)


def execute_many(
    connection: sa.Connection, statement: str, rows: Sequence[tuple[Any, ...]]
) -> None:
    """Execute a statement in the driver's own words for each row. Raises DatabaseError."""
    raw: Any = connection.connection.driver_connection
    try:
        raw.executemany(statement, rows)
    except sqlite3.DatabaseError as problem:
        raise _as_others(connection, statement, problem) from problem


def select_rows(connection: sa.Connection, statement: str, *values: str) -> list[tuple[Any, ...]]:
    """The rows of a query in the driver's own words. Raises DatabaseError."""
    raw: Any = connection.connection.driver_connection
    try:
        return list(raw.execute(statement, values))
    except sqlite3.DatabaseError as problem:
        raise _as_others(connection, statement, problem) from problem


def _as_others(
    connection: sa.Connection, statement: str, problem: sqlite3.DatabaseError
) -> BaseException:
    """A problem of the driver as the kind that every other statement raises."""
    return DatabaseError.instance(
        statement, None, problem, sqlite3.Error, dialect=connection.dialect
    )


_CHANGES = "SELECT number FROM rights_changes WHERE id = 1"
_TRIGGER = (
    "CREATE TRIGGER IF NOT EXISTS rights_{name}_{act} AFTER {act} ON {name} BEGIN "
    "UPDATE rights_changes SET number = number + 1 WHERE id = 1; END"
)


def _count_changes(connection: sa.Connection) -> None:
    """Have the database itself count every change of ``RIGHTS_TABLES``: no writer can forget to."""
    for table in RIGHTS_TABLES:
        for act in ("INSERT", "UPDATE", "DELETE"):
            connection.exec_driver_sql(_TRIGGER.format(name=table.name, act=act))


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see _begin
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # an entry that was confirmed must survive a power cut
        "foreign_keys=ON",
        "secure_delete=ON",  # what is deleted is overwritten
        "cache_size=-16000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@contextmanager
def _unsynced(connection: sa.Connection) -> Iterator[None]:
    """Let commits of ``connection`` wait for no sync (SQLite, PRAGMA synchronous, in WAL mode)."""
    raw: Any = connection.connection.driver_connection
    raw.execute("PRAGMA synchronous=NORMAL")
    try:
        yield
    finally:
        raw.execute("PRAGMA synchronous=FULL")


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("casemate_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _plain(problem: DatabaseError) -> CasemateError:
    text = str(problem.orig).lower()
    if "full" in text:
        return Unavailable(
            "The disk that holds the data folder is full.",
            "Free some space and try again; nothing recorded so far is lost.",
        )
    if "readonly" in text or "unable to open" in text:
        return Unavailable(
            "The data folder cannot be written.",
            "Give this account write access, or choose another with --data.",
        )
    if "malformed" in text or "not a database" in text:
        return Tampered("The database is damaged.", "Restore it from a backup.")
    if isinstance(problem, OperationalError):
        return Unavailable("The database does not answer.", "Check the disk, then try again.")
    raise problem
