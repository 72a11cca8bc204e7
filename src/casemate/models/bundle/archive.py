"""The frame of a bundle: a tar archive in which a name and a size leave no byte to chance.

Format: POSIX.1-2024 pax, written as ustar wherever that can say it. Everything that a header could
also say (owners, times, links, devices) has one value here, so that a reader compares headers
instead of interpreting them: what is altered, a link or a device is simply not the header that
belongs there.
"""

from __future__ import annotations

import re

BLOCK = 512
END = bytes(2 * BLOCK)
_MTIME = 315_532_800  # 1980-01-01: some tools dislike the beginning of 1970
_MOST_OCTAL = 8**11 - 1  # bytes; above it the size stands in an extended header
_PAX_NAME = "PaxHeader/member"


def header(name: str, size: int) -> bytes:
    """The header of one regular file, with an extended one before it where ustar is too narrow."""
    plain = name.isascii() and len(name) <= 100
    records = {}
    if not plain:
        records["path"] = name
    if size > _MOST_OCTAL:
        records["size"] = str(size)
    if not records:
        return _ustar(name, size, "0")
    extended = b"".join(_record(key, value) for key, value in records.items())
    short = re.sub(r"[^A-Za-z0-9._/-]", "_", name)[:100]
    return (
        _ustar(_PAX_NAME, len(extended), "x")
        + extended
        + padding(len(extended))
        + _ustar(name if plain else short, size if "size" not in records else 0, "0")
    )


def padding(size: int) -> bytes:
    """What fills the last block of ``size`` bytes."""
    return bytes(-size % BLOCK)


def size_of(block: bytes) -> int:
    """The size that a ustar header states. Raises ValueError for any but a plain one."""
    found = re.fullmatch(rb"([0-7]{11})\0", block[124:136])
    if found is None:
        raise ValueError("no plain size")
    return int(found.group(1), 8)


def _ustar(name: str, size: int, kind: str) -> bytes:
    fields = (
        name.encode("ascii").ljust(100, b"\0"),
        b"0000444\0",  # to read, and nothing else
        b"0000000\0",
        b"0000000\0",
        b"%011o\0" % size,
        b"%011o\0" % _MTIME,
        b" " * 8,  # the checksum, counted as spaces
        kind.encode("ascii"),
        bytes(100),
        b"ustar\0" + b"00",
        bytes(64),
        b"0000000\0",
        b"0000000\0",
    )
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _record(key: str, value: str) -> bytes:
    """A record of an extended header, which begins with its own length."""
    rest = f" {key}={value}\n".encode()
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest
