"""Frames of HTTP/2 as they come: cut out, bounded and counted before h2 reads them.

RFC 9113, sections 3.4, 4.1, 6.8, 6.10 and 10.5. h2 waits for a frame however long it says that it
is, and counts nothing. What holds off floods of frames that ask for work and bring none is here:
CVE-2019-9512 to 9518, CVE-2023-44487 (streams opened and reset), CVE-2024-27316 (CONTINUATION).
"""

from __future__ import annotations

import struct

from h2.errors import ErrorCodes

from casemate.errors import CasemateError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_BYTES = 16_384  # of one frame's payload at most; RFC 9113 lets nobody allow less
RESET = 3  # what a stream that is reset costs of a client's patience

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PUSH_PROMISE = 0, 1, 3, 4, 5
_GOAWAY, _CONTINUATION = 7, 9
_ACK = _END_STREAM = 0x1
_END_HEADERS, _PADDED = 0x4, 0x8
_HEAD = struct.Struct(">HBBBL")  # length (in two parts), type, flags, stream
_LAST_STREAM = struct.Struct(">LL")
_PADDING = 256  # a DATA frame that is not longer, and padded, may hold nothing else
_PIECES = 32  # of one header block
_SETTINGS_BYTES = 64 * 6  # sixty-four settings; ten are registered
_PATIENCE = 1000
_PATIENCE_A_SECOND = 100.0


class Unbearable(CasemateError):
    """A connection that is not worth going on with; ``code`` says why (RFC 9113, section 7)."""

    def __init__(self, code: ErrorCodes, what: str) -> None:
        super().__init__(what, "Open another connection.")
        self.code = code


class Patience:
    """How much a client may ask for that answers nothing, in frames; a bucket that fills again.

    A frame that we send fills it too: who is sent much has windows to open and pings to send.
    """

    def __init__(self, now: float) -> None:
        self._left = float(_PATIENCE)
        self._filled = now

    def earn(self, frames: int) -> None:
        """So many are allowed on top."""
        self._left = min(_PATIENCE, self._left + frames)

    def spend(self, frames: int, now: float) -> None:
        """Raises Unbearable once there is none left."""
        self._left = min(_PATIENCE, self._left + (now - self._filled) * _PATIENCE_A_SECOND)
        self._filled = now
        self._left -= frames
        if self._left < 0:
            raise Unbearable(
                ErrorCodes.ENHANCE_YOUR_CALM, "Too many frames came that ask for no answer."
            )


class Intake:
    """What one client sends, cut into frames. ``block``: bytes that a header block may have."""

    def __init__(self, block: int, patience: Patience, now: float) -> None:
        self.since: float | None = now  # when that began which is not whole yet, a body apart
        self.greeted = False  # its SETTINGS came
        self.leaving = False  # its GOAWAY came
        self.bodies = 0  # DATA frames so far
        self._patience = patience
        self._most = block
        self._rest = bytearray()
        self._prefaced = False
        self._pieces = 0  # of the header block that is not complete
        self._block = 0  # bytes of it

    def take(self, data: bytes, now: float) -> bytes:
        """All that is whole by now, for h2, without GOAWAY. Raises Unbearable.

        GOAWAY is kept from h2, which would send nothing after it: it is about streams that we open
        and open none, so that what its sender asked for is still answered.
        """
        rest = self._rest
        rest += data
        begin, at = 0, self._after_preface()
        if not self._prefaced:
            return b""
        whole: list[bytearray] = []
        while len(rest) - at >= _HEAD.size:
            high, low, kind, flags, stream = _HEAD.unpack_from(rest, at)
            length = high << 8 | low
            if length > FRAME_BYTES:
                raise Unbearable(ErrorCodes.FRAME_SIZE_ERROR, "A frame is too long.")
            end = at + _HEAD.size + length
            if end > len(rest):
                break
            if kind == _GOAWAY and not stream & 0x7FFF_FFFF and length >= 8 and not self._pieces:
                whole.append(rest[begin:at])
                begin, self.leaving = end, True
            self._weigh(kind, flags, length, now)
            at = end
        whole.append(rest[begin:at])
        del rest[:at]
        self._wait(now)
        return b"".join(whole)

    def waiting(self, stream: int) -> int:
        """Bytes that are here of a DATA frame of ``stream`` that is not whole."""
        if self._pieces or not self._in_data():
            return 0
        return len(self._rest) if _HEAD.unpack_from(self._rest)[4] & 0x7FFF_FFFF == stream else 0

    def _after_preface(self) -> int:
        if self._prefaced:
            return 0
        if not PREFACE.startswith(self._rest[: len(PREFACE)]):
            raise Unbearable(ErrorCodes.PROTOCOL_ERROR, "This is not HTTP/2.")
        self._prefaced = len(self._rest) >= len(PREFACE)
        return len(PREFACE) if self._prefaced else 0

    def _weigh(self, kind: int, flags: int, length: int, now: float) -> None:
        """Count one frame. Raises Unbearable."""
        if not self.greeted:
            if kind != _SETTINGS or flags & _ACK:
                raise Unbearable(ErrorCodes.PROTOCOL_ERROR, "The first frame is not SETTINGS.")
            self.greeted = True
        self.bodies += kind == _DATA
        if kind in (_HEADERS, _CONTINUATION):
            self._lengthen(kind, flags, length, now)
        elif kind == _PUSH_PROMISE:
            raise Unbearable(ErrorCodes.PROTOCOL_ERROR, "A client cannot push.")
        elif kind == _SETTINGS and length > _SETTINGS_BYTES:
            raise Unbearable(ErrorCodes.ENHANCE_YOUR_CALM, "Too many settings came.")
        elif kind == _RST_STREAM:
            self._patience.spend(RESET, now)
        elif kind != _DATA or _brings_nothing(flags, length):
            self._patience.spend(1, now)
        if not self._pieces:
            self.since = None

    def _lengthen(self, kind: int, flags: int, length: int, now: float) -> None:
        """Count one frame of a header block."""
        if kind == _HEADERS:
            self._pieces, self._block, self.since = 1, length, now
        else:
            self._pieces, self._block = self._pieces + 1, self._block + length
        if self._block > self._most or self._pieces > _PIECES:
            raise Unbearable(ErrorCodes.ENHANCE_YOUR_CALM, "The headers are far too large.")
        if flags & _END_HEADERS:
            self._pieces = 0

    def _wait(self, now: float) -> None:
        if self._pieces:
            return
        if not self._rest or self._in_data():
            self.since = None if self.greeted else self.since
        elif self.since is None:
            self.since = now

    def _in_data(self) -> bool:
        return len(self._rest) >= _HEAD.size and self._rest[3] == _DATA


def _brings_nothing(flags: int, length: int) -> bool:
    """Whether a DATA frame is empty, or padding alone as far as its length tells."""
    if flags & _END_STREAM:
        return False
    return length == 0 or bool(flags & _PADDED and length <= _PADDING)


def headers(stream: int, block: bytes) -> bytes:
    """The frames of a header block, the last of which says so."""
    made, kind = [], _HEADERS
    while len(block) > FRAME_BYTES:
        made.append(_frame(kind, 0, stream, block[:FRAME_BYTES]))
        block, kind = block[FRAME_BYTES:], _CONTINUATION
    return b"".join([*made, _frame(kind, _END_HEADERS, stream, block)])


def goaway(last_stream: int, code: int, what: str) -> bytes:
    """The frame that ends a connection: ``last_stream`` is the last that was or will be answered.

    Made here because h2, once it has made one, answers nothing more.
    """
    return _frame(_GOAWAY, 0, 0, _LAST_STREAM.pack(last_stream, code) + what.encode())


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    length = len(payload)
    return _HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload
