"""A witness: remembers how far it saw each log grow, and signs only what appends to that.

Protocol: C2SP tlog-witness, add-checkpoint (C2SP/C2SP, commit 5ba5ee8). No HTTP here. What is
remembered of a log is the last checkpoint that this witness cosigned, whole: its own cosignature
shows later that the memory is not damaged. It is on disk before a cosignature leaves.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from casemate.errors import (
    CasemateError,
    Conflict,
    Invalid,
    NotFound,
    Refused,
    Tampered,
    TooLarge,
    Unavailable,
)
from casemate.ledger.cosignature import Cosigner, checkpoint_in
from casemate.ledger.merkle import HASH_SIZE, MerkleError, root_hash, verify_consistency
from casemate.ledger.note import Note, NoteError, Verifier, decode_base64, open_note
from casemate.ledger.proof import MAX_HASHES, MAX_SIZE, Checkpoint, CheckpointError
from casemate.store.folder import disk_problem, write_durably

MAX_BODY = 1 << 20  # room for 100 signature lines of the longest kind (post-quantum, 5 kB each)
_MAX_EVIDENCE = 100
_KEY, _LOGS, _EVIDENCE = "witness.key", "logs", "evidence"
_DECIMAL = re.compile(rb"0|[1-9][0-9]{0,18}")
_HASH = re.compile(r"[0-9a-f]{64}")
_RESTORE = (
    "Keep the file as evidence and restore the newest backup; if there is none, this witness "
    "can never cosign that log again."
)


class Malformed(Invalid):
    """The request is not in the format (400)."""


class UnknownLog(NotFound):
    """The witness does not follow the log of this origin (404)."""


class Untrusted(Refused):
    """No signature of a trusted key, or a wrong one (403)."""


class Stale(Conflict):
    """The old size is not the latest cosigned (409); ``size`` is."""

    def __init__(self, size: int) -> None:
        super().__init__(f"The latest checkpoint cosigned here has size {size}.", "Prove from it.")
        self.size = size


class Inconsistent(CasemateError):
    """The checkpoint is not shown to append to the latest one (422)."""

    status = 422


@dataclass(frozen=True)
class Request:
    """A parsed add-checkpoint request; whose signatures it bears is not yet judged."""

    old: int
    proof: tuple[bytes, ...]
    raw: bytes
    note: Note
    checkpoint: Checkpoint

    @classmethod
    def parse(cls, body: bytes) -> Request:
        """Read a request's body. Raises TooLarge above MAX_BODY bytes; Malformed if it is not
        exactly in the format, has more than 63 hashes, or counts backward.

        Source: C2SP tlog-witness, add-checkpoint.
        """
        if len(body) > MAX_BODY:
            raise TooLarge("The request is larger than 1 MiB.", "Send fewer signatures.")
        head, separator, raw = body.partition(b"\n\n")
        first, *lines = head.split(b"\n")
        old = _size(first.removeprefix(b"old ")) if first.startswith(b"old ") else None
        if not separator or old is None:
            raise _malformed("it begins with an old size, hashes, an empty line, a checkpoint")
        if len(lines) > MAX_HASHES:
            raise _malformed(f"a consistency proof has at most {MAX_HASHES} hashes")
        try:
            proof = tuple(decode_base64(line.decode("ascii")) for line in lines)
            note = Note.parse(raw)
            checkpoint = checkpoint_in(note.text)
        except (UnicodeDecodeError, NoteError, CheckpointError) as error:
            raise _malformed(str(error)) from None
        if any(len(value) != HASH_SIZE for value in proof):
            raise _malformed(f"every hash of a proof has {HASH_SIZE} bytes")
        if old > checkpoint.size:
            raise _malformed("the old size is above the size of the checkpoint")
        return cls(old, proof, raw, note, checkpoint)


@dataclass(frozen=True)
class KnownLog:
    """A log that the witness follows: its keys, and the last checkpoint cosigned (or None).

    Without keys it was removed: its requests are refused, but its history is not forgotten.
    """

    origin: str
    keys: tuple[Verifier, ...]
    note: bytes | None = None

    @property
    def latest(self) -> Checkpoint:
        """The latest checkpoint cosigned; that of the empty tree before the first."""
        if self.note is None:
            return Checkpoint(self.origin, 0, root_hash(()))
        return checkpoint_in(Note.parse(self.note).text)


class _LogFile(msgspec.Struct, forbid_unknown_fields=True):
    v: int
    origin: str
    keys: list[str]
    checkpoint: str | None


class _KeyFile(msgspec.Struct, forbid_unknown_fields=True):
    v: int
    name: str
    seed: str


class Witness:
    """A witness in one folder. Every method may be called from any thread and any process.

    clock: POSIX seconds. write: replaces a file durably, or raises OSError.
    """

    def __init__(
        self,
        folder: Path,
        cosigner: Cosigner,
        clock: Callable[[], float],
        write: Callable[[Path, bytes], None] = write_durably,
    ) -> None:
        self._folder = folder
        self._cosigner = cosigner
        self._clock = clock
        self._write = write

    @classmethod
    def create(cls, folder: Path, name: str | None, clock: Callable[[], float]) -> Witness:
        """Open the witness in ``folder``; in an empty or missing folder, make one with a new key.

        Raises Invalid if the folder holds something else, the name is unusable, or the witness
        there has another name; Tampered if its key is damaged; Unavailable if the disk refuses.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # What a first start that was interrupted leaves counts for nothing.
            if {one.name for one in folder.iterdir()} - {"lock", f"{_KEY}.tmp"}:
                witness = cls.open(folder, clock)
            else:
                with _locked(folder / "lock"):
                    if not (folder / _KEY).exists():  # another process may have been faster
                        _new_key(folder, name or f"witness.local/{secrets.token_hex(4)}")
                witness = cls.open(folder, clock)
        except OSError as problem:
            raise disk_problem(problem) from problem
        if name is not None and name != witness.name:
            raise Invalid(
                f"The witness in this folder is named {witness.name}.",
                "Leave the name out, or choose another folder.",
            )
        return witness

    @classmethod
    def open(cls, folder: Path, clock: Callable[[], float]) -> Witness:
        """Open the witness in ``folder``.

        Raises Invalid if there is none; Tampered if its key is damaged; Unavailable if the disk
        refuses.
        """
        try:
            found = msgspec.json.decode((folder / _KEY).read_bytes(), type=_KeyFile)
            cosigner = Cosigner.from_seed(found.name, decode_base64(found.seed))
        except (FileNotFoundError, NotADirectoryError):
            raise Invalid(
                "There is no witness in this folder.",
                "Make one in an empty folder with `casemate witness up --data DIR`.",
            ) from None
        except OSError as problem:
            raise disk_problem(problem) from problem
        except (msgspec.DecodeError, UnicodeDecodeError, NoteError):
            raise Tampered("The key of the witness is damaged.", "Restore a backup.") from None
        return cls(folder, cosigner, clock)

    @property
    def name(self) -> str:
        """The name of the witness's key."""
        return self._cosigner.name

    @property
    def vkey(self) -> str:
        """The key that verifies its cosignatures, as one line of text."""
        return self._cosigner.vkey

    def add_checkpoint(self, body: bytes) -> bytes:
        """Cosign the checkpoint in a request: its signature line, durable before it is returned.

        Raises TooLarge, Malformed, UnknownLog, Untrusted, Stale or Inconsistent, which carry the
        statuses of the protocol; Tampered if what is remembered of the log is damaged;
        Unavailable if the disk refuses. Source: C2SP tlog-witness, add-checkpoint.
        """
        request = Request.parse(body)
        path = self._path(request.checkpoint.origin)
        try:
            if not path.exists():  # asked before locking: strangers create no files here
                raise _unknown()
            # Compared and replaced under one lock; otherwise a slow small checkpoint could
            # follow a fast large one and roll the log back.
            with _locked(path.with_suffix(".lock")):
                return self._cosigned(request, self._read(path), path)
        except OSError as problem:
            raise disk_problem(problem) from problem

    def checkpoint(self, origin_hash: str) -> bytes:
        """The latest checkpoint cosigned of the log whose origin has this SHA-256, in hex.

        Raises UnknownLog if there is none. Source: C2SP tlog-witness, monitor retrieval.
        """
        path = self._folder / _LOGS / f"{origin_hash}.json"
        try:
            note = self._read(path).note if _HASH.fullmatch(origin_hash) else None
        except OSError as problem:
            raise disk_problem(problem) from problem
        if note is None:
            raise _unknown()
        return note

    def add_log(self, keys: tuple[Verifier, ...], origin: str | None = None) -> KnownLog:
        """Follow a log, or replace the keys of one; its origin is its key's name unless given.

        A log followed before goes on where it was. Raises Invalid if the keys have several
        names and no origin is given; Tampered if what is remembered is damaged.
        """
        names = {key.name for key in keys}
        if not keys or (origin is None and len(names) > 1):
            raise Invalid("These keys do not name one log.", "Give the keys of one log.")
        chosen = names.pop() if origin is None else origin
        try:
            Checkpoint(chosen, 0, root_hash(()))
            return self._change(chosen, keys, create=True)
        except CheckpointError as error:
            raise Invalid(f"This is no origin: {error}.", "Correct it.") from None

    def remove_log(self, origin: str) -> None:
        """Follow a log no longer; its history is kept. Raises UnknownLog if it is not known."""
        self._change(origin, (), create=False)

    def logs(self) -> tuple[tuple[KnownLog, ...], tuple[Tampered, ...]]:
        """The logs that are followed, and what is wrong with those whose memory is damaged."""
        known: list[KnownLog] = []
        damaged: list[Tampered] = []
        for path in sorted((self._folder / _LOGS).glob("*.json")):
            try:
                known.append(self._read(path))
            except Tampered as problem:
                damaged.append(problem)
        return tuple(one for one in known if one.keys), tuple(damaged)

    def _cosigned(self, request: Request, log: KnownLog, path: Path) -> bytes:
        if not log.keys:
            raise _unknown()
        try:
            trusted = open_note(request.raw, log.keys)
        except NoteError as error:
            raise Untrusted(f"The checkpoint cannot be trusted: {error}.", "Sign it.") from None
        latest, new = log.latest, request.checkpoint
        if request.old != latest.size:
            raise Stale(latest.size)
        try:
            verify_consistency(request.old, new.size, request.proof, latest.root, new.root)
        except MerkleError as error:
            if new.size == latest.size and new.root != latest.root:
                self._keep_evidence(request, log)
            raise Inconsistent(
                f"The checkpoint does not follow the latest: {error}.", "Prove from it."
            ) from None
        try:
            signature = self._cosigner.cosign(request.note.text, int(self._clock()))
        except NoteError as error:
            raise Unavailable(f"The witness's clock is wrong: {error}.", "Set it.") from None
        note = Note(trusted.text, (*trusted.signatures, signature)).encode()
        self._save(path, KnownLog(log.origin, log.keys, note))
        return signature.encode().encode()

    def _keep_evidence(self, request: Request, log: KnownLog) -> None:
        """Two roots for one size, both signed by the log: nobody else can have made them."""
        folder = self._folder / _EVIDENCE
        folder.mkdir(exist_ok=True, mode=0o700)
        name = hashlib.sha256(request.note.text.encode()).hexdigest()
        if len(list(folder.iterdir())) < _MAX_EVIDENCE:
            self._write(folder / name, (log.note or b"") + b"\n" + request.raw)

    def _change(self, origin: str, keys: tuple[Verifier, ...], *, create: bool) -> KnownLog:
        path = self._path(origin)
        try:
            path.parent.mkdir(exist_ok=True, mode=0o700)
            if not create and not path.exists():
                raise _unknown()
            with _locked(path.with_suffix(".lock")):
                note = self._read(path).note if path.exists() else None
                log = KnownLog(origin, keys, note)
                self._save(path, log)
        except OSError as problem:
            raise disk_problem(problem) from problem
        return log

    def _path(self, origin: str) -> Path:
        return self._folder / _LOGS / f"{hashlib.sha256(origin.encode()).hexdigest()}.json"

    def _save(self, path: Path, log: KnownLog) -> None:
        note = None if log.note is None else log.note.decode()
        file = _LogFile(1, log.origin, [key.vkey for key in log.keys], note)
        self._write(path, msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n")

    def _read(self, path: Path) -> KnownLog:
        """Raises UnknownLog if there is no such file; Tampered if it is not as it was written."""
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            raise _unknown() from None
        try:
            file = msgspec.json.decode(raw, type=_LogFile)
            keys = tuple(Verifier.parse(key) for key in file.keys)
            note = None if file.checkpoint is None else file.checkpoint.encode()
            log = KnownLog(file.origin, keys, note)
            if file.v != 1 or self._path(log.origin) != path or log.latest.origin != log.origin:
                raise NoteError("it is about another log")
            if note is not None:
                self._own(note)
        except (msgspec.DecodeError, UnicodeError, NoteError, CheckpointError) as error:
            raise Tampered(
                f"What this witness remembers in {_LOGS}/{path.name} is damaged: {error}.",
                _RESTORE,
            ) from None
        return log

    def _own(self, raw: bytes) -> None:
        note, own = Note.parse(raw), self._cosigner.verifier
        if (note.signatures[-1].name, note.signatures[-1].id) != (own.name, own.id):
            raise NoteError("the checkpoint was not cosigned with this witness's key")
        own.time_of(note.text, note.signatures[-1])


def _new_key(folder: Path, name: str) -> None:
    try:
        cosigner = Cosigner.generate(name)
    except NoteError as error:
        raise Invalid(f"The witness cannot have this name: {error}.", "Choose another.") from None
    seed = b64encode(cosigner.seed).decode()
    write_durably(folder / _KEY, msgspec.json.encode(_KeyFile(1, name, seed)), mode=0o600)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file's lock: the kernel's, so that threads and processes alike wait for it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _size(digits: bytes) -> int | None:
    if not _DECIMAL.fullmatch(digits) or int(digits) > MAX_SIZE:
        return None
    return int(digits)


def _malformed(reason: str) -> Malformed:
    return Malformed(f"The request is malformed: {reason}.", "See c2sp.org/tlog-witness.")


def _unknown() -> UnknownLog:
    return UnknownLog(
        "This witness does not follow that log.", "Ask its operator to add the log's key."
    )
