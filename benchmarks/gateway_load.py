"""What stands on both sides of a gateway: clients that ask, and a model server that is a script.

Both are protocols on bare sockets, so that they cost little beside what is measured. Run as
``gateway_load.py upstream`` (prints its port) or ``gateway_load.py ask|stream|hold SPEC`` (prints
figures as JSON). The model server takes its orders from the text it is asked: ``pieces:100
pause:0.5`` streams so many pieces, with so many seconds between two of them.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import Any

_ORDER = re.compile(rb"pieces:(\d+) pause:([0-9.]+)")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_STREAMED = re.compile(rb'"stream": ?true')
_ANSWER = {
    "id": "chatcmpl-mock",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "mock",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "The fee is 12 euros for adults."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 220, "completion_tokens": 9, "total_tokens": 229},
}


def chunk(delta: dict[str, str], **more: Any) -> bytes:
    """One event of a stream, as OpenAI spells it."""
    choice = {"index": 0, "delta": delta, "finish_reason": more.pop("finish", None)}
    event = {
        "id": "chatcmpl-mock",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "mock",
        "choices": [choice] if delta or choice["finish_reason"] else [],
        **more,
    }
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def framed(body: bytes) -> bytes:
    """A chunk of a body of unknown length (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(body), body)


_WHOLE = json.dumps(_ANSWER).encode()
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_WHOLE = _HEAD % len(_WHOLE) + _WHOLE
_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
_FIRST = framed(chunk({"role": "assistant", "content": ""}))
_PIECE = framed(chunk({"content": "The fee "}))
_LAST = (
    framed(chunk({}, finish="stop"))
    + framed(chunk({}, usage=_ANSWER["usage"]))
    + framed(b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)


class Upstream(asyncio.Protocol):
    """Answers chat completions; one request at a time on a connection."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: Any = None
        self._streaming: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._streaming is not None:
            self._streaming.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._buffer, 0, end + 2)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        if not _STREAMED.search(body):
            self._transport.write(_WHOLE)
            return
        order = _ORDER.search(body)
        if order is None:  # as fast as a model server can be: all at once
            self._transport.write(_STREAM + _FIRST + _PIECE * 4 + _LAST)
            return
        self._transport.write(_STREAM + _FIRST)
        # One write a piece, as a model makes them.
        pieces = self._pieces(int(order[1]), float(order[2]))
        self._streaming = asyncio.get_running_loop().create_task(pieces)

    async def _pieces(self, pieces: int, pause: float) -> None:
        for _ in range(pieces):
            self._transport.write(_PIECE)
            await asyncio.sleep(pause)
        self._transport.write(_LAST)


@dataclass
class Spec:
    """What clients do: where, with which headers and body, how many, for how long or how often."""

    host: str
    port: int
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    clients: int
    seconds: float = 0.0
    times: int = 0  # requests of each client; 0: until the seconds are over

    @property
    def request(self) -> bytes:
        """One request, whole."""
        content = json.dumps(self.body).encode()
        headers = {
            "host": f"{self.host}:{self.port}",
            "content-type": "application/json",
            "content-length": str(len(content)),
            **self.headers,
        }
        lines = [
            f"POST {self.path} HTTP/1.1",
            *(f"{name}: {text}" for name, text in headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + content


@dataclass
class Tally:
    """What clients saw."""

    latencies: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)  # to the first piece of text
    pieces: int = 0
    errors: int = 0
    sample: str = ""


class Client(asyncio.Protocol):
    """Asks again and again on one connection; ``done`` once it has asked often enough."""

    def __init__(self, spec: Spec, tally: Tally, until: float) -> None:
        self._request = spec.request
        self._streams = bool(spec.body.get("stream"))
        self._left = spec.times or -1
        self._until = until
        self._tally = tally
        self._buffer = bytearray()
        self._length: int | None = None  # of the whole response; 0: chunked; None: not known yet
        self._began = 0.0
        self._told = False
        self._transport: Any = None
        self.opened = asyncio.get_running_loop().create_future()  # first piece of the first stream
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._tally.errors += 1
            self.done.set_result(None)
        if not self.opened.done():
            self.opened.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._length is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not self._buffer.startswith(b"HTTP/1.1 200"):
                self._tally.errors += 1
                self._tally.sample = self._buffer[:600].decode("utf-8", "replace")
            length = _LENGTH.search(self._buffer, 0, end + 2)
            self._length = end + 4 + int(length[1]) if length else 0
        if (
            self._streams
            and not self._told
            and b'"content":"The' in self._buffer.replace(b": ", b":")
        ):
            self._told = True
            self._tally.first.append(time.perf_counter() - self._began)
            if not self.opened.done():
                self.opened.set_result(None)
        if (self._length and len(self._buffer) >= self._length) or (
            self._length == 0 and self._buffer.endswith(b"0\r\n\r\n")
        ):
            self._end()

    def _ask(self) -> None:
        self._buffer.clear()
        self._length, self._told = None, False
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def _end(self) -> None:
        now = time.perf_counter()
        self._tally.latencies.append(now - self._began)
        if self._streams:
            self._tally.pieces += self._buffer.replace(b": ", b":").count(b'"content":"The')
        self._left -= 1
        if self._left == 0 or (self._left < 0 and now >= self._until):
            self.done.set_result(None)
            self._transport.close()
        else:
            self._ask()


async def load(spec: Spec) -> dict[str, Any]:
    """Requests of all clients: how many a second, and how long they took."""
    tally, loop = Tally(), asyncio.get_running_loop()
    began = time.perf_counter()
    clients = []
    for _ in range(spec.clients):
        _, client = await loop.create_connection(
            lambda: Client(spec, tally, began + spec.seconds), spec.host, spec.port
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    took = time.perf_counter() - began
    return figures(tally, took)


async def hold(spec: Spec) -> None:
    """Open streams and keep them: tells when each has had its first piece; ends with stdin.

    A hundred at a time, because a flood of one client is something that gateways refuse.
    """
    tally, loop = Tally(), asyncio.get_running_loop()
    for start in range(0, spec.clients, 100):
        opened = []
        for _ in range(start, min(start + 100, spec.clients)):
            _, client = await loop.create_connection(
                lambda: Client(spec, tally, 0.0), spec.host, spec.port
            )
            opened.append(client.opened)
        await asyncio.wait_for(asyncio.gather(*opened), 300)
    print(json.dumps(figures(tally, 1.0)), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def figures(tally: Tally, took: float) -> dict[str, Any]:
    """A tally in numbers: seconds, and counts a second."""
    ordered = sorted(tally.latencies) or [0.0]
    return {
        "requests": len(tally.latencies),
        "rate": len(tally.latencies) / took,
        "p50": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "first": statistics.median(tally.first) if tally.first else 0.0,
        "pieces": tally.pieces / took,
        "errors": tally.errors,
        "sample": tally.sample,
    }


async def serve() -> None:
    """The model server, until it is killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    if sys.argv[1] == "upstream":
        asyncio.run(serve())
        return
    spec = Spec(**json.loads(sys.argv[2]))
    if sys.argv[1] == "hold":
        asyncio.run(hold(spec))
    else:
        print(json.dumps(asyncio.run(load(spec))))


if __name__ == "__main__":
    main()
