"""A request that is handed on is the same at the other end, and costs no more room there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from casemate.api.tls import PEER
from casemate.server.tunnel import Begun, Mouth, Tunnel
from casemate.server.wire import framed

SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "POST",
    "scheme": "https",
    "path": "/a b",
    "raw_path": b"/a%20b",
    "query_string": b"c=d",
    "root_path": "",
    "headers": [(b"host", b"x"), (b"x-odd", b"\xff")],
    "client": ("10.0.0.1", 40_000),
    "server": ("127.0.0.1", 8470),
    "state": {},
    PEER: "10.0.0.2",
    "extensions": {"tls": {"client_cert_chain": ("-----BEGIN…",)}},
}
DISCONNECT: Message = {"type": "http.disconnect"}


def part(body: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def start(status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": [(b"a", b"b")]}


def body(content: bytes, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


class Client:
    """A client as a worker's server has it. ``room``: messages that it takes before it is full."""

    def __init__(self, *parts: Message, room: int = 1 << 30) -> None:
        self.parts = list(parts)
        self.asked = 0
        self.got: list[Message] = []
        self.gone = asyncio.Event()
        self.told = asyncio.Event()
        self.room = asyncio.Semaphore(room)

    async def receive(self) -> Message:
        self.asked += 1
        if self.parts:
            return self.parts.pop(0)
        await self.gone.wait()
        return DISCONNECT

    async def send(self, message: Message) -> None:
        await self.room.acquire()
        self.got.append(message)
        if message.get("body"):
            self.told.set()

    @property
    def content(self) -> bytes:
        return b"".join(one.get("body", b"") for one in self.got)


Do = Callable[[Tunnel, Mouth], Awaitable[None]]


def between(app: ASGIApp, do: Do) -> None:
    async def act() -> None:
        mine, theirs = socket.socketpair()
        mouth = Mouth(theirs, app)
        try:
            await asyncio.wait_for(do(Tunnel(mine), mouth), 30)
        finally:
            mine.close()
            await mouth.close()

    asyncio.run(act())


async def whole(receive: Receive) -> bytes:
    content, more = b"", True
    while more:
        message = await receive()
        content += message["body"]
        more = message["more_body"]
    return content


def test_scope_and_body_and_answer_come_through_unchanged() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend((dict(scope), await whole(receive)))
        await send(start(418))
        await send(body(b"tea", more=True))
        await send(body(b"pot" * 400_000))

    async def do(tunnel: Tunnel, mouth: Mouth) -> None:
        client = Client(part(b"x" * 700_000, more=True), part(b"y"))
        await tunnel(dict(SCOPE), client.receive, client.send)
        assert client.got[0] == start(418)
        assert client.content == b"tea" + b"pot" * 400_000
        assert [one["more_body"] for one in client.got[1:]][-2:] == [True, False]

    between(app, do)
    scope, sent = seen
    assert scope == SCOPE
    assert sent == b"x" * 700_000 + b"y"


def test_nothing_of_a_body_is_read_that_is_not_asked_for() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/once":
            await receive()
        await send(start(413))
        await send(body(b""))

    async def do(tunnel: Tunnel, mouth: Mouth) -> None:
        for path, asked in (("/never", 0), ("/once", 1)):
            client = Client(*[part(b"x", more=True)] * 10)
            await tunnel({**SCOPE, "path": path}, client.receive, client.send)
            assert client.asked == asked
            assert client.got[0]["status"] == 413

    between(app, do)


def test_an_answer_waits_with_its_writer_while_the_client_does_not_read() -> None:
    written = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal written
        await send(start())
        for number in range(400):
            await send(body(b"x" * 100_000, more=number < 399))
            written += 1

    async def do(tunnel: Tunnel, mouth: Mouth) -> None:
        client = Client(room=3)
        passing = asyncio.create_task(tunnel(dict(SCOPE), client.receive, client.send))
        await client.told.wait()
        for _ in range(2_000):  # turns of the event loop, in which all could have been written
            await asyncio.sleep(0)
        assert written < 40
        for _ in range(1000):
            client.room.release()
        await passing
        assert len(client.content) == 40_000_000

    between(app, do)


def test_a_client_that_goes_is_seen_to_go() -> None:
    gone: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"first", more=True))
        gone.extend([await receive(), await receive()])

    async def do(tunnel: Tunnel, mouth: Mouth) -> None:
        client = Client()
        passing = asyncio.create_task(tunnel(dict(SCOPE), client.receive, client.send))
        await client.told.wait()
        client.gone.set()
        await passing

    between(app, do)
    assert gone == [DISCONNECT, DISCONNECT]


def test_with_a_worker_all_its_clients_are_gone() -> None:
    gone: list[Message] = []
    over: list[asyncio.Event] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        gone.append(await receive())
        await send(start())  # to nobody
        await send(body(b"x"))
        over[0].set()

    async def do(tunnel: Tunnel, mouth: Mouth) -> None:
        over.append(asyncio.Event())
        reader, writer = await tunnel._connected()
        writer.write(framed(Begun.of(SCOPE)))
        await reader.readexactly(4)  # the application wants to read
        writer.transport.abort()
        await over[0].wait()

    between(app, do)
    assert gone == [DISCONNECT]


def test_a_worker_that_is_to_stop_lets_what_is_open_say_its_last_words() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"first ", more=True))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await send(body(b"last"))

    async def do(tunnel: Tunnel, mouth: Mouth) -> None:
        client = Client()
        passing = asyncio.create_task(tunnel(dict(SCOPE), client.receive, client.send))
        await client.told.wait()
        passing.cancel()
        await passing
        assert client.content == b"first last"

    between(app, do)


def test_an_application_that_breaks_off_ends_the_answer_without_its_end() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"half", more=True))
        raise ValueError("in the middle")

    async def do(tunnel: Tunnel, mouth: Mouth) -> None:
        client = Client()
        await tunnel(dict(SCOPE), client.receive, client.send)
        assert client.got[-1]["more_body"] is True

    between(app, do)


@pytest.mark.parametrize("content", [b"\xff" * 8, b"\x00\x00\x00\x01\xc0", b"\x7f\xff\xff\xff"])
def test_what_is_no_request_is_not_answered(content: bytes) -> None:
    asked: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope)

    async def do(tunnel: Tunnel, mouth: Mouth) -> None:
        reader, writer = await tunnel._connected()
        writer.write(content)
        assert await reader.read() == b""
        writer.close()

    between(app, do)
    assert asked == []


def test_many_requests_at_once_each_have_their_own_way() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        content = await whole(receive)
        await send(start())
        await send(body(scope["path"].encode() + content))

    async def do(tunnel: Tunnel, mouth: Mouth) -> None:
        clients = [Client(part(b"%d" % number)) for number in range(200)]
        await asyncio.gather(
            *(
                tunnel({**SCOPE, "path": f"/{number}="}, client.receive, client.send)
                for number, client in enumerate(clients)
            )
        )
        for number, client in enumerate(clients):
            assert client.content == b"/%d=%d" % (number, number)

    between(app, do)
