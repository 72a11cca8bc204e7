"""Comparing checkpoints: whether a log, between two things it signed, only appended.

Two signed checkpoints of one size with different roots, or a later one that does not continue an
earlier one, prove that the log has shown two histories: with them, nobody has to be believed.
Source: RFC 6962, 2.1.2; C2SP tlog-checkpoint v1.0.0, tlog-tiles v0.1.0.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from casemate.errors import CasemateError, Invalid, NotFound, Tampered
from casemate.ledger.checkpoint import Checkpoint, CheckpointError
from casemate.ledger.merkle import (
    HASH_SIZE,
    MerkleError,
    consistency_proof,
    root_hash,
    tree_hash,
    verify_consistency,
)
from casemate.ledger.note import NoteError, Verifier, decode_base64
from casemate.ledger.tile import FULL, Tile, TileError, last_tile, parse_hashes

MAX_HASHES = 63  # C2SP tlog-witness: more lines no tree of 2^63 entries can need

Fetch = Callable[[str], bytes | None]
"""The bytes behind one address of a static log, or None if there is nothing."""


class TwoHistories(CasemateError):
    """The log has signed what cannot both be true: proof that it showed a split view."""

    status = 500


@dataclass(frozen=True)
class Held:
    """A checkpoint that was checked with the log's key, and what whoever holds it calls it."""

    name: str
    checkpoint: Checkpoint

    def __str__(self) -> str:
        return f"{self.name} ({self.checkpoint.size:,} entries, root {self.root})"

    @property
    def root(self) -> str:
        """The root as a checkpoint writes it."""
        return base64.b64encode(self.checkpoint.root).decode()


def open_checkpoint(name: str, raw: bytes, verifier: Verifier, *others: Verifier) -> Held:
    """Read a signed checkpoint. Raises Invalid, with its name, unless a key of the log signed it.

    others: more keys of the same log, where it has changed its key.
    """
    try:
        return Held(name, Checkpoint.open(raw, verifier, *others))
    except (NoteError, CheckpointError) as problem:
        raise Invalid(
            f"{name} is no checkpoint of {verifier.name}: {problem}.",
            "Give the file as the log gave it, and the key of that log.",
        ) from None


def compare(old: Held, new: Held, proof: Sequence[bytes]) -> None:
    """Check with the hashes of ``proof`` that ``new`` only appends to ``old``.

    Raises TwoHistories if they have one size and different roots; Invalid if the proof does not
    show it, which a wrong proof does not as well, or if ``new`` is the smaller one.
    Source: RFC 6962, 2.1.2.
    """
    compare_sizes(old, new)
    a, b = old.checkpoint, new.checkpoint
    try:
        verify_consistency(a.size, b.size, proof, a.root, b.root)
    except MerkleError as problem:
        raise Invalid(
            f"The proof does not show that {new} continues {old}: {problem}.",
            "Ask the log for the proof between these two sizes. If none that it gives shows it, "
            "the log has shown two histories: keep both checkpoints.",
        ) from None


def compare_sizes(old: Held, new: Held) -> bool:
    """Whether the sizes are equal, which needs no proof. Raises as ``compare`` does."""
    a, b = old.checkpoint, new.checkpoint
    if a.size > b.size:
        raise Invalid(
            f"{old.name} counts more entries than {new.name}: {a.size:,} and {b.size:,}.",
            f"Give the smaller one first. If {new.name} was signed later, the log has lost "
            "entries.",
        )
    if a.size == b.size and a.root != b.root:
        raise _split(old, new)
    return a.size == b.size


def compare_with_copy(old: Held, new: Held, copy: Copy) -> list[bytes]:
    """Check with a copy of the log that ``new`` only appends to ``old``; the hashes that show it.

    The copy need not be trusted: whatever it holds, only what leads to a signed root counts.
    Raises TwoHistories if two of the old, the new and the copy's own checkpoint exclude each
    other; NotFound if the copy ends before ``new``; Tampered if its files prove nothing; Invalid
    as ``compare``.
    """
    if compare_sizes(old, new):
        return []
    a, b, own = old.checkpoint, new.checkpoint, copy.held
    if own.checkpoint.size < b.size:
        raise NotFound(
            f"This log ends at {own.checkpoint.size:,} entries, before {new.name}, which counts "
            f"{b.size:,}.",
            "Get a newer copy; of a running server's folder, a second later. A log that still ends "
            "there has lost entries that it signed.",
        )
    proof = consistency_proof(a.size, b.size, copy.read)
    try:
        verify_consistency(a.size, b.size, proof, a.root, b.root)
    except MerkleError:
        for earlier, later in ((old, new), (new, own), (old, own)):
            if _excluded(earlier.checkpoint, later.checkpoint, copy):
                raise _split(earlier, later) from None
        raise Tampered(
            f"The files of this log do not lead to {own}.",
            "Run `casemate ledger check` where the log is, and get another copy.",
        ) from None
    return proof


def format_proof(hashes: Sequence[bytes]) -> str:
    """A consistency proof as text: one hash in base64 a line, as in C2SP tlog-witness."""
    return "".join(base64.b64encode(one).decode() + "\n" for one in hashes)


def parse_proof(raw: bytes) -> list[bytes]:
    """Read a consistency proof. Raises Invalid, saying which line is wrong."""
    lines = raw.decode("utf-8", "replace").split("\n")
    if lines.pop():
        raise Invalid("The proof does not end in a newline.", _HASHES)
    if len(lines) > MAX_HASHES:
        raise Invalid(f"The proof has more than {MAX_HASHES} lines.", _HASHES)
    hashes = []
    for number, line in enumerate(lines, 1):
        try:
            hashes.append(decode_base64(line))
        except NoteError as problem:
            raise Invalid(f"Line {number} of the proof: {problem}.", _HASHES) from None
        if len(hashes[-1]) != HASH_SIZE:
            raise Invalid(f"Line {number} of the proof is no hash.", _HASHES)
    return hashes


class Copy:
    """A static log that somebody else may hold: its checkpoint, and its hashes on demand.

    Raises NotFound if there is no checkpoint; Invalid if none of the log's keys signed it.
    """

    def __init__(self, fetch: Fetch, *verifiers: Verifier) -> None:
        raw = fetch("checkpoint")
        if raw is None:
            raise NotFound("There is no log in that place: no checkpoint.", "Check the name.")
        self.held = open_checkpoint("the log's own checkpoint", raw, *verifiers)
        self._fetch = fetch
        self._tiles: dict[tuple[int, int], tuple[bytes, ...]] = {}

    @classmethod
    def folder(cls, path: Path, *verifiers: Verifier) -> Copy:
        """A copy that lies in a folder. Raises as the class does."""

        def fetch(name: str) -> bytes | None:
            try:
                return (path / name).read_bytes()
            except OSError:
                return None

        return cls(fetch, *verifiers)

    def read(self, height: int, index: int) -> bytes:
        """The hash over the leaves from ``index << height``, ``1 << height`` of them.

        Raises NotFound, naming the tile, if the copy lacks it; Tampered if it is damaged.
        """
        level, inside = divmod(height, 8)
        number, position = divmod(index << inside, FULL)
        if (level, number) not in self._tiles:
            self._tiles[level, number] = self._tile(level, number)
        return root_hash(self._tiles[level, number][position : position + (1 << inside)])

    def _tile(self, level: int, number: int) -> tuple[bytes, ...]:
        tile = last_tile(level, number, self.held.checkpoint.size)
        # A partial tile may be gone since its full one is there.
        for one in (tile, Tile(level, number)):
            raw = self._fetch(one.path)
            if raw is not None:
                try:
                    return parse_hashes(raw, one.width)
                except TileError as problem:
                    raise Tampered(f"{one.path} is damaged: {problem}.", _AGAIN) from None
        raise NotFound(f"The copy of the log lacks {tile.path}.", _AGAIN)


_AGAIN = "Copy the log again, whole."
_HASHES = "It is one hash in base64 a line, as `casemate ledger consistency --make` writes it."


def _excluded(earlier: Checkpoint, later: Checkpoint, copy: Copy) -> bool:
    """Whether ``later`` commits to other first entries than ``earlier`` signs.

    What the copy holds is only a witness: a proof that leads from its tree of the earlier size to
    the signed root of the later one settles what that root commits to.
    """
    committed = tree_hash(earlier.size, copy.read)
    proof = consistency_proof(earlier.size, later.size, copy.read)
    try:
        verify_consistency(earlier.size, later.size, proof, committed, later.root)
    except MerkleError:
        return False
    return committed != earlier.root


def _split(one: Held, other: Held) -> TwoHistories:
    return TwoHistories(
        f"This log has shown two histories: {one} and {other} are both signed with its key, and "
        "cannot both be true.",
        "Keep both as evidence, byte for byte, and show them to whoever relies on this log.",
    )
