"""Checkpoints and inclusion proofs as text: what a log signs, and how one entry stands in it.

Formats: C2SP tlog-checkpoint v1.0.0 (without extension lines) and tlog-proof (C2SP/C2SP,
commit 5ba5ee8). Standard library, ``note`` and ``merkle`` only: the verifier needs both formats
and travels alone.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass

from casemate.ledger.merkle import HASH_SIZE, leaf_hash, verify_inclusion
from casemate.ledger.note import Note, NoteError, Signer, Verifier, check_note, decode_base64, sign

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
MAX_SIZE = 2**63 - 1
MAX_HASHES = 63
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


class CheckpointError(ValueError):
    """The text is not a checkpoint."""


class ProofError(ValueError):
    """The text is not an inclusion proof."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a log: its origin, how many entries it holds, and their 32-byte root hash.

    Raises CheckpointError if the origin is not one non-empty line, the size is out of bounds or
    the root has another length. Source: C2SP tlog-checkpoint v1.0.0.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin:
            raise CheckpointError("the origin of a checkpoint is one line")
        if not 0 <= self.size <= MAX_SIZE:
            raise CheckpointError("the size of a checkpoint is out of bounds")
        if len(self.root) != HASH_SIZE:
            raise CheckpointError(f"the root of a checkpoint has {HASH_SIZE} bytes")

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the text of a checkpoint: three lines and nothing more.

        Raises CheckpointError if it is spelled in any other way, or has extension lines.
        Source: C2SP tlog-checkpoint v1.0.0.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise CheckpointError("a checkpoint has three lines: origin, size, root")
        origin, size, root = lines[:3]
        try:
            return cls(origin, _decimal(size), decode_base64(root))
        except NoteError as error:
            raise CheckpointError(f"the root of the checkpoint: {error}") from None
        except ProofError as error:
            raise CheckpointError(f"the size of the checkpoint: {error}") from None

    @classmethod
    def open(cls, raw: bytes, *verifiers: Verifier) -> Checkpoint:
        """Read a signed checkpoint of the log that has these keys: one, or more as keys change.

        One signature that was made with one of them suffices; signatures of other keys do not
        count. Raises NoteError if no such signature is there or one of them is wrong;
        CheckpointError if the text is malformed or names another origin than the keys.
        """
        return cls.opened(Note.parse(raw), *verifiers)

    @classmethod
    def opened(cls, note: Note, *verifiers: Verifier) -> Checkpoint:
        """As ``open``, of a note that was read already."""
        checkpoint = cls.parse(check_note(note, verifiers).text)
        if any(verifier.name != checkpoint.origin for verifier in verifiers):
            raise CheckpointError("the checkpoint names another log than the key does")
        return checkpoint

    def format(self) -> str:
        """The text of the checkpoint, unsigned, with its final newline."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def sign(self, signers: Iterable[Signer]) -> bytes:
        """The checkpoint as a signed note. Raises NoteError if it cannot be one."""
        return sign(self.format(), signers)


@dataclass(frozen=True)
class Proof:
    """That one entry stands at ``index`` in the tree of the signed ``checkpoint``.

    hashes: 32 bytes each, from the leaf's sibling upward. checkpoint: the signed note, verbatim.
    extra: application data that nothing authenticates; receipts have none.
    Source: C2SP tlog-proof.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    @classmethod
    def parse(cls, text: str) -> Proof:
        """Read a proof; its checkpoint is kept verbatim and not yet checked.

        Raises ProofError if it is not exactly in the format. Source: C2SP tlog-proof.
        """
        head, separator, checkpoint = text.partition("\n\n")
        if not separator or not checkpoint:
            raise ProofError("the proof has no checkpoint")
        lines = head.split("\n")
        if lines.pop(0) != PROOF_HEADER:
            raise ProofError(f"a proof begins with {PROOF_HEADER}")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = _base64(lines.pop(0).removeprefix("extra "))
        if not lines or not lines[0].startswith("index "):
            raise ProofError("the proof does not say which entry it is about")
        index = _decimal(lines.pop(0).removeprefix("index "))
        if len(lines) > MAX_HASHES:
            raise ProofError(f"a proof has at most {MAX_HASHES} hashes")
        try:
            hashes = tuple(map(decode_base64, lines))
        except NoteError as error:
            raise ProofError(f"the proof holds {error}") from None
        if hashes and set(map(len, hashes)) != {HASH_SIZE}:
            raise ProofError(f"every hash of a proof has {HASH_SIZE} bytes")
        try:
            return cls(index, hashes, checkpoint.encode("utf-8"), extra)
        except UnicodeEncodeError:
            raise ProofError("the proof cannot be written as UTF-8") from None

    def format(self) -> str:
        """The proof as text; ends as its checkpoint ends."""
        lines = [PROOF_HEADER]
        if self.extra is not None:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(value).decode() for value in self.hashes]
        return "\n".join(lines) + "\n\n" + self.checkpoint.decode("utf-8")

    def verify(self, entry: bytes, checkpoint: Checkpoint) -> None:
        """Check that ``entry`` stands at the index in the tree of ``checkpoint``.

        Raises MerkleError if the hashes do not show it.
        """
        verify_inclusion(
            self.index, checkpoint.size, leaf_hash(entry), self.hashes, checkpoint.root
        )


def _base64(text: str) -> bytes:
    try:
        return decode_base64(text)
    except NoteError as error:
        raise ProofError(f"the proof holds {error}") from None


def _decimal(text: str) -> int:
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_SIZE:
        raise ProofError("a number is written in decimal digits without leading zeros")
    return int(text)
