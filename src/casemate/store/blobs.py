"""Blobs: content by its digest, in a folder or an S3 bucket.

A blob's name is the SHA-256 of its bytes, so writing it twice is harmless and reading it back
can be checked.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, Self

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from casemate.errors import Invalid, NotFound, Tampered, Unavailable
from casemate.store.bucket import open_bucket
from casemate.store.folder import disk_problem

_AT_ONCE = 8  # blobs written at the same time


class Blobs(Protocol):
    """Where bytes lie that are too large for the database."""

    def put(self, content: bytes) -> str:
        """Keep ``content`` durably; its digest ("sha256:…") is its name."""

    def put_all(self, contents: Iterable[bytes]) -> list[str]:
        """Keep many, faster than one by one; durable when it returns."""

    def get(self, digest: str) -> bytes:
        """The bytes named ``digest``. Raises NotFound, or Tampered if they do not match it."""

    def delete(self, digest: str) -> None:
        """Remove the bytes; no error if they are gone already."""


def digest_of(content: bytes) -> str:
    """The name of ``content``: "sha256:" and 64 lower-case hex digits."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


class FolderBlobs:
    """Blobs in a local folder."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as problem:
            raise disk_problem(problem) from problem
        self._folder = folder
        self._store = LocalStore(str(folder))

    def put(self, content: bytes) -> str:
        """See Blobs. Durable when it returns: the file and its folder are synced."""
        digest = digest_of(content)
        path = self._folder / _path(digest)
        if path.is_file() and path.stat().st_size == len(content):
            return digest
        try:
            _check_room(self._folder, len(content))
            obstore.put(self._store, _path(digest), content)
            for place in (path, path.parent, self._folder):
                descriptor = os.open(place, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as problem:
            raise disk_problem(problem) from problem
        except BaseError as problem:
            raise _unavailable() from problem
        return digest

    def put_all(self, contents: Iterable[bytes]) -> list[str]:
        """See Blobs. Syncs at the same time share the disk's work."""
        with ThreadPoolExecutor(_AT_ONCE) as workers:
            return list(workers.map(self.put, contents))

    def get(self, digest: str) -> bytes:
        """See Blobs."""
        return _get(self._store, digest)

    def delete(self, digest: str) -> None:
        """See Blobs. Takes along what a ``put`` that was killed left beside it."""
        path = self._folder / _path(digest)
        path.unlink(missing_ok=True)
        for unfinished in path.parent.glob(f"{path.name}#*"):  # as the object store names them
            unfinished.unlink(missing_ok=True)


class S3Blobs:
    """Blobs in an S3-compatible bucket.

    ``allowed`` is asked before each request and raises if the bucket may not be used (any more).
    """

    def __init__(self, store: S3Store, allowed: Callable[[], object] = lambda: None) -> None:
        self._store = store
        self._allowed = allowed

    @classmethod
    def at(
        cls,
        address: str,
        endpoint: str,
        allowed: Callable[[], object],
        environment: MutableMapping[str, str] = os.environ,
    ) -> Self:
        """Open ``s3://bucket/prefix`` at the server ``endpoint``. Raises as ``open_bucket``."""
        return cls(open_bucket(address, endpoint, environment), allowed)

    def put(self, content: bytes) -> str:
        """See Blobs."""
        self._allowed()
        digest = digest_of(content)
        try:
            obstore.put(self._store, _path(digest), content)
        except BaseError as problem:
            raise _unavailable() from problem
        return digest

    def put_all(self, contents: Iterable[bytes]) -> list[str]:
        """See Blobs."""
        with ThreadPoolExecutor(_AT_ONCE) as workers:
            return list(workers.map(self.put, contents))

    def get(self, digest: str) -> bytes:
        """See Blobs."""
        self._allowed()
        return _get(self._store, digest)

    def delete(self, digest: str) -> None:
        """See Blobs."""
        self._allowed()
        try:
            obstore.delete(self._store, _path(digest))
        except FileNotFoundError:
            return
        except BaseError as problem:
            raise _unavailable() from problem


def _path(digest: str) -> str:
    kind, _, hexadecimal = digest.partition(":")
    if (
        kind != "sha256"
        or len(hexadecimal) != 64
        or not set(hexadecimal) <= set("0123456789abcdef")
    ):
        raise Invalid("That is not a digest.", "It reads sha256: and 64 hex digits.")
    return f"{hexadecimal[:2]}/{hexadecimal}"


def _get(store: LocalStore | S3Store, digest: str) -> bytes:
    try:
        content = bytes(obstore.get(store, _path(digest)).bytes())
    except FileNotFoundError:
        raise NotFound("The stored original is gone.", "Add the document again.") from None
    except BaseError as problem:
        raise _unavailable() from problem
    if digest_of(content) != digest:
        raise Tampered("A stored original was changed.", "Restore it from a backup.")
    return content


def _check_room(folder: Path, size: int) -> None:
    # The object store reports a full disk as a generic error; asking first gives the plain one.
    room = os.statvfs(folder)
    if room.f_bavail * room.f_frsize < size + (1 << 20):
        raise Unavailable(
            "The disk that holds the data folder is full.",
            "Free some space and try again; nothing recorded so far is lost.",
        )


def _unavailable() -> Unavailable:
    return Unavailable(
        "The blob store does not answer.", "Check the disk or bucket; then try again."
    )
