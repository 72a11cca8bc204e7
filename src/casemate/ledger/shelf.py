"""The shelf: where the files of a log lie, and what must hold wherever that is.

A folder and a bucket differ in how bytes become durable and how a second writer is noticed, and
in nothing else: the names are those of C2SP tlog-tiles v0.1.0, the same as at the log's address.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from casemate.errors import Invalid, Tampered, Unavailable
from casemate.ledger.checkpoint import Checkpoint, CheckpointError
from casemate.ledger.edge import Edge
from casemate.ledger.merkle import leaf_hash
from casemate.ledger.note import Note, NoteError, Signer
from casemate.ledger.tile import FULL, Tile, TileError, last_tile, parse_bundle, parse_hashes

CHECKPOINT = "checkpoint"
RESTORE = "Restore the ledger's folder from a backup and keep the damaged copy as evidence."
SECOND_WRITER = "checkpoint was changed by somebody else."
STOP_OTHERS = "Stop every process on this ledger."


class Shelf(Protocol):
    """Holds the files of one log. Every method raises Unavailable if the place does not answer.

    One writer at a time commits, any thread reads.
    """

    def claim(self) -> bytes | None:
        """Become the writer: the standing checkpoint, or None where there is no log yet.

        What an interrupted commit left half done is finished or of no effect afterwards. Raises
        Invalid if the place holds something else; Tampered if a log has lost its checkpoint.
        """

    def commit(self, files: Mapping[str, bytes], standing: bytes | None, checkpoint: bytes) -> None:
        """Make ``files`` durable, then put ``checkpoint`` in the place of the ``standing`` one.

        On return all of it is durable. Raises Tampered, with nothing replaced, if another writer
        was here; after anything else ``standing_checkpoint`` tells which of the two stands.
        """

    def standing_checkpoint(self) -> bytes:
        """The checkpoint that stands, for good, after a commit that raised.

        Raises Tampered if none does.
        """

    def confirm(self, checkpoint: bytes) -> None:
        """Make the checkpoint that stands durable, after a commit that raised and left it standing.

        On return it will stand after a power failure too. Raises Tampered if another one stands.
        """

    def read(self, name: str) -> bytes | None:
        """The bytes of one file, or None if there is no such file."""

    def names(self, below: str = "tile/") -> Iterator[str]:
        """The name of every file below a folder of the log."""

    def settle(self) -> None:
        """Put each file that was committed where other programs find it, if that is still to do."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove files that nobody needs any more; what cannot be removed stays."""

    def outgrow(self, full: str) -> None:
        """Remove the partial versions of a tile that is full now. Source: tlog-tiles v0.1.0."""

    def discard(self, names: Iterable[str]) -> None:
        """Remove what was written and never released, where this writer alone can have done it."""

    def close(self) -> None:
        """End the threads that write; what is there can still be read."""


def read_file(shelf: Shelf, name: str) -> bytes:
    """The bytes of a file that must be there. Raises Tampered if it is missing."""
    content = shelf.read(name)
    if content is None:
        raise Tampered(f"{name} is missing from the ledger.", RESTORE)
    return content


def read_hashes(shelf: Shelf, tile: Tile) -> tuple[bytes, ...]:
    """The hashes of a tile. Raises Tampered if it is missing or malformed."""
    try:
        return parse_hashes(read_file(shelf, tile.path), tile.width)
    except TileError as error:
        raise Tampered(f"{tile.path} is damaged: {error}.", RESTORE) from None


def read_entries(shelf: Shelf, bundle: Tile) -> tuple[bytes, ...]:
    """The entries of a bundle. Raises Tampered if it is missing or malformed."""
    try:
        return parse_bundle(read_file(shelf, bundle.path), bundle.width)
    except TileError as error:
        raise Tampered(f"{bundle.path} is damaged: {error} ({span(bundle)}).", RESTORE) from None


def read_edge(shelf: Shelf, size: int) -> Edge:
    """The edge of a log of ``size`` entries, from its partial tiles and bundle.

    Raises Tampered if one is missing, malformed, or disagrees with another.
    """
    levels: list[tuple[bytes, ...]] = []
    while count := size >> (8 * len(levels)):
        level = len(levels)
        hashes: tuple[bytes, ...] = ()
        if count % FULL:
            hashes = read_hashes(shelf, last_tile(level, count // FULL, size))
        levels.append(hashes)
    entries: tuple[bytes, ...] = ()
    if size % FULL:
        bundle = last_tile(None, size // FULL, size)
        entries = read_entries(shelf, bundle)
        for position, (entry, leaf) in enumerate(zip(entries, levels[0], strict=True)):
            if leaf_hash(entry) != leaf:
                raise Tampered(
                    f"{bundle.path} and its hash tile disagree about entry "
                    f"{bundle.index * FULL + position:,}.",
                    RESTORE,
                )
    return Edge(size, tuple(levels), entries)


def tiles_on(shelf: Shelf) -> Iterator[Tile]:
    """Every file below ``tile/`` whose name is that of a tile; no address leads to others."""
    for name in shelf.names():
        try:
            yield Tile.parse(name)
        except TileError:
            continue


def tidy(shelf: Shelf, size: int, reach: int) -> None:
    """Remove what a crash left: tiles never released, partials outgrown.

    size: entries in the signed checkpoint, which is the authority. reach: how many entries one
    batch may hold. Raises Tampered if a file lies further beyond the checkpoint than a crash can
    leave it: then the checkpoint is older than the log, and going on would rewrite history.
    """
    outgrown: list[str] = []
    beyond: list[str] = []
    for tile in tiles_on(shelf):
        if tile.end > size + reach:
            raise Tampered(
                f"checkpoint is older than the log: it counts {size:,} entries, but "
                f"{tile.path} exists.",
                RESTORE,
            )
        if tile.end > size:
            beyond.append(tile.path)
        elif tile.width < FULL and tile.full.end <= size:
            outgrown.append(tile.path)
    shelf.remove(outgrown)
    shelf.discard(beyond)
    if any(shelf.read(name) is not None for name in beyond):
        # Once the log has grown past them they would be taken for released.
        raise Unavailable(
            "Files beyond the ledger's checkpoint cannot be removed, or somebody else writes them.",
            "Stop every other process on this ledger and check its storage, then start again.",
        )


def span(tile: Tile) -> str:
    """The entries of a bundle or level 0 tile, for people."""
    first = tile.index * FULL
    if tile.width == 1:
        return f"entry {first:,}"
    return f"entries {first:,} to {first + tile.width - 1:,}"


def open_checkpoint(raw: bytes, signers: Sequence[Signer]) -> Checkpoint:
    """The checkpoint of the log that ``signers`` sign; one of their signatures suffices.

    Raises Invalid if another key or origin signed it; Tampered if it is damaged.
    """
    try:
        note = Note.parse(raw)
        checkpoint = Checkpoint.parse(note.text)
    except (NoteError, CheckpointError) as error:
        raise Tampered(f"checkpoint is damaged: {error}.", RESTORE) from None
    if any(checkpoint.origin != signer.name for signer in signers):
        raise Invalid(
            f"The ledger belongs to {checkpoint.origin}, not to {signers[0].name}.",
            "Use the key that it was made with.",
        )
    if not keys_on(raw) & keys_of(signers):
        raise Invalid("The ledger was signed with another key.", "Use the key that signs it now.")
    try:
        return Checkpoint.open(raw, *(signer.verifier for signer in signers))
    except (NoteError, CheckpointError) as error:
        raise Tampered(f"checkpoint is damaged: {error}.", RESTORE) from None


def keys_on(note: bytes) -> set[tuple[str, bytes]]:
    """Name and id of every key that a note names as its signer, unchecked."""
    return {(one.name, one.id) for one in Note.parse(note).signatures}


def keys_of(signers: Iterable[Signer]) -> set[tuple[str, bytes]]:
    """Name and id of each signer's key."""
    return {(signer.name, signer.verifier.id) for signer in signers}
