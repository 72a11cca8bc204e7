"""Pulling: a folder with the files of one commit of a hub's repository, each checked.

What is on its way lies in ``.pull`` in that folder, named after its digest, so that a later attempt
goes on where one stopped. ``pull.json`` says at the end where everything came from.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

import msgspec

from casemate.errors import Conflict, Invalid, Tampered, TooLarge, Unavailable
from casemate.ledger.receipt import canonical
from casemate.models.hub import Hub, HubFile, Listing, refuse_pickles
from casemate.store.folder import write_durably

RECORD = "pull.json"
_UNDERWAY = ".pull"
_PIECE = 1 << 20
_TOLD = 4 << 20  # bytes after which one is told how far it has come
_SPARE = 64 << 20  # bytes that stay free on the disk


@dataclass(frozen=True)
class Step:
    """How far one file has come, and everything."""

    path: str
    done: int
    total: int  # of all files


@dataclass(frozen=True)
class Pulled:
    """What a folder holds now. ``files``: "sha256:…" by path."""

    repo: str
    commit: str
    files: dict[str, str]
    record: str  # digest of pull.json


async def pull(
    hub: Hub,
    repo: str,
    folder: Path,
    *,
    revision: str,
    include: Sequence[str],
    most_bytes: int,
    now: str,
) -> AsyncGenerator[Step | Pulled, None]:
    """Fetch what ``include`` (globs; none: everything) picks of ``repo`` into ``folder``.

    Yields how far it has come, and last what was pulled. Files that are there and right are kept.
    Raises Refused for pickles and outside the perimeter, Tampered for a wrong checksum, TooLarge
    beyond ``most_bytes``, Conflict if the folder holds something else, and what ``Hub`` raises.
    """
    listing = await hub.listing(repo, revision)
    files = _chosen(listing, include)
    refuse_pickles(files)
    total = sum(file.size for file in files)
    if total > most_bytes:
        raise TooLarge(
            f"These files take {total >> 20} MiB, more than the {most_bytes >> 20} allowed.",
            "Choose fewer with --include, or raise --at-most.",
        )
    source = {"hub": hub.address, "repo": repo, "revision": revision, "commit": listing.commit}
    try:
        await asyncio.to_thread(_make_ready, folder, source, total)
        found: dict[str, dict[str, object]] = {}
        done = told = 0
        for file in files:
            async with aclosing(_one(hub, listing, file, folder)) as steps:
                async for step in steps:
                    if isinstance(step, str):
                        found[file.path] = _entry(file, step)
                    elif step == file.size or abs(done + step - told) >= _TOLD:
                        told = done + step
                        yield Step(file.path, told, total)
            done += file.size
        record = canonical({"v": 1, "time": now, **source, "files": found})
        await asyncio.to_thread(_finish, folder, record)
    except OSError as problem:
        raise Unavailable(
            f"The folder for the files cannot be written: {problem.strerror}.",
            "Free some space or choose another with --out; then the same command goes on.",
        ) from problem
    yield Pulled(
        repo,
        listing.commit,
        {path: str(entry["sha256"]) for path, entry in found.items()},
        "sha256:" + hashlib.sha256(record).hexdigest(),
    )


async def _one(
    hub: Hub, listing: Listing, file: HubFile, folder: Path
) -> AsyncGenerator[int | str, None]:
    """One file: its size as it grows, and last its "sha256:…"."""
    target = folder / file.path
    if await asyncio.to_thread(target.exists):
        kept, digest = await asyncio.to_thread(_digests, target, file)
        if kept != file.digest:
            raise Conflict(
                f"{file.path} is in the folder already, and is another.",
                "Choose another folder with --out.",
            )
        yield file.size
        yield digest
        return
    part = await asyncio.to_thread(_Part, folder / _UNDERWAY, file)
    try:
        async with aclosing(hub.fetch(listing, file, part)) as sizes:
            async for size in sizes:
                yield size
        yield await asyncio.to_thread(part.finish, target)
    finally:
        part.close()


def _digests(place: Path, file: HubFile) -> tuple[str, str]:
    """The digest that a hub gives for files like ``file``, and the SHA-256."""
    both = _Hashes(file)
    with place.open("rb") as content:
        while piece := content.read(_PIECE):
            both.update(piece)
    return both.digests()


class _Hashes:
    """SHA-256, and what git calls a file of that size where the hub says no more."""

    def __init__(self, file: HubFile) -> None:
        self._sha256 = hashlib.sha256()
        self._git = None
        if file.digest.startswith("git-sha1:"):
            # Git's name of a blob; SHA-256 of the same bytes goes into pull.json.
            self._git = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)

    def update(self, piece: bytes) -> None:
        self._sha256.update(piece)
        if self._git is not None:
            self._git.update(piece)

    def digests(self) -> tuple[str, str]:
        own = f"sha256:{self._sha256.hexdigest()}"
        return own if self._git is None else f"git-sha1:{self._git.hexdigest()}", own


class _Part:
    """A file on its way."""

    def __init__(self, folder: Path, file: HubFile) -> None:
        self._file = file
        self._place = folder / file.digest.replace(":", "-")
        self._mark = self._place.with_suffix(".etag")
        self._hashes = _Hashes(file)
        self.size = 0
        self.etag = ""
        self._content: BinaryIO = self._place.open("a+b")
        with suppress(OSError):
            self.etag = self._mark.read_text(encoding="ascii")
        self._content.seek(0)
        while piece := self._content.read(_PIECE):
            self._hashes.update(piece)
            self.size += len(piece)
        if self.size > file.size:
            self.restart("")

    def restart(self, etag: str) -> None:
        """See Arriving."""
        self._content.truncate(0)
        self._hashes, self.size, self.etag = _Hashes(self._file), 0, etag
        self._mark.write_text(etag, encoding="ascii")

    def add(self, piece: bytes) -> None:
        """See Arriving."""
        self._content.write(piece)
        self._hashes.update(piece)
        self.size += len(piece)

    def finish(self, target: Path) -> str:
        """Move it to its place if it is what the hub listed; its SHA-256. Raises Tampered."""
        listed, own = self._hashes.digests()
        if listed != self._file.digest:
            self.close()
            self._place.unlink(missing_ok=True)
            raise Tampered(
                f"{self._file.path} is not what the hub's own list of files says.",
                "Pull again; if it stays so, tell whoever runs the hub or the mirror.",
            )
        self._content.flush()
        os.fsync(self._content.fileno())
        target.parent.mkdir(parents=True, exist_ok=True)
        self._place.rename(target)
        _sync(target.parent)
        return own

    def close(self) -> None:
        """Keep what there is for the next attempt."""
        self._content.close()


def _chosen(listing: Listing, include: Sequence[str]) -> tuple[HubFile, ...]:
    if not include:
        chosen = listing.files
    else:
        for glob in include:
            if not any(fnmatchcase(file.path, glob) for file in listing.files):
                raise Invalid(
                    f"No file of {listing.repo} fits {glob[:100]!r}.",
                    "Files there: " + ", ".join(file.path for file in listing.files[:12]) + ".",
                )
        chosen = tuple(
            file for file in listing.files if any(fnmatchcase(file.path, glob) for glob in include)
        )
    if not chosen:
        raise Invalid(f"{listing.repo} holds no files.", "Check the name and the revision.")
    for file in chosen:
        if file.path == RECORD:
            raise Invalid(f"The repository holds a {RECORD} of its own.", "Leave it out.")
    return chosen


def _make_ready(folder: Path, source: dict[str, str], total: int) -> None:
    """See that ``folder`` is new or belongs to the same pull. Raises Conflict, Unavailable."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise Conflict("There is something else where the folder should be.", "Choose another.")
    folder.mkdir(parents=True, exist_ok=True)
    underway = folder / _UNDERWAY
    ours = underway.is_dir() or (folder / RECORD).is_file()
    if any(folder.iterdir()) and not ours:
        raise Conflict("The folder holds other files.", "Choose another with --out.")
    mark = underway / "source.json"
    for place in (mark, folder / RECORD):
        if place.is_file() and not _same_source(place, source):
            raise Conflict(
                "The folder holds another repository or another commit.",
                "Choose another with --out, or name that commit with --revision.",
            )
    underway.mkdir(exist_ok=True)
    write_durably(mark, canonical(source))
    there = sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
    if shutil.disk_usage(folder).free < total - there + _SPARE:
        raise Unavailable(
            f"The disk has no room for {max(total - there, 0) >> 20} MiB more.",
            "Free some space, or choose another disk with --out.",
        )


def _same_source(place: Path, source: dict[str, str]) -> bool:
    try:
        known = msgspec.json.decode(place.read_bytes(), type=dict[str, object])
    except msgspec.DecodeError:
        return False
    return all(known.get(name) == source[name] for name in ("repo", "commit"))


def _entry(file: HubFile, digest: str) -> dict[str, object]:
    by = re.sub(r":.*", "", file.digest)
    return {"size": file.size, "sha256": digest, "checked": by}


def _finish(folder: Path, record: bytes) -> None:
    write_durably(folder / RECORD, record, mode=0o644)
    shutil.rmtree(folder / _UNDERWAY, ignore_errors=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
