"""The database: SQLite with write-ahead log, every commit synced.

``read`` and ``write`` are the only ways in. One write at a time, taken up front, so that a
transaction never fails half-way because another one was faster.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DatabaseError, OperationalError

from casemate.errors import CasemateError, Invalid, Tampered, Unavailable
from casemate.store.tables import REVISION, RIGHTS, rights_version

_WAITING = 30_000  # milliseconds that one process waits for another
_FOLDING = 2_000  # writers wait as long, so it is short
_KEPT_OPEN = 16  # connections; more are opened as more threads need one, and closed again


class Database:
    """Transactions on one database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._writing = threading.Lock()

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
        event.listen(engine, "after_execute", _count_rights)
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

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent snapshot. Raises Unavailable or Tampered if the disk fails."""
        try:
            with self._engine.connect() as connection, connection.begin():
                yield connection
        except DatabaseError as problem:
            raise _plain(problem) from problem

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """All or nothing, durable when the block ends. Raises like ``read``."""
        try:
            with (
                self._writing,
                self._engine.connect().execution_options(casemate_write=True) as connection,
                connection.begin(),
            ):
                yield connection
        except DatabaseError as problem:
            raise _plain(problem) from problem

    def rights_version(self) -> int:
        """A number that grows, for every process, whenever rights may have been taken away."""
        with self.read() as connection:
            version: int = connection.execute(_VERSION).scalar_one()
            return version

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
        with self._writing, contextlib.closing(self._engine.raw_connection()) as connection:
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
        with self._writing, contextlib.closing(self._engine.raw_connection()) as connection:
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


_VERSION = sa.select(rights_version.c.version)


def _count_rights(
    connection: sa.Connection,
    statement: object,
    _many: object,
    _parameters: object,
    _options: object,
    result: sa.CursorResult[Any],
) -> None:
    """Count up in the transaction that takes rights away, whoever writes it.

    Here and not where each right is changed, because one forgotten place would be a right that
    outlives its end; and not as a trigger, because a migration that copies a table loses those.
    """
    changes = isinstance(statement, sa.Update | sa.Delete) and str(statement.table) in RIGHTS
    if changes and result.rowcount:
        connection.execute(rights_version.update().values(version=rights_version.c.version + 1))


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
