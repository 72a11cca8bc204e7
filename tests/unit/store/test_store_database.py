from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from casemate.errors import Invalid, Tampered, Unavailable
from casemate.store.database import Database
from casemate.store.tables import (
    REVISION,
    RIGHTS_TABLES,
    metadata,
    principals,
    tenants,
    use_case_versions,
)


def test_an_empty_place_gets_the_whole_schema(database: Database) -> None:
    with database.read() as connection:
        inspected = sa.inspect(connection)
        assert set(inspected.get_table_names()) == {*metadata.tables, "alembic_version"}
        for name, table in metadata.tables.items():
            assert {one["name"] for one in inspected.get_columns(name)} == set(table.c.keys())


def test_the_migrations_end_at_the_revision_that_the_code_expects(database: Database) -> None:
    with database.read() as connection:
        version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    assert version == REVISION


def test_indexes_and_unique_constraints_are_those_of_the_tables(database: Database) -> None:
    with database.read() as connection:
        inspected = sa.inspect(connection)
        for name, table in metadata.tables.items():
            made = {tuple(one["column_names"]) for one in inspected.get_indexes(name)}
            assert made == {tuple(one.columns.keys()) for one in table.indexes}, name
            unique = {tuple(one["column_names"]) for one in inspected.get_unique_constraints(name)}
            declared = {
                tuple(one.columns.keys())
                for one in table.constraints
                if isinstance(one, sa.UniqueConstraint)
            }
            assert unique == declared, name


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        opened = Database.open(tmp_path / "casemate.sqlite")
        with opened.read() as connection:
            assert sa.inspect(connection).has_table("runs")
        opened.close()


def test_a_database_of_a_newer_casemate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "casemate.sqlite"
    Database.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(Invalid, match="newer Casemate"):
        Database.open(path)


def test_commits_are_synced_and_what_is_deleted_is_overwritten(database: Database) -> None:
    with database.read() as connection:
        found = {
            pragma: connection.exec_driver_sql(f"PRAGMA {pragma}").scalar()
            for pragma in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}


def test_a_write_that_fails_leaves_nothing(database: Database) -> None:
    def half() -> None:
        with database.write() as connection:
            connection.execute(tenants.insert().values(id="t1", name="home"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    with database.read() as connection:
        assert connection.execute(sa.select(tenants)).all() == []


def test_a_reader_sees_one_moment_while_others_write(database: Database) -> None:
    with database.read() as reading:
        assert reading.execute(sa.select(tenants)).all() == []
        with database.write() as connection:
            connection.execute(tenants.insert().values(id="t1", name="home"))
        assert reading.execute(sa.select(tenants)).all() == []
    with database.read() as reading:
        assert len(reading.execute(sa.select(tenants)).all()) == 1


def test_writers_wait_for_each_other_and_none_is_lost(database: Database) -> None:
    def write(number: int) -> None:
        for turn in range(5):
            with database.write() as connection:
                id = f"{number}-{turn}"
                connection.execute(tenants.insert().values(id=id, name=id))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tenants)).scalar() == 30


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"x" * 9]
)
def test_a_file_that_is_no_database_is_called_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "casemate.sqlite"
    path.write_bytes(content)
    with pytest.raises(Tampered, match="damaged"):
        Database.open(path)
    assert path.read_bytes() == content


def test_a_check_reads_every_page(tmp_path: Path) -> None:
    path = tmp_path / "casemate.sqlite"
    opened = Database.open(path)
    opened.check()
    with opened.write() as connection:
        for number in range(2000):
            connection.execute(tenants.insert().values(id=str(number), name=f"name {number}"))
    opened.close()
    content = bytearray(path.read_bytes())
    middle = content.index(b"name 1000") // 4096 * 4096
    content[middle : middle + 64] = b"\xff" * 64
    path.write_bytes(content)
    damaged = Database.open(path)
    try:
        with pytest.raises(Tampered, match="damaged"):
            damaged.check()
    finally:
        damaged.close()


SECRET = b"the third flower pot"


def _everywhere(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def _tenant(database: Database, name: str) -> None:
    with database.write() as connection:
        connection.execute(tenants.insert().values(id=name[:3], name=name))


def test_what_was_deleted_is_in_no_file_once_the_log_is_folded_in(tmp_path: Path) -> None:
    opened = Database.open(tmp_path / "casemate.sqlite")
    _tenant(opened, SECRET.decode())
    with opened.write() as connection:
        connection.execute(tenants.delete())
    assert SECRET in _everywhere(tmp_path)
    assert opened.fold_in()
    assert SECRET not in _everywhere(tmp_path)
    assert (tmp_path / "casemate.sqlite-wal").stat().st_size == 0
    _tenant(opened, "another")
    with opened.read() as connection:
        assert connection.execute(sa.select(tenants.c.name)).scalar() == "another"
    opened.close()


def test_folding_in_says_so_when_a_reader_is_in_the_way(database: Database) -> None:
    _tenant(database, "first")
    with database.read() as reading:
        reading.execute(sa.select(tenants)).all()
        _tenant(database, "second")
        assert not database.fold_in()
        assert len(reading.execute(sa.select(tenants)).all()) == 1
    assert database.fold_in()


def test_many_threads_may_read_at_a_time(database: Database) -> None:
    together = threading.Barrier(40, timeout=30)
    found: list[int] = []

    def read() -> None:
        with database.read() as connection:
            connection.execute(sa.select(tenants)).all()
            together.wait()
            found.append(1)

    threads = [threading.Thread(target=read) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 40


def test_every_change_of_what_rights_depend_on_is_counted_for_every_process(
    tmp_path: Path,
) -> None:
    path = tmp_path / "casemate.sqlite"
    here, there = Database.open(path), Database.open(path)
    try:
        start = here.rights_changes()
        assert there.rights_changes() == start
        with there.write() as connection:
            connection.execute(tenants.insert().values(id="t1", name="home"))
        assert here.rights_changes() == start  # a tenant alone gives and takes nothing
        with there.write() as connection:
            connection.exec_driver_sql(
                "INSERT INTO principals (id, tenant, name, kind, roles, clearance, pseudonym, "
                "created) VALUES ('u1','t1','Anne','person','user','lu:secret','p1','')"
            )
            assert here.rights_changes() == start  # not yet committed
        counted = [here.rights_changes()]
        for change in (
            "UPDATE principals SET clearance = 'lu:unclassified'",
            "DELETE FROM principals",
        ):
            with there.write() as connection:
                connection.exec_driver_sql(change)
            counted.append(here.rights_changes())
        assert counted == [start + 1, start + 2, start + 3]
    finally:
        here.close()
        there.close()


def test_every_table_that_rights_depend_on_is_watched(database: Database) -> None:
    with database.read() as connection:
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        assert set(names.scalars()) >= {
            f"rights_{table.name}_{act}"
            for table in RIGHTS_TABLES
            for act in ("INSERT", "UPDATE", "DELETE")
        }


def _older(path: Path, revision: str, *statements: str) -> None:
    """A database as an older Casemate left it."""
    from alembic import command
    from alembic.config import Config

    engine = sa.create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", "casemate.store:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_principals_of_an_older_casemate_are_who_they_were(tmp_path: Path) -> None:
    path = tmp_path / "casemate.sqlite"
    _older(
        path,
        "0009",
        "INSERT INTO tenants VALUES ('t1', 'home')",
        "INSERT INTO principals (id, tenant, name, kind, roles, clearance, pseudonym, failures,"
        " locked_until, created) VALUES ('u1', 't1', 'Anne', 'person', 'owner', 'lu:secret', 'p1',"
        " 3, '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z')",
    )
    opened = Database.open(path)
    try:
        with opened.read() as connection:
            (anne,) = connection.execute(sa.select(principals)).all()
        assert (anne.name, anne.clearance, anne.disabled) == ("Anne", "lu:secret", None)
        before = opened.rights_changes()
        with opened.write() as connection:
            connection.execute(principals.update().values(clearance="lu:unclassified"))
        assert opened.rights_changes() == before + 1
    finally:
        opened.close()


def test_use_cases_of_an_older_casemate_become_their_own_first_version(tmp_path: Path) -> None:
    path = tmp_path / "casemate.sqlite"
    _older(
        path,
        "0003",
        "INSERT INTO tenants VALUES ('t1', 'home')",
        "INSERT INTO principals (id, tenant, name, kind, roles, clearance, pseudonym, failures,"
        " created) VALUES ('u1', 't1', 'Anne', 'person', 'owner', 'lu:unclassified', 'p1', 0,"
        " '2026-01-01T00:00:00Z')",
        "INSERT INTO use_cases (id, tenant, owner, purpose, legal_basis, risk, models, ceiling,"
        " oversight, retention_days, state, created) VALUES ('office', 't1', 'u1', 'Help.',"
        " 'Tasks.', 'minimal', '[\"quote\"]', 'lu:unclassified', 'none', 183, 'approved', '')",
    )
    opened = Database.open(path)
    try:
        with opened.read() as connection:
            (version,) = connection.execute(sa.select(use_case_versions)).all()
        assert (version.use_case, version.version, version.state) == ("office", 1, "in force")
        assert '"purpose":"Help."' in version.terms
    finally:
        opened.close()


INSERT = "INSERT INTO tenants (id, name) VALUES (?, ?)"


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(sa.select(tenants.c.name).order_by("name")).scalars())


def test_what_was_deferred_is_seen_by_whoever_reads(database: Database) -> None:
    database.defer(INSERT, [("t-1", "one"), ("t-2", "two")])
    assert names(database) == ["one", "two"]
    assert names(database) == ["one", "two"]


def test_what_was_deferred_comes_before_what_is_written_next(database: Database) -> None:
    database.defer(INSERT, [("t-1", "one")])
    with database.write() as connection:
        connection.execute(sa.update(tenants).values(name="changed"))
        # a read of its own meanwhile sees what is committed, and waits for nobody
        assert names(database) == []
    assert names(database) == ["changed"]


def test_what_was_deferred_is_not_lost_with_a_write_that_fails(database: Database) -> None:
    database.defer(INSERT, [("t-1", "one")])
    with pytest.raises(ZeroDivisionError), database.write():
        1 / 0  # noqa: B018
    assert names(database) == ["one"]


def test_a_disk_that_refuses_what_was_deferred_can_be_read(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.defer(INSERT, [("t-1", "one")])

    def refuses() -> None:
        raise Unavailable("The disk is full.", "Make room.")

    with monkeypatch.context() as full:
        full.setattr(database, "settle", refuses)
        assert names(database) == []
    assert names(database) == ["one"]


def test_nobody_waits_to_read_while_the_database_is_written_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[list[str]] = []
    meanwhile: list[list[list[str]]] = []
    reader = threading.Thread(target=lambda: found.append(names(database)), daemon=True)
    connect = database._engine.raw_connection

    def followed() -> sa.PoolProxiedConnection:
        connection = connect()
        raw: Any = connection.driver_connection
        raw.set_trace_callback(looking)
        return connection

    def looking(statement: str) -> None:
        if statement == "VACUUM" and not reader.ident:
            reader.start()
            reader.join(20)
            meanwhile.append(list(found))

    database.defer(INSERT, [("t-1", "one")])
    monkeypatch.setattr(database._engine, "raw_connection", followed)
    assert database.rewrite()
    assert meanwhile == [[["one"]]]


def test_what_was_deferred_is_written_when_the_database_is_closed(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "one.sqlite")
    database.defer(INSERT, [("t-1", "one")])
    database.close()
    again = Database.open(tmp_path / "one.sqlite")
    assert names(again) == ["one"]
    again.close()
