"""The audit of a log: everything on disk is hashed again, from the signed root down to entries.

Going downward, each tile is judged by a hash that is already proven, so that the file that is
named is the file that is wrong. Source: RFC 6962, 2.1; C2SP tlog-tiles v0.1.0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from casemate.errors import Tampered
from casemate.ledger.edge import Edge
from casemate.ledger.merkle import leaf_hash, root_hash
from casemate.ledger.shelf import RESTORE, Shelf, read_entries, read_hashes, tiles_on
from casemate.ledger.tile import FULL, Tile, encode_bundle, encode_hashes, last_tile

Partials = dict[Tile, list[Tile]]
"""The narrower versions of a tile that still lie there, by the tile at its full width."""


def audit(shelf: Shelf, edge: Edge, progress: Callable[[int, int], None]) -> None:
    """Compare every tile and bundle on ``shelf``, full and partial, with ``edge``.

    edge: the log's edge, already compared with the signed root. progress: called with (entries
    checked, entries in all). Raises Tampered, naming the file and the entries, at the first
    difference.
    """
    progress(0, edge.size)
    partials: Partials = defaultdict(list)
    for tile in tiles_on(shelf):
        if tile.width < FULL and tile.end <= edge.size:  # beyond it: a batch is being written
            partials[tile.full].append(tile)
    for level in reversed(range(len(edge.levels))):
        above: tuple[bytes, ...] = ()
        for number in range(_tiles(level, edge.size)):
            if number % FULL == 0:
                above = _hashes_above(shelf, edge, level, number // FULL)
            hashes = _proven_hashes(shelf, edge, Tile(level, number), above)
            for tile in partials.get(Tile(level, number), ()):
                _check_partial(shelf, tile, encode_hashes(hashes[: tile.width]))
            if level == 0:
                _check_entries(shelf, edge.size, number, hashes, partials)
                progress(number * FULL + len(hashes), edge.size)


def _tiles(level: int, size: int) -> int:
    return -(-(size >> (8 * level)) // FULL)


def _hashes_above(shelf: Shelf, edge: Edge, level: int, number: int) -> tuple[bytes, ...]:
    """The hashes, proven before, over 256 tiles of ``level``; none where only the edge lies."""
    if number < edge.size >> (8 * (level + 2)):
        return read_hashes(shelf, Tile(level + 1, number))
    return edge.levels[level + 1] if level + 1 < len(edge.levels) else ()


def _proven_hashes(
    shelf: Shelf, edge: Edge, full: Tile, above: Sequence[bytes]
) -> tuple[bytes, ...]:
    """The hashes of the widest version of a tile, compared with what is proven already."""
    tile = last_tile(full.level, full.index, edge.size)
    wider = _outgrown(shelf, tile)
    hashes = read_hashes(shelf, tile) if wider is None else read_hashes(shelf, wider)[: tile.width]
    if tile.width < FULL:
        _compare(tile, hashes, edge.levels[tile.level or 0])
    elif root_hash(hashes) != above[tile.index % FULL]:
        raise Tampered(
            f"{tile.path} is damaged: its hashes do not lead to the signed root "
            f"({_entries(tile)}).",
            RESTORE,
        )
    return hashes


def _outgrown(shelf: Shelf, tile: Tile) -> Tile | None:
    """The full tile, if the log has grown past this partial one since the check began."""
    if tile.width == FULL or shelf.read(tile.path) is not None:
        return None
    return tile.full if shelf.read(tile.full.path) is not None else None


def _check_entries(
    shelf: Shelf, size: int, number: int, hashes: Sequence[bytes], partials: Partials
) -> None:
    bundle = last_tile(None, number, size)
    wider = _outgrown(shelf, bundle)
    entries = read_entries(shelf, bundle if wider is None else wider)[: bundle.width]
    for position, (entry, leaf) in enumerate(zip(entries, hashes, strict=True)):
        if leaf_hash(entry) != leaf:
            raise Tampered(
                f"{bundle.path} is damaged: entry {number * FULL + position:,} is not what was "
                "recorded.",
                RESTORE,
            )
    for tile in partials.get(bundle.full, ()):
        _check_partial(shelf, tile, encode_bundle(entries[: tile.width]))


def _compare(tile: Tile, found: Sequence[bytes], proven: Sequence[bytes]) -> None:
    for position, (left, right) in enumerate(zip(found, proven, strict=True)):
        if left != right:
            first = (tile.index * FULL + position) << (8 * (tile.level or 0))
            raise Tampered(
                f"{tile.path} is damaged: its hash {position} (from entry {first:,}) is not "
                "what the checkpoint signs.",
                RESTORE,
            )


def _check_partial(shelf: Shelf, tile: Tile, proven: bytes) -> None:
    found = shelf.read(tile.path)
    if found is not None and found != proven:  # None: outgrown while we looked
        raise Tampered(
            f"{tile.path} is damaged: it is not the beginning of its tile ({_entries(tile)}).",
            RESTORE,
        )


def _entries(tile: Tile) -> str:
    height = 8 * (tile.level or 0)
    first = (tile.index * FULL) << height
    last = ((tile.index * FULL + tile.width) << height) - 1
    return f"entry {first:,}" if first == last else f"entries {first:,} to {last:,}"
