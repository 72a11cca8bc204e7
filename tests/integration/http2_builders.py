"""A server that speaks HTTP/2 on loopback, and a client of it that can also break every rule."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from uvicorn.server import ServerState

from casemate.api.bounds import Bounds
from casemate.api.negotiation import connections

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE = range(6)
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(6, 10)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATIENT = Bounds()
QUICK = Bounds(header_seconds=0.3, look=0.1, body_pace=1000, unread=0.1, linger=0.1, idle=0.3)

Fields = list[tuple[bytes, bytes]]


def a_frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def a_request(path: str = "/", *, method: str = "GET", **more: str) -> Fields:
    """The fields of a request; ``more``: headers, with ``_`` for ``-``."""
    head = [
        (b":method", method.encode()),
        (b":scheme", b"http"),
        (b":authority", b"casemate.example"),
        (b":path", path.encode()),
    ]
    return head + [(name.replace("_", "-").encode(), text.encode()) for name, text in more.items()]


@dataclass
class Answer:
    """What came back on one stream."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    informed: list[int] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None


class Client:
    """One connection. ``reads``: whether windows are opened again for what came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.reads = True
        self.h2 = H2Connection(
            H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self.answers: dict[int, Answer] = {}
        self.events: list[Event] = []
        self.goaway: ConnectionTerminated | None = None
        self.closed = False

    def begin(self) -> None:
        self.h2.initiate_connection()
        self.flush()

    def ask(self, fields: Fields, body: bytes | None = None, *, ends: bool = True) -> int:
        """Begin a stream; with ``body`` as far as the windows allow at once."""
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, fields, end_stream=body is None and ends)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=ends)
        self.flush()
        return stream

    def raw(self, data: bytes) -> None:
        self.flush()
        self.writer.write(data)

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    async def upload(self, stream: int, body: bytes, *, ends: bool = True) -> None:
        """Send all of ``body``, as windows open."""
        while body:
            size = min(self.h2.local_flow_control_window(stream), 16_384, len(body))
            if size:
                self.h2.send_data(stream, body[:size])
                body = body[size:]
                self.flush()
                await self.writer.drain()
            else:
                await self.hear()
        if ends:
            self.h2.end_stream(stream)
            self.flush()

    async def hear(self) -> bool:
        """Take in what comes next; whether anything did."""
        data = await self.reader.read(65_536)
        if not data:
            self.closed = True
            return False
        for event in self.h2.receive_data(data):
            self._note(event)
        self.flush()
        return True

    async def until(self, done: Callable[[], object]) -> None:
        while not done():
            if not await self.hear():
                assert done(), "the server closed the connection"

    async def answer(self, stream: int) -> Answer:
        """The answer, once it is over."""
        await self.until(lambda: self.answers[stream].over)
        return self.answers[stream]

    async def end(self) -> ConnectionTerminated:
        """The GOAWAY with which the connection ends."""
        while await self.hear():
            pass
        assert self.goaway is not None
        return self.goaway

    def _note(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, ConnectionTerminated):
            self.goaway = event
        answer = self.answers.get(getattr(event, "stream_id", None) or 0)
        if answer is None:
            return
        if isinstance(event, InformationalResponseReceived):
            answer.informed.append(int(dict(event.headers)[b":status"]))
        elif isinstance(event, ResponseReceived):
            answer.headers = dict(event.headers)
            answer.status = int(answer.headers[b":status"])
        elif isinstance(event, DataReceived):
            answer.body += event.data
            if self.reads:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            answer.ended = True
        elif isinstance(event, StreamReset):
            answer.reset = event.error_code


@dataclass
class Serving:
    """A server. ``state``: uvicorn's."""

    port: int
    state: ServerState
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which nothing was said."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        self.writers.append(writer)
        return reader, writer

    async def client(self) -> Client:
        """A client that has said its preface and settings."""
        found = Client(*await self.connect())
        found.begin()
        return found


@asynccontextmanager
async def serving(app: Any, bounds: Bounds = PATIENT) -> AsyncIterator[Serving]:
    """``app`` on loopback, over both versions of HTTP. No exception may go unseen in it."""
    config = uvicorn.Config(app, lifespan="off", http=connections(bounds), log_config=None)  # type: ignore[arg-type]
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    unseen: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unseen.append(context))

    def made() -> asyncio.Protocol:
        return config.http_protocol_class(config, state, {})  # type: ignore[call-arg,return-value]

    server = await loop.create_server(made, "127.0.0.1", 0)
    made_here = Serving(server.sockets[0].getsockname()[1], state)
    try:
        yield made_here
    finally:
        server.close()
        for writer in made_here.writers:
            writer.transport.abort()
        await eventually(lambda: not state.connections)
        await asyncio.gather(*state.tasks)
    assert not unseen, unseen


def talk(body: Callable[[], Awaitable[Any]]) -> Any:
    """Run a conversation, which may not take for ever."""

    async def bounded() -> Any:
        async with asyncio.timeout(60):
            return await body()

    return asyncio.run(bounded())


async def eventually(done: Callable[[], object]) -> None:
    """Wait until ``done``, which nothing announces."""
    while not done():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
