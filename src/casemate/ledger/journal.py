"""A journal: one file in which a batch is made durable by one write and one sync.

The file is written over, never grown, so a sync of its data changes nothing else on the disk. A
record that was cut short, or belongs to an earlier use of the file, ends what is read: each record
is checked whole, and says what it follows.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from casemate.ledger.durable import replace_file

ROOM = 2 << 20
"""Bytes of one journal."""

_MAGIC = b"cmj1"
_CHECK_BYTES = 16
_HEAD = len(_MAGIC) + 4 + _CHECK_BYTES  # magic, length of what follows, SHA-256 of it, cut


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """One file of a batch: ``content`` behind the first ``kept`` bytes of the file ``of``."""

    name: str
    of: str
    kept: int
    content: bytes


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One batch. ``follows``: SHA-256 of the checkpoint before it."""

    follows: bytes
    pieces: tuple[Piece, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """As it lies in a journal."""
        content = _ENCODER.encode(self)
        return b"".join((_MAGIC, len(content).to_bytes(4, "big"), _check(content), content))

    @property
    def size(self) -> int:
        """Entries that its checkpoint counts; -1 if that is none."""
        try:
            return int(self.checkpoint.split(b"\n", 2)[1])
        except (IndexError, ValueError):
            return -1


class Journal:
    """One journal, to append to. Methods raise OSError as the system gave it."""

    def __init__(self, path: Path) -> None:
        """Make the file anew, full of zeros and durable; its folder is the caller's to sync.

        Written, not reserved: the first use of reserved room changes where the disk keeps things,
        and so costs more than a sync of data.
        """
        self._path = path
        replace_file(path, bytes(ROOM))
        self._descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._file = os.fstat(self._descriptor).st_ino
        self._end = 0
        self._closed = False

    @property
    def room(self) -> int:
        """Bytes that are left."""
        return ROOM - self._end

    @property
    def ours(self) -> bool:
        """Whether the file of this name is still the one that is written to."""
        try:
            return os.stat(self._path, follow_symlinks=False).st_ino == self._file
        except FileNotFoundError:
            return False

    def append(self, record: bytes) -> None:
        """Write an encoded record; it is durable on return. After OSError, that is not known."""
        rest, position = memoryview(record), self._end
        while rest:
            written = os.pwrite(self._descriptor, rest, position)
            rest, position = rest[written:], position + written
        os.fdatasync(self._descriptor)
        self._end = position

    def restart(self) -> None:
        """Begin again at its beginning, once nobody needs what it holds."""
        self._end = 0

    def close(self) -> None:
        """Close it; what it holds stays. May be called twice."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(OSError):
                os.close(self._descriptor)

    def remove(self) -> None:
        """Remove the file, unless it is another one by now, and close it. May be called twice."""
        # Open until it is gone: as long as it is, no other file can have its number.
        if not self._closed and self.ours:
            self._path.unlink()
        self.close()


def read(path: Path) -> Iterator[Record]:
    """The records of a journal that are whole; nothing if there is no such file.

    One that is not whole is passed over where its length can be believed, so that a damaged record
    does not hide those behind it. Raises OSError as the system gave it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    position = 0
    while content[position : position + len(_MAGIC)] == _MAGIC:
        start = position + _HEAD
        length = int.from_bytes(content[position + len(_MAGIC) : start - _CHECK_BYTES], "big")
        held = content[start : start + length]
        if _check(held) == content[start - _CHECK_BYTES : start]:
            with contextlib.suppress(msgspec.DecodeError):
                yield _DECODER.decode(held)
        position = start + length


def _check(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:_CHECK_BYTES]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Record)
