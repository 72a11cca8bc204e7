"""The journal before a log's files: who may write, what a refused disk leaves, and new keys."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_builders import a_signer, entries, files, fill
from test_journal_shelf import NAMES, begun, crashed

from casemate.errors import Tampered, Unavailable
from casemate.ledger import folder_shelf, journal_shelf
from casemate.ledger.folder_shelf import FolderShelf
from casemate.ledger.journal_shelf import PATIENCE, JournalShelf
from casemate.ledger.log import Log

SIGNER = a_signer()
NEXT = a_signer(seed=2)


@pytest.fixture(autouse=True)
def at_leisure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is put in its place before somebody asks for it, or a journal is half full."""
    monkeypatch.setattr(journal_shelf, "_SETTLE_SECONDS", 3600)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def log(folder: Path) -> Iterator[Log]:
    with a_log(folder) as log:
        fill(log, 1)
        yield log


def a_log(folder: Path) -> Log:
    """A log whose next batch goes into a journal."""
    return Log.open(JournalShelf(folder, patience=0), SIGNER)


# A second writer


@pytest.mark.parametrize("patience", [0, PATIENCE])
def test_a_second_writer_is_noticed_by_a_first_that_has_no_journals_yet(
    folder: Path, patience: int
) -> None:
    with Log.open(folder, SIGNER) as first:
        for _ in range(PATIENCE):
            fill(first, 1)
        with Log.open(JournalShelf(folder, patience), SIGNER) as second:
            fill(second, 1)
            with pytest.raises(Tampered, match="somebody else"):
                first.append(b"fork").result()
            with Log.open(crashed(folder), SIGNER) as again:
                assert again.checkpoint() == second.checkpoint()


def test_who_was_overtaken_closes_without_taking_journals_away(log: Log, folder: Path) -> None:
    log._shelf.settle()
    with a_log(folder) as second:
        fill(second, 3)
        log.close()
        with Log.open(crashed(folder), SIGNER) as again:
            assert again.checkpoint() == second.checkpoint()


def test_closed_a_second_time_it_leaves_the_next_ones_journals_alone(folder: Path) -> None:
    with a_log(folder) as first:
        fill(first, 1)
    with a_log(folder) as second:
        fill(second, 3)
        first.close()
        assert set(begun(folder)) == set(NAMES)
        with Log.open(crashed(folder), SIGNER) as again:
            assert again.checkpoint() == second.checkpoint()


def test_it_can_be_closed_twice_though_nothing_could_be_put_in_its_place(
    log: Log, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as failure:
        failure.setattr(os, "replace", _refuse)
        log.close()
    log.close()
    with Log.open(folder, SIGNER) as again:
        assert again.checkpoint() == log.checkpoint()


# A disk that refuses


def test_nothing_is_recorded_beside_a_journal_in_doubt_that_cannot_be_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold a batch; whatever else was recorded in its place would make two histories."""
    with Log.open(folder, SIGNER) as log:
        for _ in range(PATIENCE + 1):
            fill(log, 1)
        with monkeypatch.context() as failure:
            failure.setattr(os, "fdatasync", _refuse)
            failure.setattr(os, "unlink", _refuse)
            with pytest.raises(Unavailable):
                log.append_together([b"in doubt"] * 5).result()
            with pytest.raises(Unavailable):
                log.append(b"not before that is decided").result()
        fill(log, 1)
        with Log.open(crashed(folder), SIGNER) as again:
            assert again.checkpoint() == log.checkpoint()
            assert again.check() == PATIENCE + 2


def test_a_checkpoint_that_had_to_be_confirmed_is_not_taken_for_a_second_writers(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log, 200)
    syncs: list[Path] = []
    real = folder_shelf.sync_folder

    def fails_after_the_rename(path: Path) -> None:
        syncs.append(path)
        if len(syncs) == 2:  # the first is of what the journal held
            raise OSError(errno.EIO, "Input/output error")
        real(path)

    with monkeypatch.context() as failure:
        failure.setattr(folder_shelf, "sync_folder", fails_after_the_rename)
        too_large = [os.urandom(60_000)] * 40 + [b"small"] * 20  # for a journal
        assert log.append_together(too_large).result() == 201
    assert len(syncs) > 2
    assert log.append(b"the next one").result() == 261
    assert log.check() == 262


def test_what_was_removed_as_never_released_does_not_come_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []

    with Log.open(folder, SIGNER) as log:
        fill(log, 3)
        left = crashed(folder)
    (left / "tile/0/000.p/9").write_bytes(b"x" * 9 * 32)
    (left / "tile/1").mkdir()
    (left / "tile/1/000.p").mkdir()
    (left / "tile/1/000.p/1").write_bytes(b"x" * 32)
    real = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    with Log.open(left, SIGNER) as again:
        assert {left / "tile/0/000.p", left / "tile/1/000.p"} <= set(synced)
        assert not (left / "tile/0/000.p/9").exists()
        assert not (left / "tile/1/000.p").exists()
        assert again.check() == 3


def test_a_journal_that_was_never_given_its_name_goes_with_the_next_start(folder: Path) -> None:
    with Log.open(folder, SIGNER):
        pass
    (folder / ".journal-0.tmp").write_bytes(b"\0" * 100)
    with Log.open(folder, SIGNER):
        assert not (folder / ".journal-0.tmp").exists()


# New keys


def test_a_checkpoint_with_other_signatures_is_put_in_its_place_without_an_entry(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_shelf, "_SETTLE_SECONDS", 0)
    placed = threading.Semaphore(0)
    real = FolderShelf.commit

    def commit(self: FolderShelf, *arguments: Any) -> None:
        real(self, *arguments)
        placed.release()

    monkeypatch.setattr(FolderShelf, "commit", commit)
    with a_log(folder) as log:
        fill(log, 1)
        for _ in ("the empty log", "its first entry"):
            assert placed.acquire(timeout=30)
        log.sign_with(SIGNER, [NEXT])
        assert placed.acquire(timeout=30)
        assert files(folder)["checkpoint"] == log.checkpoint()


@pytest.mark.parametrize("before", [1, 2])
def test_a_key_that_was_added_and_given_up_hides_no_batch_from_the_next_start(
    folder: Path, before: int
) -> None:
    """The checkpoint is the same byte for byte as before, and both journals say what follows it."""
    with a_log(folder) as log:
        for _ in range(before):
            fill(log, 1)
            log._shelf.settle()
        log.sign_with(SIGNER, [NEXT])
        log._shelf.settle()
        log.sign_with(SIGNER)
        fill(log, 1)
        with Log.open(crashed(folder), SIGNER, [NEXT]) as again:
            assert [entry for _, entry in again.entries()] == entries(before + 1)


def _refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, "Input/output error")
