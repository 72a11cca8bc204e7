"""The journal before a log's files: one write makes a batch durable, its files follow."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_builders import a_signer, entries, files, fill

from casemate.errors import Tampered, Unavailable
from casemate.ledger import journal, journal_shelf
from casemate.ledger.journal import Journal, Piece, Record
from casemate.ledger.journal_shelf import PATIENCE, JournalShelf
from casemate.ledger.log import Log

SIGNER = a_signer()
NAMES = ("journal-0", "journal-1")


@pytest.fixture(autouse=True)
def at_leisure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is put in its place before somebody asks for it, or a journal is half full."""
    monkeypatch.setattr(journal_shelf, "_SETTLE_SECONDS", 3600)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def log(folder: Path) -> Iterator[Log]:
    with Log.open(folder, SIGNER) as log:
        for _ in range(PATIENCE):
            fill(log, 1)
        yield log


def crashed(folder: Path) -> Path:
    """The folder as a crash would leave it now."""

    def copy(source: str, target: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # gone meanwhile
            shutil.copyfile(source, target)

    target = folder.with_name(f"crashed-{os.urandom(4).hex()}")
    return Path(shutil.copytree(folder, target, copy_function=copy))


def begun(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in NAMES if (folder / name).exists()}


def record(number: int, *, size: int | None = None) -> Record:
    piece = Piece(f"tile/0/000.p/{number}", "", 0, b"x" * number)
    return Record(bytes([number]) * 32, (piece,), b"origin\n%d\nroot\n" % (size or number))


# A journal by itself


def test_a_journal_gives_back_what_was_appended(tmp_path: Path) -> None:
    records = [record(number) for number in range(1, 9)]
    written = Journal(tmp_path / "journal")
    for one in records:
        written.append(one.encode())
    written.close()
    assert list(journal.read(tmp_path / "journal")) == records
    assert list(journal.read(tmp_path / "none")) == []


def test_a_journal_is_written_over_and_never_grows(tmp_path: Path) -> None:
    written = Journal(tmp_path / "journal")
    for use in range(3):
        written.restart()
        for number in range(1, 5):
            written.append(record(number, size=use * 10 + number).encode())
    assert (tmp_path / "journal").stat().st_size == journal.ROOM
    assert [one.size for one in journal.read(tmp_path / "journal")] == [21, 22, 23, 24]
    written.restart()
    written.append(record(200).encode())
    assert next(journal.read(tmp_path / "journal")).size == 200


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.binary(max_size=300), max_size=5),
    st.integers(0, 2000),
    st.binary(max_size=40),
)
def test_whatever_a_crash_leaves_of_the_last_record_it_gives_those_before(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], cut: int, noise: bytes
) -> None:
    path = tmp_path_factory.mktemp("j") / "journal"
    records = [
        Record(bytes(32), (Piece("a", "", 0, content),), b"o\n%d\n" % number)
        for number, content in enumerate(contents)
    ]
    encoded = [one.encode() for one in records]
    last = record(77).encode()
    kept = last[: min(cut, len(last) - 1)]
    path.write_bytes(b"".join(encoded) + kept + (noise if not kept else b""))
    assert list(journal.read(path)) == records


@given(st.binary(max_size=400))
def test_a_file_of_anything_is_no_record(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("j") / "journal"
    path.write_bytes(b"cmj1" + content)
    assert list(journal.read(path)) == []


# Before a log


def test_a_command_with_an_entry_or_two_makes_no_journal(folder: Path) -> None:
    with Log.open(folder, SIGNER) as log:
        fill(log, 2)
        assert begun(folder) == {}


def test_a_batch_is_released_by_the_journal_and_put_in_its_place_later(
    log: Log, folder: Path
) -> None:
    before = files(folder)
    fill(log, 30)
    assert files(folder) == before
    assert set(begun(folder)) == set(NAMES)
    log._shelf.settle()
    after = files(folder)
    assert after["checkpoint"] == log.checkpoint()
    assert after["tile/entries/000.p/38"].endswith(entries(38)[-1])


def test_what_is_not_yet_in_its_place_is_served_all_the_same(log: Log) -> None:
    fill(log, 600)
    assert [entry for _, entry in log.entries()] == entries(608)
    assert len(log.resource("tile/0/000") or b"") == 8192
    assert (
        log.resource("tile/0/002.p/96")
        == log.resource("tile/0/002.p/90")
        + b"".join(  # type: ignore[operator]
            log._state.edge.levels[0][90:96]
        )
    )
    assert log.resource("tile/entries/002.p/1") is not None
    assert log.resource("tile/0/002.p/97") is None
    assert "tile/0/001" in set(log._shelf.names())
    assert log.check() == 608


@pytest.mark.parametrize("count", [1, 40, 247, 248, 249, 700])
def test_after_a_crash_the_start_puts_in_place_what_the_journal_holds(
    log: Log, folder: Path, count: int
) -> None:
    fill(log, count)
    left = crashed(folder)
    assert files(left)["checkpoint"] != log.checkpoint()
    with Log.open(left, SIGNER) as again:
        assert again.checkpoint() == log.checkpoint()
        assert files(left)["checkpoint"] == log.checkpoint()
        assert [entry for _, entry in again.entries()] == entries(8 + count)
        assert again.check() == 8 + count
        fill(again, 20)
        assert again.check() == 28 + count


def test_a_crash_while_files_are_put_in_place_loses_nothing(
    log: Log, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log, 300)
    left: list[Path] = []
    for call in ("replace", "fsync"):
        real = getattr(os, call)

        def copying(*arguments: Any, real: Any = real, **named: Any) -> Any:
            left.append(crashed(folder))
            return real(*arguments, **named)

        monkeypatch.setattr(os, call, copying)
    log._shelf.settle()
    fill(log, 5)
    log._shelf.settle()
    monkeypatch.undo()
    assert len(left) > 10
    for one in left:
        with Log.open(one, SIGNER) as again:
            assert again.size >= 308
            assert again.check() == again.size
            assert [entry for _, entry in again.entries()] == entries(again.size)


def test_a_batch_that_the_journal_has_no_room_for_goes_straight_to_its_place(
    log: Log, folder: Path
) -> None:
    large = [os.urandom(60_000) for _ in range(60)]  # 3.6 MB
    first = log.append_together(large).result()
    assert files(folder)["checkpoint"] == log.checkpoint()
    assert [entry for _, entry in log.entries(first)] == large
    fill_one = log.append(b"after").result()
    with Log.open(crashed(folder), SIGNER) as again:
        assert again.entry(fill_one) == b"after"
        assert again.check() == log.size


def test_a_journal_that_is_full_is_used_again(log: Log, folder: Path) -> None:
    large = [os.urandom(50_000) for _ in range(120)]  # 6 MB, in two journals of 2
    for entry in large:
        log.append(entry).result()
    assert all(len(content) == journal.ROOM for content in begun(folder).values())
    with Log.open(crashed(folder), SIGNER) as again:
        assert [entry for _, entry in again.entries(8)] == large
        assert again.check() == log.size


def test_closed_in_order_nothing_is_left_of_the_journals(folder: Path) -> None:
    with Log.open(folder, SIGNER) as log:
        for _ in range(PATIENCE + 3):
            fill(log, 1)
        assert begun(folder)
    assert begun(folder) == {}
    assert files(folder)["checkpoint"] == log.checkpoint()


def test_outgrown_partial_tiles_go_when_the_full_one_is_in_its_place(
    log: Log, folder: Path
) -> None:
    fill(log, 100)
    log._shelf.settle()
    fill(log, 200)
    log._tidying.submit(int).result()
    assert any("tile/0/000.p/" in name for name in files(folder))
    with Log.open(crashed(folder), SIGNER) as again:  # which needs them
        assert again.check() == 308
    log._shelf.settle()
    assert not any("000.p/" in name for name in files(folder) if "/1/" not in name)


# When something is wrong


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_a_journal_that_the_disk_refuses_is_given_up_and_nothing_is_lost(
    log: Log, folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    fill(log, 10)

    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as failure:
        failure.setattr(os, call, refuse)
        with pytest.raises(Unavailable):
            log.append(b"refused").result()
    assert log.size == 18
    fill(log, 3)
    assert begun(folder) == {}  # for a while, straight to its place
    assert [entry for _, entry in log.entries()] == entries(21)
    assert log.check() == 21
    for _ in range(PATIENCE):
        fill(log, 1)
    assert set(begun(folder)) == set(NAMES)


def test_a_batch_in_doubt_is_out_of_the_journal_before_another_is_recorded(
    log: Log, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sync failed, and it may be durable all the same."""
    fill(log, 4)

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as failure:
        failure.setattr(os, "fdatasync", refuse)
        failure.setattr(os, "fsync", refuse)  # nor can it be found out yet
        with pytest.raises(Unavailable):
            log.append_together([b"in doubt"] * 5).result()
        with pytest.raises(Unavailable):
            log.append(b"not before that is decided").result()
        assert log.size == 12
        in_doubt = crashed(folder)
    with Log.open(in_doubt, SIGNER) as again:
        assert again.size == 17  # nobody was told, and it stands
        assert again.check() == 17
    fill(log, 1)
    with Log.open(crashed(folder), SIGNER) as again:
        assert again.checkpoint() == log.checkpoint()
        assert again.check() == 13


def test_files_that_cannot_be_put_in_place_now_are_later(
    log: Log, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log, 10)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as failure:
        failure.setattr(os, "replace", full)
        with pytest.raises(Unavailable, match="no room"):
            log._shelf.settle()
        fill(log, 10)  # there is room in the journal
        left = crashed(folder)
    assert log.check() == 28
    with Log.open(left, SIGNER) as again:
        assert again.check() == 28


def test_when_nothing_can_be_put_in_place_and_the_journals_are_full_it_is_said(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    fill(log, 1)
    released = log.size
    with monkeypatch.context() as failure:
        failure.setattr(os, "replace", full)
        while (refused := log.append(bytes(60_000)).exception()) is None:
            released += 1
        assert isinstance(refused, Unavailable)
        assert "no room" in refused.what
        assert log.size == released > 50
    assert log.append(b"room again").result() == released
    assert log.check() == released + 1


def test_a_second_writer_is_noticed_before_the_history_forks(log: Log, folder: Path) -> None:
    fill(log, 3)
    with Log.open(folder, SIGNER) as second:  # which takes the journals over
        assert second.size == 11
        with pytest.raises(Tampered, match="somebody else"):
            log.append(b"fork").result()
        fill(second, 1)
        assert second.check() == 12


def test_a_checkpoint_that_somebody_else_put_there_stops_the_log(log: Log, folder: Path) -> None:
    fill(log, 3)
    (folder / "checkpoint").write_bytes((folder / "checkpoint").read_bytes() + b"\n")
    with pytest.raises(Tampered, match="somebody else"):
        log.append(b"x").result()


def test_a_damaged_record_before_others_is_no_end_of_the_journal(log: Log, folder: Path) -> None:
    fill(log, 1)
    fill(log, 1)
    left = crashed(folder)
    for name in NAMES:
        content = bytearray((left / name).read_bytes())
        if content.startswith(b"cmj1"):
            content[100] ^= 1
            (left / name).write_bytes(content)
    with pytest.raises(Tampered, match="lacks a batch"):
        Log.open(left, SIGNER)


def test_a_journal_without_its_log_is_not_taken_for_an_empty_one(log: Log, folder: Path) -> None:
    fill(log, 1)
    left = crashed(folder)
    (left / "checkpoint").unlink()
    shutil.rmtree(left / "tile")
    with pytest.raises(Tampered, match="checkpoint is missing"):
        Log.open(left, SIGNER)


def test_a_journal_older_than_the_checkpoint_changes_nothing(log: Log, folder: Path) -> None:
    fill(log, 5)
    old = begun(folder)
    log._shelf.settle()
    fill(log, 5)
    log._shelf.settle()
    left = crashed(folder)
    for name, content in old.items():
        (left / name).write_bytes(content)
    with Log.open(left, SIGNER) as again:
        assert again.checkpoint() == log.checkpoint()


def test_without_patience_the_first_batch_is_in_the_journal(folder: Path) -> None:
    shelf = JournalShelf(folder, patience=0)
    with Log.open(shelf, SIGNER) as log:
        fill(log, 1)
        with Log.open(crashed(folder), SIGNER) as again:
            assert again.size == 1
