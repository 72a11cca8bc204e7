"""The growing edge of a log: all that must be remembered to append without reading it again.

Of each tile level it holds the last, unfinished tile, and of the entries the last, unfinished
bundle. Source: C2SP tlog-tiles v0.1.0, "Partial Tiles".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from casemate.ledger.merkle import leaf_hash, node_hash, root_hash
from casemate.ledger.tile import FULL, Tile, encode_bundle, encode_hashes


@dataclass(frozen=True)
class Edge:
    """The edge of a log of ``size`` entries.

    levels: hashes of the partial tile of each level, lowest first, fewer than 256 each.
    bundle: entries of the partial bundle.
    """

    size: int = 0
    levels: tuple[tuple[bytes, ...], ...] = ()
    bundle: tuple[bytes, ...] = ()

    @property
    def root(self) -> bytes:
        """Root hash of the whole log: 32 bytes. Source: RFC 6962, 2.1."""
        subtrees: list[bytes] = []
        for hashes in reversed(self.levels):
            position = 0
            for height in reversed(range(8)):
                if len(hashes) >> height & 1:
                    subtrees.append(root_hash(hashes[position : position + (1 << height)]))
                    position += 1 << height
        if not subtrees:
            return root_hash(())
        result = subtrees.pop()
        while subtrees:
            result = node_hash(subtrees.pop(), result)
        return result

    def extend(self, entries: Sequence[bytes]) -> tuple[Edge, dict[Tile, bytes]]:
        """The edge after appending ``entries``, and the files that are new because of them.

        Raises TileError if an entry is longer than 65,535 bytes.
        """
        levels = [list(hashes) for hashes in self.levels]
        bundle = list(self.bundle)
        size = self.size
        files: dict[Tile, bytes] = {}
        for entry in entries:
            size += 1
            bundle.append(entry)
            if len(bundle) == FULL:
                files[Tile(None, size // FULL - 1)] = encode_bundle(bundle)
                bundle = []
            carried, level = leaf_hash(entry), 0
            while True:
                if level == len(levels):
                    levels.append([])
                levels[level].append(carried)
                if len(levels[level]) < FULL:
                    break
                files[Tile(level, (size >> (8 * (level + 1))) - 1)] = encode_hashes(levels[level])
                carried = root_hash(levels[level])
                levels[level] = []
                level += 1
        if bundle and entries:
            files[Tile(None, size // FULL, len(bundle))] = encode_bundle(bundle)
        for level, hashes in enumerate(levels):
            if hashes and size >> (8 * level) != self.size >> (8 * level):
                tile = Tile(level, size >> (8 * (level + 1)), len(hashes))
                files[tile] = encode_hashes(hashes)
        edge = Edge(size, tuple(tuple(hashes) for hashes in levels), tuple(bundle))
        return edge, files
