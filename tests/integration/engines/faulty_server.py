"""A model server that does, byte for byte, what a test tells it to: also what no server should."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Self

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"
LAST = b"0\r\n\r\n"


def a_chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


def an_event(**delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"


def a_stream(words: Iterable[str]) -> bytes:
    """A whole response that says these words."""
    said = [a_chunk(an_event(content=word)) for word in words]
    return EVENTS + b"".join(said) + a_chunk(DONE) + LAST


def an_answer(body: bytes, *, status: str = "200 OK", headers: bytes = b"") -> bytes:
    """A whole response with a length."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + headers + b"\r\n" + body


class Peer:
    """One connection, as a script sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, piece: bytes) -> None:
        self._writer.write(piece)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        """Close it so that the other side gets a reset, with whatever was sent before."""
        with suppress(OSError):
            self._writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        self._writer.transport.abort()

    async def left(self) -> None:
        """Wait until the other side goes away."""
        with suppress(OSError):
            while await self._reader.read(1 << 16):
                pass

    async def request(self) -> tuple[bytes, bytes]:
        """The head and the body of the next request. Raises IncompleteReadError at the end."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0].strip()
        return head, await self._reader.readexactly(int(length or 0))


Script = Callable[[Peer], Awaitable[None]]


class FaultyServer:
    """Answers each request by ``script``, in the loop of the test; also ``probe``, for GET."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self._tls = tls
        self.probe: Script = says(an_answer(b'{"data":[]}'))
        self.heads: list[bytes] = []
        self.probes = 0
        self.served = 0  # connections
        self.open: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def address(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the port that it had."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, backlog=1024, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def turn_deaf(self) -> None:
        """Listen no more; what is connected stays."""
        self._server.close()

    async def stop(self) -> None:
        """Die: listen no more, and break every connection."""
        self._server.close()
        for task in list(self.open):
            task.cancel()
        await asyncio.gather(*self.open, return_exceptions=True)

    async def settled(self) -> None:
        """Wait until nobody is connected any more."""
        while self.open:
            await asyncio.wait(self.open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.open.add(task)
        self.served += 1
        peer = Peer(reader, writer)
        try:
            while True:
                head, _ = await peer.request()
                if head.startswith(b"GET"):
                    self.probes += 1
                    await self.probe(peer)
                else:
                    self.heads.append(head)
                    await self.script(peer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        except asyncio.CancelledError:
            peer.reset()
        finally:
            writer.close()
            self.open.discard(task)


def says(*pieces: bytes) -> Script:
    """Send these, and take the next request."""

    async def script(peer: Peer) -> None:
        for piece in pieces:
            await peer.send(piece)

    return script


def says_and_closes(*pieces: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await says(*pieces)(peer)
        peer.close()

    return script


def says_and_resets(*pieces: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await says(*pieces)(peer)
        peer.reset()

    return script


def says_and_stalls(*pieces: bytes) -> Script:
    """Send these, and nothing more until the other side goes away."""

    async def script(peer: Peer) -> None:
        await says(*pieces)(peer)
        await peer.left()

    return script


def says_for_ever(beginning: bytes, piece: bytes) -> Script:
    """Send the beginning, then the piece again and again until the other side goes away."""

    async def script(peer: Peer) -> None:
        await peer.send(beginning)
        while True:
            await peer.send(piece)
            await asyncio.sleep(0)

    return script
