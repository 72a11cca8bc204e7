"""The folder of a log: finding, reading and tidying its files, and refusing damaged ones.

Layout: C2SP tlog-tiles v0.1.0, the same on disk as at the log's address.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from casemate.errors import Invalid, Tampered, Unavailable
from casemate.ledger.checkpoint import Checkpoint, CheckpointError
from casemate.ledger.durable import TEMPORARY, remove_files, replace_file, sync_folder
from casemate.ledger.edge import Edge
from casemate.ledger.merkle import leaf_hash
from casemate.ledger.note import Note, NoteError, Signer
from casemate.ledger.tile import FULL, Tile, TileError, last_tile, parse_bundle, parse_hashes

RESTORE = "Restore the ledger's folder from a backup and keep the damaged copy as evidence."
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def read_file(folder: Path, name: str) -> bytes:
    """The bytes of one file of the log.

    Raises Tampered if it is missing; Unavailable if the disk does not give it.
    """
    try:
        return (folder / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise Tampered(f"{name} is missing from the ledger.", RESTORE) from None
    except OSError as error:
        raise Unavailable(
            f"{name} of the ledger cannot be read: {error.strerror}.", "Check the disk."
        ) from error


def read_hashes(folder: Path, tile: Tile) -> tuple[bytes, ...]:
    """The hashes of a tile. Raises Tampered if it is missing or malformed."""
    try:
        return parse_hashes(read_file(folder, tile.path), tile.width)
    except TileError as error:
        raise Tampered(f"{tile.path} is damaged: {error}.", RESTORE) from None


def read_entries(folder: Path, bundle: Tile) -> tuple[bytes, ...]:
    """The entries of a bundle. Raises Tampered if it is missing or malformed."""
    try:
        return parse_bundle(read_file(folder, bundle.path), bundle.width)
    except TileError as error:
        raise Tampered(
            f"{bundle.path} is damaged: {error} ({span(bundle)}).",
            RESTORE,
        ) from None


def read_edge(folder: Path, size: int) -> Edge:
    """The edge of a log of ``size`` entries, from its partial tiles and bundle.

    Raises Tampered if one is missing, malformed, or disagrees with another.
    """
    levels: list[tuple[bytes, ...]] = []
    while count := size >> (8 * len(levels)):
        level = len(levels)
        hashes: tuple[bytes, ...] = ()
        if count % FULL:
            hashes = read_hashes(folder, last_tile(level, count // FULL, size))
        levels.append(hashes)
    entries: tuple[bytes, ...] = ()
    if size % FULL:
        bundle = last_tile(None, size // FULL, size)
        entries = read_entries(folder, bundle)
        for position, (entry, leaf) in enumerate(zip(entries, levels[0], strict=True)):
            if leaf_hash(entry) != leaf:
                raise Tampered(
                    f"{bundle.path} and its hash tile disagree about entry "
                    f"{bundle.index * FULL + position:,}.",
                    RESTORE,
                )
    return Edge(size, tuple(levels), entries)


def files_on(folder: Path) -> Iterator[tuple[str, Tile | None]]:
    """Every file below ``tile/``: its name relative to the log, and the tile it is, if it is one.

    Raises OSError if a folder cannot be listed.
    """
    for parent, _, names in os.walk(folder / "tile"):
        below = Path(parent).relative_to(folder).as_posix()
        for file in names:
            name = f"{below}/{file}"
            try:
                yield name, Tile.parse(name)
            except TileError:
                yield name, None


def tidy(folder: Path, size: int, reach: int) -> None:
    """Remove what a crash left: temporary files, tiles never released, partials outgrown.

    size: entries in the signed checkpoint, which is the authority. reach: how many entries one
    batch may hold. Raises Tampered if a file lies further beyond the checkpoint than a crash can
    leave it: then the checkpoint is older than the log, and going on would rewrite history.
    """
    doomed: list[Path] = []
    for name, tile in files_on(folder):
        if tile is None:
            if name.endswith(TEMPORARY):
                doomed.append(folder / name)
        elif tile.end > size:
            if tile.end > size + reach:
                raise Tampered(
                    f"checkpoint is older than the log: it counts {size:,} entries, but "
                    f"{tile.path} exists.",
                    RESTORE,
                )
            doomed.append(folder / name)
        elif tile.width < FULL and tile.full.end <= size:
            doomed.append(folder / name)
    temporary = folder / f".checkpoint{TEMPORARY}"
    if temporary.exists():
        doomed.append(temporary)
    remove_files(doomed)


def remove_outgrown(folder: Path, full: Tile) -> None:
    """Remove the partial versions of a tile that is full now. Source: tlog-tiles v0.1.0."""
    parent = (folder / full.path).with_name(Path(full.path).name + ".p")
    with contextlib.suppress(OSError):
        remove_files(list(parent.iterdir()))
        parent.rmdir()


def span(tile: Tile) -> str:
    """The entries of a bundle or level 0 tile, for people."""
    first = tile.index * FULL
    if tile.width == 1:
        return f"entry {first:,}"
    return f"entries {first:,} to {first + tile.width - 1:,}"


def create(folder: Path, signer: Signer) -> tuple[Edge, bytes]:
    """Make an empty log in an empty folder: its edge and its signed checkpoint.

    Raises Tampered if only the checkpoint is missing; Invalid if the folder holds anything else;
    OSError if the disk refuses.
    """
    strange = [path.name for path in folder.iterdir() if path.name != ".checkpoint.tmp"]
    if "tile" in strange:
        raise Tampered("checkpoint is missing from the ledger.", RESTORE)
    if strange:
        raise Invalid("The folder is not empty and is no ledger.", "Choose an empty folder.")
    edge = Edge()
    checkpoint = Checkpoint(signer.name, 0, edge.root).sign([signer])
    replace_file(folder / "checkpoint", checkpoint)
    sync_folder(folder)
    sync_folder(folder.parent)
    return edge, checkpoint


def open_checkpoint(raw: bytes, signer: Signer) -> Checkpoint:
    """The checkpoint of the log that ``signer`` signs.

    Raises Invalid if another key or origin signed it; Tampered if it is damaged.
    """
    try:
        note = Note.parse(raw)
        checkpoint = Checkpoint.parse(note.text)
    except (NoteError, CheckpointError) as error:
        raise Tampered(f"checkpoint is damaged: {error}.", RESTORE) from None
    verifier = signer.verifier
    if checkpoint.origin != signer.name:
        raise Invalid(
            f"The ledger belongs to {checkpoint.origin}, not to {signer.name}.",
            "Use the key that it was made with.",
        )
    if not any((one.name, one.id) == (verifier.name, verifier.id) for one in note.signatures):
        raise Invalid(
            "The ledger was signed with another key.", "Use the key that it was made with."
        )
    try:
        return Checkpoint.open(raw, verifier)
    except (NoteError, CheckpointError) as error:
        raise Tampered(f"checkpoint is damaged: {error}.", RESTORE) from None


def unavailable(error: OSError) -> Unavailable:
    """What to tell whoever waits for an entry that the disk did not take."""
    if error.errno in _NO_ROOM:
        return Unavailable(
            "There is no room left to record in the ledger.",
            "Free space on the disk of the data folder and ask again; nothing was lost.",
        )
    reason = "it is read-only" if error.errno == errno.EROFS else error.strerror or "input/output"
    return Unavailable(
        f"The ledger's disk does not take what must be recorded: {reason}.",
        "Check the disk of the data folder and ask again; nothing was lost.",
    )
