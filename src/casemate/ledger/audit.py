"""The audit of a log: everything on disk is hashed again, from the signed root down to entries.

Going downward, each tile is judged by a hash that is already proven, so that the file that is
named is the file that is wrong. Source: RFC 6962, 2.1; C2SP tlog-tiles v0.1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from casemate.errors import Tampered
from casemate.ledger import shelf
from casemate.ledger.edge import Edge
from casemate.ledger.merkle import leaf_hash, root_hash
from casemate.ledger.tile import (
    FULL,
    Tile,
    TileError,
    encode_bundle,
    encode_hashes,
    last_tile,
)


def audit(folder: Path, edge: Edge, progress: Callable[[int, int], None]) -> None:
    """Compare every tile and bundle in ``folder``, full and partial, with ``edge``.

    edge: the log's edge, already compared with the signed root. progress: called with (entries
    checked, entries in all). Raises Tampered, naming the file and the entries, at the first
    difference.
    """
    progress(0, edge.size)
    for level in reversed(range(len(edge.levels))):
        for number in range(_tiles(level, edge.size)):
            hashes = _proven_hashes(folder, edge, level, number)
            _check_partials(folder, edge.size, Tile(level, number), hashes, encode_hashes)
            if level == 0:
                bundle = last_tile(None, number, edge.size)
                entries = shelf.read_entries(folder, bundle)
                for position, (entry, leaf) in enumerate(zip(entries, hashes, strict=True)):
                    if leaf_hash(entry) != leaf:
                        raise Tampered(
                            f"{bundle.path} is damaged: entry {number * FULL + position:,} is not "
                            "what was recorded.",
                            shelf.RESTORE,
                        )
                _check_partials(folder, edge.size, Tile(None, number), entries, encode_bundle)
                progress(number * FULL + len(entries), edge.size)


def _tiles(level: int, size: int) -> int:
    return -(-(size >> (8 * level)) // FULL)


def _proven_hashes(folder: Path, edge: Edge, level: int, number: int) -> tuple[bytes, ...]:
    """The hashes of the widest version of a tile, compared with what is proven already."""
    tile = last_tile(level, number, edge.size)
    hashes = shelf.read_hashes(folder, tile)
    if tile.width < FULL:
        _compare(tile, hashes, edge.levels[level])
        return hashes
    above, position = divmod(number, FULL)
    if above == edge.size >> (8 * (level + 2)):
        parent = edge.levels[level + 1]
    else:
        parent = shelf.read_hashes(folder, Tile(level + 1, above))
    if root_hash(hashes) != parent[position]:
        raise Tampered(
            f"{tile.path} is damaged: its hashes do not lead to the signed root "
            f"({_entries(tile)}).",
            shelf.RESTORE,
        )
    return hashes


def _compare(tile: Tile, found: Sequence[bytes], proven: Sequence[bytes]) -> None:
    for position, (left, right) in enumerate(zip(found, proven, strict=True)):
        if left != right:
            first = (tile.index * FULL + position) << (8 * (tile.level or 0))
            raise Tampered(
                f"{tile.path} is damaged: its hash {position} (from entry {first:,}) is not "
                "what the checkpoint signs.",
                shelf.RESTORE,
            )


def _check_partials(
    folder: Path,
    size: int,
    full: Tile,
    proven: Sequence[bytes],
    encode: Callable[[Sequence[bytes]], bytes],
) -> None:
    """Compare the older, narrower versions of a tile that still lie on disk."""
    parent = (folder / full.path).with_name(Path(full.path).name + ".p")
    if not parent.is_dir():
        return
    for path in sorted(parent.iterdir()):
        try:
            tile = Tile.parse(f"{full.path}.p/{path.name}")
        except TileError:
            continue  # no address leads to it
        if tile.end > size:
            continue  # not released: a batch is being written
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            continue  # outgrown while we looked
        if found != encode(proven[: tile.width]):
            raise Tampered(
                f"{tile.path} is damaged: it is not the beginning of its tile ({_entries(tile)}).",
                shelf.RESTORE,
            )


def _entries(tile: Tile) -> str:
    height = 8 * (tile.level or 0)
    first = (tile.index * FULL) << height
    last = ((tile.index * FULL + tile.width) << height) - 1
    return f"entry {first:,}" if first == last else f"entries {first:,} to {last:,}"
