"""Cosignatures: a witness's word that, at some time, it saw a log grow without rewriting itself.

Format: C2SP tlog-cosignature v1, Ed25519 keys (type 0x04) only (C2SP/C2SP, commit 5ba5ee8).
Needs only ``note`` and ``proof``, so that the verifier can travel alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from casemate.ledger.note import Note, NoteError, Signature, Signer, Verifier, decode_base64
from casemate.ledger.proof import Checkpoint, CheckpointError

COSIGNATURE = b"\x04"
MAX_TIME = 2**63 - 1
_LENGTH = 8 + 64  # the time, then the Ed25519 signature


@dataclass(frozen=True)
class CosignatureVerifier:
    """A witness's public key: a name and 32 bytes of Ed25519 public key.

    Raises NoteError if the name cannot name a key, or the key has another length.
    Source: C2SP tlog-cosignature v1, "Format".
    """

    name: str
    key: bytes

    def __post_init__(self) -> None:
        Verifier(self.name, self.key)  # the same rules hold for every Ed25519 key of a note

    @classmethod
    def parse(cls, vkey: str) -> CosignatureVerifier:
        """Read one verifier key line: ``name+id+base64(0x04 || key)``, with nothing around it.

        Raises NoteError if any part is malformed, the type is another, or the id is not the one
        that belongs to name and key. Source: C2SP signed-note v1.0.0 and tlog-cosignature v1.
        """
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise NoteError("a verifier key is a name, an id and a key, joined by plus signs")
        raw = decode_base64(parts[2])
        if raw[:1] != COSIGNATURE:
            raise NoteError("only witness keys of type Ed25519 cosignature (4) are accepted")
        verifier = cls(parts[0], raw[1:])
        if verifier.vkey != vkey:
            raise NoteError("the id of the verifier key does not belong to its name and key")
        return verifier

    @property
    def id(self) -> bytes:
        """The key id: the first 4 bytes of SHA-256(name || newline || 0x04 || key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + COSIGNATURE + self.key).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as one line of text, without a newline."""
        material = base64.b64encode(COSIGNATURE + self.key).decode()
        return f"{self.name}+{self.id.hex()}+{material}"

    def time_of(self, text: str, signature: Signature) -> int:
        """When this witness cosigned the checkpoint ``text``: seconds since 1970 (POSIX).

        Raises NoteError if the signature is another key's, malformed or wrong, or its time is
        zero or above 2^63 - 1. Whether the time lies ahead is for whoever has a clock to judge.
        Source: C2SP tlog-cosignature v1, "Ed25519 signed message"; tlog-witness, add-checkpoint.
        """
        if (signature.name, signature.id) != (self.name, self.id):
            raise NoteError(f"the cosignature was not made with the key of {self.name}")
        if len(signature.value) != _LENGTH:
            raise NoteError(f"the cosignature of {self.name} has another length")
        time = int.from_bytes(signature.value[:8], "big")
        message = _message(text, time)
        if not Verifier(self.name, self.key).verifies(message, signature.value[8:]):
            raise NoteError(f"the cosignature of {self.name} is wrong")
        return time


@dataclass(frozen=True)
class Cosigner:
    """A witness's private key: a name and 32 bytes of Ed25519 seed (RFC 8032).

    One key for one name: what is signed does not hold the name, so that a cosignature of one
    witness would be one of the other. Raises NoteError if the name is unusable or the seed has
    another length.
    """

    name: str
    seed: bytes = field(repr=False)  # a secret never appears in a log line or a traceback

    def __post_init__(self) -> None:
        Signer(self.name, self.seed)

    @classmethod
    def generate(cls, name: str) -> Cosigner:
        """Make a new key from the operating system's random source."""
        return cls(name, Signer.generate(name).seed)

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> Cosigner:
        """Take a key that was made before. Raises NoteError if name or seed is unusable."""
        return cls(name, seed)

    @property
    def verifier(self) -> CosignatureVerifier:
        """The public half."""
        return CosignatureVerifier(self.name, Signer(self.name, self.seed).verifier.key)

    @property
    def vkey(self) -> str:
        """The public half as one verifier key line, without a newline."""
        return self.verifier.vkey

    def cosign(self, text: str, time: int) -> Signature:
        """Say that ``text`` was the largest consistent checkpoint at ``time`` (POSIX seconds).

        Raises NoteError if the text is no checkpoint, or the time is not above zero or is beyond
        2^63 - 1. Source: C2SP tlog-cosignature v1.
        """
        try:
            checkpoint_in(text)
        except CheckpointError as error:
            raise NoteError(f"only checkpoints are cosigned: {error}") from None
        signed = Signer(self.name, self.seed).signature(_message(text, time)).value
        return Signature(self.name, self.verifier.id, time.to_bytes(8, "big") + signed)


def cosigned(
    raw: bytes, verifiers: Iterable[CosignatureVerifier]
) -> tuple[tuple[CosignatureVerifier, int], ...]:
    """Which of these witnesses cosigned the checkpoint in the note ``raw``, and when.

    Each witness is there once, with its latest time, in the order of the note; signatures of
    other keys, the log's own among them, are ignored. Empty if none cosigned. Raises NoteError
    if the note is malformed or holds no checkpoint, a known key's cosignature is wrong, or two
    witnesses are given that share a key: one witness could then count as two.
    """
    note = Note.parse(raw)
    try:
        checkpoint_in(note.text)
    except CheckpointError as error:
        raise NoteError(f"the note holds no checkpoint: {error}") from None
    known = {(verifier.name, verifier.id): verifier for verifier in verifiers}
    if len({verifier.key for verifier in known.values()}) < len(known):
        raise NoteError("two of the witnesses have the same key")
    found: dict[CosignatureVerifier, int] = {}
    for signature in note.signatures:
        verifier = known.get((signature.name, signature.id))
        if verifier is not None:
            time = verifier.time_of(note.text, signature)
            found[verifier] = max(time, found.get(verifier, 0))
    return tuple(found.items())


def checkpoint_in(text: str) -> Checkpoint:
    """The checkpoint that a note's text begins with; others' logs may add extension lines.

    Raises CheckpointError if it is malformed or an extension line is empty.
    Source: C2SP tlog-checkpoint v1.0.0.
    """
    lines = text.split("\n")
    if len(lines) < 4 or "" in lines[3:-1] or lines[-1]:
        raise CheckpointError("a checkpoint is three or more lines, none of them empty")
    return Checkpoint.parse("\n".join(lines[:3]) + "\n")


def _message(text: str, time: int) -> str:
    if not 0 < time <= MAX_TIME:
        raise NoteError("the time of a cosignature lies between 1 and 2^63 - 1 seconds")
    return f"cosignature/v1\ntime {time}\n{text}"
