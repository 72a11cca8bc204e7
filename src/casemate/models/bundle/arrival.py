"""Arrival: a bundle is read once into quarantine, and only what is whole and vouched for stays.

Quarantine gives every member a number for a name: what a bundle calls its members reaches no disk
before it was checked. Whatever goes wrong, nothing is left.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from casemate.errors import Unavailable
from casemate.models.bundle.manifest import BundleManifest, Content
from casemate.models.bundle.reading import Reader, Seal
from casemate.models.bundle.writing import Step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from casemate.gate.caller import Caller

FOLDER = "quarantine"
_SPARE = 64 << 20  # bytes that stay free on the disk


@dataclass(frozen=True)
class Member:
    """A member of a bundle, and the file in quarantine that holds it."""

    content: Content
    place: Path
    origin: str  # whose bundle it came in


@dataclass(frozen=True)
class Outcome:
    """What became of something: proposed, unchanged, added, replaced, placed or unread."""

    kind: str
    name: str
    outcome: str
    what: str | None = None  # why, where it could not be read
    next: str | None = None


# Takes the members of one kind in, as ``Caller``. Run again, it must do no harm.
Promote = Callable[["Caller", Sequence[Member]], "Iterable[Outcome]"]


@contextmanager
def quarantine(data: Path) -> Iterator[Path]:
    """A new empty folder for what is not trusted yet; gone at the end with all in it."""
    folder = data / FOLDER / os.urandom(8).hex()
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()


def recover(data: Path) -> None:
    """Delete what an interrupted arrival left behind (at start)."""
    shutil.rmtree(data / FOLDER, ignore_errors=True)


def check_room(folder: Path, manifest: BundleManifest) -> None:
    """Raise Unavailable if the disk cannot hold the members, and what they become."""
    size = sum(content.size for content in manifest.contents)
    # Documents are copied into the library; everything else is moved.
    copied = sum(content.size for content in manifest.contents if content.kind == "document")
    if shutil.disk_usage(folder).free < size + 2 * copied + _SPARE:
        raise Unavailable(
            f"The disk that holds the data folder has no room for {size >> 20} MiB more.",
            "Free some space and try again.",
        )


def members(
    reader: Reader, manifest: BundleManifest, folder: Path
) -> Iterator[Step | list[Member]]:
    """Read every member into ``folder``; how far it has come, and last all of them.

    Raises Tampered, and OSError from writing.
    """
    found, done = [], 0
    total = sum(content.size for content in manifest.contents)
    for number, content in enumerate(manifest.contents, 1):
        place = folder / f"{number:06d}"
        with _create(place) as file:
            for piece in reader.member(content):
                file.write(piece)
                done += len(piece)
                yield Step(done, total)
            file.flush()
            if content.kind != "document":
                os.fsync(file.fileno())  # it is moved to its place, not copied
        found.append(Member(content, place, manifest.origin))
    reader.end()
    yield found


def keep(folder: Path, seal: Seal, custody: bytes, placed: Sequence[Member]) -> None:
    """Fill ``folder`` with what a person looks at: the papers of a bundle, and its proposals."""
    papers = {"manifest.json": seal.raw, "custody.json": custody}
    for number, signature in enumerate(seal.signatures, 1):
        papers[f"manifest.sig.{number}"] = signature.canonical()
    folder.mkdir(mode=0o700)
    for name, content in papers.items():
        with _create(folder / name) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    for member in placed:
        target = folder / member.content.path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        member.place.rename(target)
    for path in (*folder.rglob("*"), folder):
        if path.is_dir():
            sync(path)


def sync(folder: Path) -> None:
    """Make renames in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create(place: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(place, flags, 0o400), "wb")
