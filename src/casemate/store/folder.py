"""The data folder: one place that holds everything, owned by one process at a time.

The lock is the kernel's (``flock``), so it ends with its process however that ends; nothing
has to be cleaned up after ``kill -9``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from casemate.errors import Conflict, Invalid, Unavailable

_MARK = "casemate.json"
_FORMAT = b'{"casemate":"data folder","v":1}\n'
_BEFORE = frozenset({"settings.toml", "perimeter.toml"})  # an operator may write them first
_OWN = _BEFORE | {
    *("lock", "casemate.sqlite", "casemate.sqlite-wal", "casemate.sqlite-shm"),
    *("casemate.sqlite-journal", "master.key", "master.key.tmp", "ledger.key", "ledger.key.tmp"),
    *("casemate.json.tmp", "ledger", "blobs", "index", "models", "policies"),
    *("bundles.json", "bundles.json.tmp", "quarantine", "incoming"),
    *("perimeter.digest", "perimeter.digest.tmp"),
}


class InUse(Conflict):
    """Another process owns the data folder."""


@dataclass
class DataFolder:
    """An opened and locked data folder. Closing it gives the lock back."""

    path: Path
    fresh: bool
    _lock: int = field(repr=False)

    @classmethod
    def open(cls, path: Path, *, create: bool = True) -> Self:
        """Open ``path``, making it when ``create``.

        Raises Invalid if something else lies there or nothing is there, InUse if another process
        owns it, Unavailable if it cannot be written.
        """
        try:
            # Before anything is written: it may be somebody else's.
            if not _complete(path):
                _check_place(path, create=create)
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = _lock(path)
            try:
                # Only now, because another process may have completed it in the meantime.
                fresh = not _complete(path)
                if fresh:
                    _check_place(path, create=create)
                    _start_over(path)
            except BaseException:
                os.close(lock)
                raise
        except OSError as problem:
            raise disk_problem(problem) from problem
        return cls(path, fresh, lock)

    @property
    def ledger(self) -> Path:
        """The transparency log's tiles."""
        return self.path / "ledger"

    @property
    def blobs(self) -> Path:
        """Documents' originals and texts."""
        return self.path / "blobs"

    @property
    def index(self) -> Path:
        """The full-text index."""
        return self.path / "index"

    @property
    def models(self) -> Path:
        """The files of models: weights, tokenizers."""
        return self.path / "models"

    @property
    def policies(self) -> Path:
        """Cedar policies, one file each, for the operator to read and change."""
        return self.path / "policies"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / "casemate.sqlite"

    @property
    def master_key(self) -> Path:
        """The key that wraps every other key."""
        return self.path / "master.key"

    def finish_creation(self) -> None:
        """Mark the folder as complete; until then the next start treats it as fresh."""
        write_durably(self.path / _MARK, _FORMAT, mode=0o600)

    def close(self) -> None:
        """Give the folder back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def write_durably(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace ``path`` so that after a crash either the old or the new content is there."""
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # rename is not durable without it
    finally:
        os.close(folder)


def disk_problem(problem: OSError) -> Unavailable | Invalid:
    """What an operating-system error on the data folder means to a person."""
    if problem.errno == errno.ENOSPC or problem.errno == errno.EDQUOT:
        return Unavailable(
            "The disk that holds the data folder is full.",
            "Free some space and try again; nothing recorded so far is lost.",
        )
    if problem.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return Unavailable(
            "The data folder cannot be written.",
            "Give this account write access, or choose another with --data.",
        )
    if problem.errno in (errno.ENOTDIR, errno.EEXIST):
        return Invalid("The data folder is not a folder.", "Choose another with --data.")
    return Unavailable(
        f"The data folder does not work: {os.strerror(problem.errno or errno.EIO)}.",
        "Check the disk, then try again.",
    )


def _complete(path: Path) -> bool:
    """Whether a first start was finished here. Raises Invalid if another version's was."""
    if not (path / _MARK).is_file():
        return False
    if (path / _MARK).read_bytes() != _FORMAT:
        raise Invalid(
            "This data folder is of a version that this Casemate does not know.",
            "Use the Casemate that made it, or a newer one.",
        )
    return True


def _check_place(path: Path, *, create: bool) -> None:
    """Raise Invalid unless a data folder may be made here."""
    if not create:
        raise Invalid(
            "There is no Casemate data folder here.",
            "Choose one with --data, or make one with `casemate up` or `casemate add`.",
        )
    if path.exists() and not path.is_dir():
        raise Invalid("The data folder is not a folder.", "Choose another with --data.")
    if path.is_dir() and not _ours({one.name for one in path.iterdir()}) and not _complete(path):
        raise Invalid(
            "This folder holds other files and is not a Casemate data folder.",
            "Choose an empty or a new folder with --data.",
        )


def _ours(names: set[str]) -> bool:
    """Whether a folder without our mark may be made a data folder, which clears it.

    Settings may be written before the first start. A first start that was interrupted leaves its
    lock file and nothing that is not ours; one stranger among the names and all stay untouched.
    """
    return names <= _BEFORE or ("lock" in names and names <= _OWN)


def _start_over(path: Path) -> None:
    """Clear what an interrupted first start left: nothing was ever answered from it."""
    for leftover in path.iterdir():
        if leftover.is_dir():
            shutil.rmtree(leftover)
        elif leftover.name not in _BEFORE | {"lock"}:
            leftover.unlink()


def _lock(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(path / "lock", flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InUse(
            "Another Casemate is using this data folder.",
            "Stop it, or choose another folder with --data.",
        ) from None
    return descriptor
