"""Calls of the leak campaign: through the whole application without a socket, or over one."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

import h11
import uvicorn

from casemate import api

_CHANGING = ("date", "x-casemate-run", "x-request-id")
RUN = re.compile(rb"r_[0-9a-f]{20}")
# What a server adds, whoever is asked about.
_OF_THE_WIRE = ("connection", "transfer-encoding", "server")


@dataclass(frozen=True)
class Came:
    """What came back."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    began: float  # ``time.monotonic``
    seconds: float
    route: str = ""

    def plain(self, *names: str) -> tuple[object, ...]:
        """What has to be the same whether something is hidden or absent, without its ``names``."""
        text = RUN.sub(b"RUN", self.body)
        headers = tuple(one for one in self.headers if one[0] not in _CHANGING)
        for name in names:
            text = text.replace(name.encode(), b"NAME")
            headers = tuple((key, value.replace(name, "NAME")) for key, value in headers)
        return self.status, headers, text


def settled(came: tuple[object, ...]) -> tuple[object, ...]:
    """Without what differs from one run to the next: ids, times, places in the ledger."""
    status, headers, body = came
    assert isinstance(body, bytes)
    text = re.sub(
        rb'"(created|created_at|completed_at|admitted_entry|finished_entry|entry)":\s*\d+',
        rb'"\1":0',
        body,
    )
    text = re.sub(rb"#[0-9a-f]{16}", b"#FENCE", text)
    text = re.sub(rb"\b(resp|rs|msg|chatcmpl|cmpl)[_-][0-9a-f]{20,40}", b"ID", text)
    return status, [one for one in headers if one[0] != "content-length"], text  # type: ignore[attr-defined]


class Way(Protocol):
    """How a call reaches the application."""

    async def __call__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Came:
        """Make it."""


class Inside:
    """Without a socket, as the server would hand it over."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Came:
        plain, _, query = path.partition("?")
        scope: dict[str, Any] = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": unquote(plain), "root_path": "", "state": {},
            "raw_path": plain.encode("latin-1", "replace"),
            "query_string": query.encode("latin-1", "replace"),
            "headers": [(key.encode(), value.encode("latin-1")) for key, value in headers.items()],
            "client": ("192.0.2.7", 50000), "server": ("casemate.example", 80),
        }  # fmt: skip
        given = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Any] = []

        async def receive() -> Any:
            if given:
                return given.pop()
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        began, tick = time.monotonic(), time.perf_counter()
        await self._app(scope, receive, send)
        took = time.perf_counter() - tick
        told = tuple(
            sorted(
                (key.decode().lower(), value.decode("latin-1")) for key, value in sent[0]["headers"]
            )
        )
        content = b"".join(message.get("body", b"") for message in sent[1:])
        route = getattr(scope.get("route"), "path", "")
        return Came(sent[0]["status"], told, content, began, took, route)


class Wire:
    """Over a connection of its own to a real server. The address is sent as it stands."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __call__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Came:
        asked = h11.Connection(h11.CLIENT)
        head = [*headers.items(), ("connection", "close")]
        if body:
            head.append(("content-length", str(len(body))))
        out = asked.send(h11.Request(method=method, target="/", headers=head))
        assert out is not None
        # Not checked by anybody on the way, so that crooked ones come to the server.
        out = out.replace(b" / ", b" " + path.encode("latin-1", "replace") + b" ", 1)
        if body:
            out += asked.send(h11.Data(body)) or b""
        out += asked.send(h11.EndOfMessage()) or b""
        began, tick = time.monotonic(), time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(out)
            start, content = await _answer(asked, reader)
        finally:
            writer.close()
        told = tuple(
            sorted(
                (key.decode().lower(), value.decode("latin-1"))
                for key, value in start.headers
                if key.decode().lower() not in _OF_THE_WIRE
            )
        )
        return Came(start.status_code, told, content, began, time.perf_counter() - tick)


async def _answer(
    asked: h11.Connection, reader: asyncio.StreamReader
) -> tuple[h11.Response, bytes]:
    start, content = None, b""
    while True:
        event = asked.next_event()
        if event is h11.NEED_DATA:
            asked.receive_data(await reader.read(1 << 16))
        elif isinstance(event, h11.Response):
            start = event
        elif isinstance(event, h11.Data):
            content += event.data
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            assert start is not None
            return start, content


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[Wire]:
    """The application behind the product's own HTTP server, on loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    http = api.connection.connections(api.connection.Bounds(connections=256))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan="off",
            http=http,  # type: ignore[arg-type]
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
        )
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    running = asyncio.create_task(server._serve([listener]))
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.01)
        yield Wire(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await running
        listener.close()
