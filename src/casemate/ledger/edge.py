"""The growing edge of a log: all that must be remembered to append without reading it again.

Of each tile level it holds the last, unfinished tile, and of the entries the last, unfinished
bundle. Source: C2SP tlog-tiles v0.1.0, "Partial Tiles".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from casemate.ledger.merkle import leaf_hash, node_hash, root_hash
from casemate.ledger.tile import FULL, Tile, encode_bundle, encode_hashes


@dataclass(frozen=True)
class Edge:
    """The edge of a log of ``size`` entries.

    levels: hashes of the partial tile of each level, lowest first, fewer than 256 each.
    bundle: entries of the partial bundle. peaks: of each level, the roots of the complete subtrees
    that its hashes make, largest first; written: the bundle as it is stored. Both follow from the
    others, and are kept because a batch adds little to them.
    """

    size: int = 0
    levels: tuple[tuple[bytes, ...], ...] = ()
    bundle: tuple[bytes, ...] = ()
    peaks: tuple[tuple[bytes, ...], ...] = field(default=(), compare=False)
    written: bytes = field(default=b"", compare=False)

    def __post_init__(self) -> None:
        if len(self.peaks) != len(self.levels):
            object.__setattr__(self, "peaks", tuple(map(_peaks, self.levels)))
        if self.bundle and not self.written:
            object.__setattr__(self, "written", encode_bundle(self.bundle))

    @property
    def root(self) -> bytes:
        """Root hash of the whole log: 32 bytes. Source: RFC 6962, 2.1."""
        subtrees = [peak for peaks in reversed(self.peaks) for peak in peaks]
        if not subtrees:
            return root_hash(())
        result = subtrees.pop()
        while subtrees:
            result = node_hash(subtrees.pop(), result)
        return result

    def partial(self, tile: Tile) -> bytes | None:
        """The bytes of a partial tile or bundle at the edge; None if it is none of these."""
        level = tile.level or 0
        if tile.index != self.size >> (8 * (level + 1)) or tile.end > self.size:
            return None
        if tile.level is None:
            return encode_bundle(self.bundle[: tile.width])
        return encode_hashes(self.levels[level][: tile.width])

    def extend(self, entries: Sequence[bytes]) -> tuple[Edge, dict[Tile, bytes]]:
        """The edge after appending ``entries``, and the files that are new because of them.

        Raises TileError if an entry is longer than 65,535 bytes.
        """
        levels = [list(hashes) for hashes in self.levels]
        peaks = [list(roots) for roots in self.peaks]
        bundle = list(self.bundle)
        written, start = self.written, 0  # of the partial bundle, and the first that is not in it
        size = self.size
        files: dict[Tile, bytes] = {}
        for entry in entries:
            size += 1
            bundle.append(entry)
            if len(bundle) == FULL:
                files[Tile(None, size // FULL - 1)] = encode_bundle(bundle)
                bundle, written, start = [], b"", size - self.size
            carried, level = leaf_hash(entry), 0
            while True:
                if level == len(levels):
                    levels.append([])
                    peaks.append([])
                levels[level].append(carried)
                _rise(peaks[level], len(levels[level]), carried)
                if len(levels[level]) < FULL:
                    break
                files[Tile(level, (size >> (8 * (level + 1))) - 1)] = encode_hashes(levels[level])
                (carried,) = peaks[level]
                levels[level], peaks[level] = [], []
                level += 1
        written += encode_bundle(entries[start:])
        if bundle and entries:
            files[Tile(None, size // FULL, len(bundle))] = written
        for level, hashes in enumerate(levels):
            if hashes and size >> (8 * level) != self.size >> (8 * level):
                tile = Tile(level, size >> (8 * (level + 1)), len(hashes))
                files[tile] = encode_hashes(hashes)
        roots = tuple(map(tuple, peaks))
        edge = Edge(size, tuple(map(tuple, levels)), tuple(bundle), roots, written)
        return edge, files


def _rise(peaks: list[bytes], count: int, added: bytes) -> None:
    """Take in the hash that is number ``count``: subtrees of one size become one of twice that."""
    while not count & 1:
        added = node_hash(peaks.pop(), added)
        count >>= 1
    peaks.append(added)


def _peaks(hashes: Sequence[bytes]) -> tuple[bytes, ...]:
    found: list[bytes] = []
    for number, one in enumerate(hashes, 1):
        _rise(found, number, one)
    return tuple(found)
