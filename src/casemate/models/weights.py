"""Weights: where the files of models lie, and whether they are still those that were approved.

``models/<digest of the manifest>/`` holds the files of one model, read-only; ``models/incoming/``
what is being copied. A file whose inode, size and times are those of its last full check is taken
as unchanged for a day; after that, or when anything differs, it is read again from end to end.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from casemate.errors import Conflict, Invalid, NotFound, Tampered, Unavailable
from casemate.gate.acts import stamp

if TYPE_CHECKING:
    from casemate.models.manifest import Manifest

_PIECE = 4 << 20  # bytes read at a time
_GOOD_FOR = timedelta(hours=24)
_INCOMING = "incoming"
_MOST_FILES = 4096
_AGAIN = "Withdraw the model and import it again under another name."
_ODD = "Put the files themselves into a folder of their own."

Stamp = tuple[int, int, int, int]  # inode, size, mtime and ctime in nanoseconds


class Checked(msgspec.Struct, frozen=True):
    """When the files of a model were read from end to end, and what they looked like then."""

    time: str
    stamps: dict[str, Stamp]


def survey(folder: Path) -> dict[str, int]:
    """Every file below ``folder``, with its size.

    Raises NotFound if there is no such folder, Invalid for a link or anything that is not a
    regular file, and for more files than a model has.
    """
    if not folder.is_dir():
        raise NotFound("There is no such folder of a model.", "Check the spelling.")
    found: dict[str, int] = {}
    try:
        for parent, folders, files in os.walk(folder, onerror=_raise):
            for name in (*folders, *files):
                place = Path(parent, name)
                path = place.relative_to(folder).as_posix()
                status = place.lstat()
                if stat.S_ISLNK(status.st_mode):
                    raise Invalid(f"{_shown(path)} is a symbolic link.", _ODD)
                if stat.S_ISREG(status.st_mode):
                    found[path] = status.st_size
                elif not stat.S_ISDIR(status.st_mode):
                    raise Invalid(f"{_shown(path)} is not a regular file.", _ODD)
            if len(found) > _MOST_FILES:
                raise Invalid(f"The folder holds more than {_MOST_FILES} files.", _ODD)
    except OSError as problem:
        raise unreadable(problem) from problem
    return dict(sorted(found.items()))


def read(place: Path, path: str) -> Iterator[bytes]:
    """The pieces of a regular file, never through a link. Raises Invalid or NotFound."""
    # What became a pipe since must not keep us waiting for somebody to write.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(place, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Invalid(f"{_shown(path)} is not a regular file.", _ODD)
            while piece := file.read(_PIECE):
                yield piece
    except OSError as problem:
        raise unreadable(problem) from problem


def copy(source: Path, target: Path, path: str) -> Iterator[int | str]:
    """Copy one file, reading it once: the size of each piece, and last its "sha256:…".

    The copy is durable when the digest is given. Raises like ``read``, and OSError from writing.
    """
    hasher = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(target, flags, 0o400), "wb") as file:
        for piece in read(source, path):
            hasher.update(piece)
            file.write(piece)
            yield len(piece)
        file.flush()
        os.fsync(file.fileno())
    yield f"sha256:{hasher.hexdigest()}"


def digests(folder: Path, paths: Mapping[str, int]) -> Iterator[int | dict[str, str]]:
    """Digest files in place: the size of each piece, and last "sha256:…" of every path."""
    found = {}
    for path in paths:
        hasher = hashlib.sha256()
        for piece in read(folder / path, path):
            hasher.update(piece)
            yield len(piece)
        found[path] = f"sha256:{hasher.hexdigest()}"
    yield found


class Shelf:
    """The folder of all models' files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def quarantine(self, room: int) -> Iterator[Path]:
        """A new empty folder for what is not trusted yet; gone at the end, unless it was put.

        Raises Unavailable if the disk has less than ``room`` bytes left.
        """
        incoming = self._folder / _INCOMING
        incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
        if shutil.disk_usage(incoming).free < room:
            raise Unavailable(
                f"The disk that holds the data folder has no room for {room >> 20} MiB more.",
                "Free some space and try again.",
            )
        folder = incoming / os.urandom(8).hex()
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def put(self, quarantined: Path, digest: str) -> Path:
        """Move a folder to its place, durably. Raises Conflict if something lies there."""
        place = self.place(digest)
        for folder in {path.parent for path in quarantined.rglob("*")} | {quarantined}:
            _sync(folder)
        try:
            quarantined.rename(place)
        except OSError:
            if not place.exists():
                raise
            raise Conflict("These files are here already.", "`casemate model list`.") from None
        _sync(self._folder)  # a rename is not durable without it
        return place

    def place(self, digest: str) -> Path:
        """Where the files of the model with this manifest lie."""
        return self._folder / digest.removeprefix("sha256:")

    def remove(self, digest: str) -> None:
        """Delete the files of a model."""
        shutil.rmtree(self.place(digest), ignore_errors=True)

    def sweep(self, kept: set[str]) -> None:
        """Delete what an interrupted import left: everything but the models of these digests."""
        names = {digest.removeprefix("sha256:") for digest in kept}
        for one in self._folder.iterdir() if self._folder.is_dir() else ():
            if one.name not in names:
                shutil.rmtree(one, ignore_errors=True)

    def check(
        self, manifest: Manifest, before: Checked | None, now: datetime, *, fully: bool = False
    ) -> Checked:
        """Compare the files with their manifest. ``before`` may spare reading them again.

        The same object comes back if nothing had to be read. Raises Tampered.
        """
        place = self.place(manifest.digest())
        try:
            present = set(survey(place))
            for path in sorted(present ^ set(manifest.files)):
                what = "is not in its manifest" if path in present else "is missing"
                raise Tampered(f"File {path} of model {manifest.name} {what}.", _AGAIN)
            stamps = {path: _stamp(place / path) for path in manifest.files}
            if before is not None and not fully and _fresh(before, stamps, now):
                return before
            for path, digest in manifest.files.items():
                hasher = hashlib.sha256()
                for piece in read(place / path, path):
                    hasher.update(piece)
                if f"sha256:{hasher.hexdigest()}" != digest or _stamp(place / path) != stamps[path]:
                    raise Tampered(
                        f"File {path} of model {manifest.name} is not the one that was approved.",
                        _AGAIN,
                    )
        except (Invalid, NotFound, OSError) as problem:
            raise Tampered(
                f"The files of model {manifest.name} are not as they were put.", _AGAIN
            ) from problem
        return Checked(stamp(now), stamps)


def unreadable(problem: OSError) -> NotFound:
    """What an operating-system error on somebody's own files means to them."""
    return NotFound(
        f"The files of the model cannot be read: {problem.strerror}.",
        "Check that they are there and yours.",
    )


def _fresh(before: Checked, stamps: dict[str, Stamp], now: datetime) -> bool:
    age = now - datetime.fromisoformat(before.time)
    return before.stamps == stamps and timedelta(0) <= age < _GOOD_FOR


def _stamp(place: Path) -> Stamp:
    status = place.lstat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _shown(path: str) -> str:
    return path[:200].encode("utf-8", "replace").decode()


def _raise(problem: OSError) -> None:
    raise problem
