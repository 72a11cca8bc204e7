"""Tiles and entry bundles: how a log lies on disk and at its address, in pieces that never change.

Format: C2SP tlog-tiles v0.1.0. A full tile holds 256 hashes, a full bundle 256 entries; the
last one of each level may be partial.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from casemate.ledger.merkle import HASH_SIZE

FULL = 256
MAX_LEVEL = 63
MAX_INDEX = 2**63 - 1
MAX_ENTRY = 65_535
_PATH = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)


class TileError(ValueError):
    """A path or a file is not a tile or an entry bundle."""


@dataclass(frozen=True)
class Tile:
    """The address of a hash tile, or, with ``level`` None, of an entry bundle.

    level: 0 to 63, 0 holds leaf hashes. index: place within the level. width: hashes or entries
    in it, 1 to 256. Raises TileError if a number is out of bounds.
    """

    level: int | None
    index: int
    width: int = FULL

    def __post_init__(self) -> None:
        if self.level is not None and not 0 <= self.level <= MAX_LEVEL:
            raise TileError("a tile level lies between 0 and 63")
        if not 0 <= self.index <= MAX_INDEX:
            raise TileError("a tile index is out of bounds")
        if not 1 <= self.width <= FULL:
            raise TileError("a tile width lies between 1 and 256")

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Read an address such as ``tile/0/x001/234.p/7``.

        Raises TileError for every other spelling. Source: C2SP tlog-tiles v0.1.0.
        """
        match = _PATH.fullmatch(path)
        if match is None:
            raise TileError("not the address of a tile")
        level, index, width = match.groups()
        tile = cls(
            None if level == "entries" else int(level),
            int(index.replace("x", "").replace("/", "")),
            int(width) if width else FULL,
        )
        if tile.path != path:  # leading "x000/" or a spelled-out full width
            raise TileError("the address of a tile is not canonical")
        return tile

    @property
    def path(self) -> str:
        """The address below the log's folder or URL prefix."""
        level = "entries" if self.level is None else str(self.level)
        digits = str(self.index)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        index = "".join(f"x{group}/" for group in groups[:-1]) + groups[-1]
        suffix = f".p/{self.width}" if self.width < FULL else ""
        return f"tile/{level}/{index}{suffix}"

    @property
    def end(self) -> int:
        """How many entries a log must hold before this tile is complete at this width."""
        return (self.index * FULL + self.width) << (8 * (self.level or 0))

    @property
    def full(self) -> Tile:
        """The same tile at its full width."""
        return Tile(self.level, self.index)


def last_tile(level: int | None, index: int, size: int) -> Tile:
    """The widest version of a tile that a log of ``size`` entries has.

    Raises TileError if it has none. Source: C2SP tlog-tiles v0.1.0, "Partial Tiles".
    """
    return Tile(level, index, min(FULL, (size >> (8 * (level or 0))) - index * FULL))


def encode_hashes(hashes: Sequence[bytes]) -> bytes:
    """The bytes of a hash tile."""
    return b"".join(hashes)


def parse_hashes(raw: bytes, width: int) -> tuple[bytes, ...]:
    """The hashes of a tile of this width. Raises TileError if the length is another."""
    if len(raw) != width * HASH_SIZE:
        raise TileError(f"a tile of {width} hashes has {width * HASH_SIZE:,} bytes")
    return tuple(raw[i : i + HASH_SIZE] for i in range(0, len(raw), HASH_SIZE))


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """The bytes of an entry bundle: each entry after its length as a big-endian uint16.

    Raises TileError if an entry is longer than 65,535 bytes.
    """
    if entries and max(map(len, entries)) > MAX_ENTRY:
        raise TileError(f"an entry has at most {MAX_ENTRY:,} bytes")
    return b"".join([len(entry).to_bytes(2, "big") + entry for entry in entries])


def parse_bundle(raw: bytes, width: int) -> tuple[bytes, ...]:
    """The entries of a bundle of this width.

    Raises TileError if it does not hold exactly so many, or anything stands behind them.
    """
    entries: list[bytes] = []
    position = 0
    while position < len(raw):
        start = position + 2
        position = start + int.from_bytes(raw[position:start], "big")
        if start > len(raw) or position > len(raw):
            raise TileError("the bundle ends within an entry")
        entries.append(raw[start:position])
    if len(entries) != width:
        raise TileError(f"the bundle holds {len(entries)} entries instead of {width}")
    return tuple(entries)
