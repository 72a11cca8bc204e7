"""A log's files in a bucket, safe from two writers by conditional writes alone.

A batch is written whole to an object of its own; then one conditional write on ``lock`` names it,
and from that moment it is what comes next, whoever carries it out: its tiles and its checkpoint
are the same bytes for every writer. So a writer that was thought dead, and wakes, can repeat what
was decided but can decide nothing any more. Needs a store with If-Match and If-None-Match on
writes (RFC 9110, 13.1; Amazon S3 and most that speak its protocol).
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

import msgspec
import obstore
from msgspec.structs import replace
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from casemate.errors import Invalid, Tampered, Unavailable
from casemate.ledger.shelf import CHECKPOINT, RESTORE, SECOND_WRITER, STOP_OTHERS
from casemate.store.bucket import open_bucket

if TYPE_CHECKING:
    from obstore import UpdateVersion
    from obstore.store import ObjectStore

_LOCK, _STAGING = "lock", "staging/"
_AT_ONCE = 8  # objects written at the same time
_NEVER = '"00c0ffee00c0ffee00c0ffee00c0ffee"'  # an ETag that nothing has
_TRIES = 3  # writes of the lock, while another is still arriving
_STALE = timedelta(days=1)


class _Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who writes, and the object that holds the batch that was decided last.

    ``again``: random, where nothing else tells a lock from the one before.
    """

    v: int
    writer: str
    staged: str | None
    again: str = ""


class _Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a commit changes."""

    v: int
    standing: bytes | None
    checkpoint: bytes
    files: dict[str, bytes]


@dataclass(frozen=True)
class _Object:
    content: bytes
    version: UpdateVersion


class _Taken(Exception):
    """A conditional write came too late: somebody else wrote."""


class ObjectShelf:
    """See Shelf."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._writer = secrets.token_hex(16)
        self._lock: _Object | None = None
        self._attempt: str | None = None  # the batch that the lock was last asked to name
        self._writing = ThreadPoolExecutor(_AT_ONCE, "shelf")

    @classmethod
    def at(cls, address: str, endpoint: str, relay: str = "") -> Self:
        """A shelf at ``s3://bucket/prefix`` of the server ``endpoint``, as ``open_bucket``."""
        return cls(open_bucket(address, endpoint, relay))

    def claim(self) -> bytes | None:
        """See Shelf. From here on, a writer before this one can commit no more."""
        for _ in range(_TRIES):
            found = self._get(_LOCK)
            if found is None:
                self._check_empty()
            staged = _lock_in(found).staged if found else None
            wanted = msgspec.json.encode(_Lock(1, self._writer, staged))
            try:
                self._lock = self._swap(_LOCK, wanted, found)
            except _Taken:
                continue
            self._check_conditions(self._lock)
            standing = self._finish(staged)
            self._sweep()
            return standing
        raise Unavailable(
            "Another process writes to this ledger.", "Stop it, or wait until it has stopped."
        )

    def commit(self, files: Mapping[str, bytes], standing: bytes | None, checkpoint: bytes) -> None:
        """See Shelf."""
        staged = f"{_STAGING}{secrets.token_hex(16)}"
        batch = _Batch(1, standing, checkpoint, dict(files))
        self._put(staged, msgspec.msgpack.encode(batch))
        self._attempt = staged
        wanted = msgspec.json.encode(_Lock(1, self._writer, staged))
        try:
            self._lock = self._swap(_LOCK, wanted, self._lock)
        except _Taken:
            self.remove([staged])
            raise Tampered(SECOND_WRITER, STOP_OTHERS) from None
        self._carry_out(batch)
        self.remove([staged])

    def standing_checkpoint(self) -> bytes:
        """See Shelf. Carries out what the failed commit had decided, if it had.

        If it had not, its write of the lock may still be on its way: the lock is replaced, so that
        it comes too late, whenever it comes.
        """
        self._lock = self._settled_lock()
        standing = self._finish(_lock_in(self._lock).staged)
        if standing is None:
            raise Tampered("checkpoint is missing from the ledger.", RESTORE)
        return standing

    def confirm(self, checkpoint: bytes) -> None:
        """See Shelf. A store answers a write once it is durable: nothing is left to do."""
        if self.read(CHECKPOINT) != checkpoint:
            raise Tampered(SECOND_WRITER, STOP_OTHERS)

    def read(self, name: str) -> bytes | None:
        """See Shelf."""
        found = self._get(name)
        return found.content if found else None

    def names(self, below: str = "tile/") -> Iterator[str]:
        """See Shelf."""
        try:
            for page in obstore.list(self._store, prefix=below.rstrip("/")):
                for found in page:
                    yield found["path"]
        except BaseError as error:
            raise _unavailable() from error

    def settle(self) -> None:
        """See Shelf. Nothing: it lies there when it is committed."""

    def remove(self, names: Iterable[str]) -> None:
        """See Shelf."""
        for name in names:
            with contextlib.suppress(BaseError, FileNotFoundError):
                obstore.delete(self._store, name)

    def outgrow(self, full: str) -> None:
        """See Shelf."""
        self.remove(list(self.names(f"{full}.p/")))

    def discard(self, names: Iterable[str]) -> None:
        """See Shelf. Nothing: tiles are written only once their batch is decided."""

    def close(self) -> None:
        """See Shelf."""
        self._writing.shutdown()

    def _settled_lock(self) -> _Object:
        """The lock, after which no write of it by this writer can still arrive."""
        for _ in range(_TRIES):
            found = self._get(_LOCK)
            if found is None or _lock_in(found).writer != self._writer:
                raise Tampered(SECOND_WRITER, STOP_OTHERS)
            lock = _lock_in(found)
            if self._attempt in (None, lock.staged):
                return found
            fence = replace(lock, again=secrets.token_hex(16))
            try:
                settled = self._swap(_LOCK, msgspec.json.encode(fence), found)
            except _Taken:  # it has arrived
                continue
            self.remove([name for name in (self._attempt,) if name])
            self._attempt = None
            return settled
        raise _unavailable()

    def _sweep(self) -> None:
        """Remove batches that were never decided; another writer's may be about to be.

        By the store's own clock: a day before this writer took the lock, no writer of today was
        at work on it.
        """
        with contextlib.suppress(BaseError, FileNotFoundError):
            taken = obstore.head(self._store, _LOCK)["last_modified"]
            stale = [
                found["path"]
                for page in obstore.list(self._store, prefix=_STAGING.rstrip("/"))
                for found in page
                if taken - found["last_modified"] > _STALE
            ]
            self.remove(stale)

    def _finish(self, staged: str | None) -> bytes | None:
        """Carry out the batch that was decided last, if it is not done; the checkpoint."""
        found = self._get(staged) if staged else None
        if staged and found:  # it is removed once it is done, and not before
            self._carry_out(msgspec.msgpack.decode(found.content, type=_Batch))
            self.remove([staged])
        return self.read(CHECKPOINT)

    def _carry_out(self, batch: _Batch) -> None:
        under_way = [self._writing.submit(self._put, *file) for file in batch.files.items()]
        problems = [one.exception() for one in under_way]  # none is under way any more then
        for problem in problems:
            if problem is not None:
                raise problem
        found = self._get(CHECKPOINT)
        if found and found.content == batch.checkpoint:
            return
        if (found.content if found else None) != batch.standing:
            raise Tampered(SECOND_WRITER, STOP_OTHERS)
        try:
            self._swap(CHECKPOINT, batch.checkpoint, found)
        except _Taken:
            raise Tampered(SECOND_WRITER, STOP_OTHERS) from None

    def _check_empty(self) -> None:
        """Raise unless there is nothing here, or a log that was copied here from a folder."""
        if self.read(CHECKPOINT) is not None:
            return
        if next(self.names("tile"), None) is not None:
            raise Tampered("checkpoint is missing from the ledger.", RESTORE)
        if next(self.names(""), None) is not None:
            raise Invalid("The place is not empty and is no ledger.", "Choose an empty prefix.")

    def _check_conditions(self, lock: _Object) -> None:
        """Raise Invalid unless the store refuses writes whose condition does not hold.

        There are stores that take the header and ignore it. What is written here is what the lock
        holds anyway, so that asking is harmless there too.
        """
        for mode in ("create", _version(_NEVER)):
            try:
                obstore.put(self._store, _LOCK, lock.content, mode=mode)
            except (PreconditionError, AlreadyExistsError):
                continue
            except NotImplementedError:
                break
            except BaseError as error:
                raise _unavailable() from error
            break
        else:
            return
        raise _unconditional()

    def _get(self, name: str) -> _Object | None:
        try:
            found = obstore.get(self._store, name)
            return _Object(bytes(found.bytes()), _version(found.meta["e_tag"]))
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise _unavailable() from error

    def _put(self, name: str, content: bytes) -> None:
        try:
            obstore.put(self._store, name, content)
        except BaseError as error:
            raise _unavailable() from error

    def _swap(self, name: str, content: bytes, known: _Object | None) -> _Object:
        """Write an object if it is still the known one, or absent. Raises _Taken if it is not."""
        try:
            done = obstore.put(
                self._store, name, content, mode=known.version if known else "create"
            )
            return _Object(content, _version(done["e_tag"]))
        except (PreconditionError, AlreadyExistsError):
            # The answer to a write that did happen may have been lost, and the write repeated.
            found = self._get(name)
            if found is None or found.content != content:
                raise _Taken from None
            return found
        except NotImplementedError:
            raise _unconditional() from None
        except BaseError as error:
            raise _unavailable() from error


def _version(e_tag: str | None) -> UpdateVersion:
    if e_tag is None:
        raise _unconditional()
    version: UpdateVersion = {"e_tag": e_tag}
    return version


def _unconditional() -> Invalid:
    return Invalid(
        "This object store does not keep conditional writes, without which two writers could fork "
        "the ledger.",
        "Use a store with If-Match and If-None-Match for the ledger, or the data folder.",
    )


def _lock_in(found: _Object) -> _Lock:
    try:
        return msgspec.json.decode(found.content, type=_Lock)
    except msgspec.DecodeError:
        raise Tampered("lock is damaged.", RESTORE) from None


def _unavailable() -> Unavailable:
    return Unavailable(
        "The bucket of the ledger does not answer.",
        "Check the bucket and its credentials and ask again; nothing was lost.",
    )
