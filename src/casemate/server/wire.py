"""The wire between the owner and a worker: messages one after the other on a pair of sockets.

A message is its length in four bytes, big-endian, then MessagePack. Each kind is a type of its own,
so that what does not fit is refused where it arrives. What is said in one turn of the event loop
leaves together.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

LONGEST = 64 << 20  # bytes of a message: a question, its conversation or an answer, sealed
_LENGTH = struct.Struct(">I")

_encode = msgspec.msgpack.Encoder().encode
T = TypeVar("T")


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What one end says to the other."""


class TooLong(Exception):
    """A message above ``LONGEST``; nothing of it was sent."""


def framed(message: Message) -> bytes:
    """A message as it goes over the wire. Raises TooLong."""
    content = _encode(message)
    if len(content) > LONGEST:
        raise TooLong
    return _LENGTH.pack(len(content)) + content


class Wire(asyncio.Protocol, Generic[T]):
    """One end. ``hear`` is called with each message of type ``kinds``, ``ended`` once at the end.

    What cannot be read, and what ``hear`` raises, ends the wire: ``ended`` is told why.
    """

    def __init__(
        self,
        kinds: Any,
        hear: Callable[[T], None],
        ended: Callable[[Exception | None], None],
    ) -> None:
        self._decode: Callable[[memoryview], T] = msgspec.msgpack.Decoder(kinds).decode
        self._hear = hear
        self._ended = ended
        self._came = bytearray()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self.problem: Exception | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        came, at = self._came, 0
        came += data
        try:
            with memoryview(came) as view:
                while len(came) - at >= _LENGTH.size:
                    (length,) = _LENGTH.unpack_from(view, at)
                    if length > LONGEST:
                        raise TooLong
                    end = at + _LENGTH.size + length
                    if end > len(came):
                        break
                    with view[at + _LENGTH.size : end] as content:
                        message = self._decode(content)
                    at = end
                    self._hear(message)
        except Exception as problem:
            self.problem = problem
            self.abort()
            return
        del came[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        self._ended(self.problem)

    @property
    def open(self) -> bool:
        """Whether anybody is at the other end."""
        return self._transport is not None and not self._transport.is_closing()

    def say(self, message: Message) -> None:
        """Send a message; to nobody if the wire has ended. In its event loop. Raises TooLong."""
        content = framed(message)
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(content)

    def close(self) -> None:
        """End it, once what was said is sent."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        if self._unsent and self._transport is not None:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()


def first(connection: socket.socket, kind: type[T]) -> T:
    """The first message, before there is an event loop. Raises EOFError if none comes."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    return msgspec.msgpack.decode(_exactly(connection, length), type=kind)


def _exactly(connection: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length:
        piece = connection.recv(length - len(content))
        if not piece:
            raise EOFError
        content += piece
    return content


async def connected(wire: Wire[T], connection: socket.socket) -> Wire[T]:
    """``wire`` on a connected socket."""
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    await loop.connect_accepted_socket(lambda: wire, connection)
    return wire
