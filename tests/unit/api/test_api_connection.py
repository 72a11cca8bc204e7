"""Connections that are slow, large or silent: dropped, and answered where that is possible."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from casemate.api import departure
from casemate.api.connection import Bounds, connections

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
QUICK = Bounds(header_seconds=0.05, look=0.05, body_pace=1000, unread=0.05, linger=5)
PATIENT = Bounds()


class App:
    """Reads the body, then says how long it was; ``/flood`` sends more than anybody reads.

    ``/deaf`` answers without reading; ``/stay`` until its client goes, of which it is told.
    """

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.begun = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun.set()
        if scope["path"] == "/flood":
            await self._flood(receive, send)
            return
        if scope["path"] == "/deaf":
            head = {"type": "http.response.start", "status": 413}
            await send({**head, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"no"})
            return
        if scope["path"] == "/stay":
            gone = asyncio.Event()
            scope[departure.KEY].when(gone.set)
            await gone.wait()
            self.ended.append("gone")
            return
        length = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.ended.append("gone")
                return
            length += len(message["body"])
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(length).encode()})
        self.ended.append("answered")

    async def _flood(self, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            piece = {"type": "http.response.body", "body": b"x" * 100_000, "more_body": True}
            leaving = asyncio.ensure_future(receive())
            sending = asyncio.ensure_future(send(piece))
            await asyncio.wait({leaving, sending}, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                sending.cancel()
                self.ended.append("gone")
                return
            leaving.cancel()


@asynccontextmanager
async def serving(
    bounds: Bounds, app: App, keep_alive: int = 5
) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    config = uvicorn.Config(
        app,
        lifespan="off",
        http=connections(bounds),  # type: ignore[arg-type]
        log_config=None,
        timeout_keep_alive=keep_alive,
    )
    config.load()
    state = ServerState()

    def made() -> asyncio.Protocol:
        return config.http_protocol_class(config, state, {})  # type: ignore[call-arg,return-value]

    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield lambda: asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    finally:
        server.close()
        await asyncio.gather(*state.tasks)


def said(sent: bytes, bounds: Bounds = PATIENT, app: App | None = None) -> bytes:
    """Everything that comes back for these bytes, until the server closes or is silent."""

    async def talk() -> bytes:
        async with serving(bounds, app or App()) as connect:
            reader, writer = await connect()
            writer.write(sent)
            try:
                return await reader.read()
            finally:
                writer.close()

    return asyncio.run(talk())


GET = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"


def test_a_request_in_pieces_that_come_in_time_is_answered() -> None:
    async def talk() -> bytes:
        async with serving(PATIENT, App()) as connect:
            reader, writer = await connect()
            for byte in b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello":
                writer.write(bytes([byte]))
                await writer.drain()
            found = await reader.read()
            writer.close()
            return found

    assert asyncio.run(talk()).endswith(b"\r\n1\r\n5\r\n0\r\n\r\n")


def test_headers_that_do_not_come_to_an_end_are_given_up_in_the_addresss_dialect() -> None:
    head, body = said(GET, QUICK).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head
    assert "did not arrive in time" in json.loads(body)["error"]["message"]


def test_who_says_nothing_at_all_is_hung_up_on() -> None:
    assert said(b"", QUICK) == b""


def test_who_says_nothing_but_empty_lines_is_hung_up_on() -> None:
    assert said(b"\r\n\r\n", QUICK).startswith(b"HTTP/1.1 408")


def test_a_body_that_dribbles_is_given_up_and_the_application_is_told() -> None:
    app = App()
    head = b"POST /api/runs HTTP/1.1\r\ncontent-length: 100000\r\n\r\nabc"
    answer = said(head, QUICK, app)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.split(b"\r\n\r\n")[1])["error"]["next"]
    assert app.ended == ["gone"]


def test_a_second_request_on_a_connection_has_a_deadline_of_its_own() -> None:
    first = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    answer = said(first + b"GET / HTTP/1.1\r\nhost:", QUICK)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 408 ") == 1


def test_who_is_answered_before_the_body_is_here_may_send_it_to_its_end() -> None:
    async def talk() -> tuple[bytes, bytes]:
        async with serving(PATIENT, App(), keep_alive=0) as connect:
            reader, writer = await connect()
            writer.write(b"POST /deaf HTTP/1.1\r\ncontent-length: 3000000\r\n\r\n")
            answer = await reader.readuntil(b"no")
            for _ in range(30):
                writer.write(bytes(100_000))
                await writer.drain()
            rest = await reader.read()
            writer.close()
            return answer, rest

    answer, rest = asyncio.run(talk())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert rest == b""  # then it is silent, and hung up on without a word


def test_a_body_that_dribbles_after_its_answer_gets_no_second_one() -> None:
    answer = said(b"POST /deaf HTTP/1.1\r\ncontent-length: 100000\r\n\r\nabc", QUICK)
    assert answer == b"HTTP/1.1 413 Request Entity Too Large\r\ncontent-length: 2\r\n\r\nno"


@pytest.mark.parametrize(
    "unfit",
    [
        b"THIS IS NO REQUEST\r\n\r\n",
        b"GET /b HTTP/1.1\r\nx-long: " + b"x" * 40_000 + b"\r\nhost: x\r\n",
        b"POST /b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_unfit_is_refused_in_its_turn_after_those_before_it(unfit: bytes) -> None:
    app = App()
    answer = said(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n" * 2 + unfit, app=app)
    statuses = [line.split()[1] for line in answer.split(b"\r\n") if line.startswith(b"HTTP/")]
    assert statuses[:2] == [b"200", b"200"]
    assert statuses[2:] in ([b"400"], [b"431"])
    assert app.ended == ["answered", "answered"]


def test_a_client_that_goes_is_seen_to_go_also_with_another_request_behind() -> None:
    async def talk() -> list[str]:
        app = App()
        async with serving(PATIENT, app) as connect:
            _, writer = await connect()
            writer.write(b"GET /stay HTTP/1.1\r\nhost: x\r\n\r\n")
            await app.begun.wait()
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            writer.close()
        return app.ended

    assert asyncio.run(talk()) == ["gone"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (GET + b"".join(b"x-%d: y\r\n" % i for i in range(101)) + b"\r\n", 431),
        (GET + b"x-long: " + b"y" * 40_000 + b"\r\n\r\n", 431),
        (GET + b"x-endless: " + b"y" * 400_000, 431),
        (b"HELO mail.example\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
def test_what_is_too_large_or_no_request_is_refused_before_anything_runs(
    sent: bytes, status: int
) -> None:
    answer = said(sent)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    told = json.loads(answer.split(b"\r\n\r\n")[1])["error"]
    assert told.get("what") or told["message"]


def test_a_client_that_does_not_read_is_dropped_and_holds_no_memory() -> None:
    async def talk() -> App:
        app = App()
        async with serving(QUICK, app) as connect:
            _, writer = await connect()
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(b"GET /flood HTTP/1.1\r\n\r\n")
            async with asyncio.timeout(60):
                while not app.ended:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            writer.close()
        return app

    assert asyncio.run(talk()).ended == ["gone"]


def test_who_waits_to_be_asked_for_the_body_is_not_late() -> None:
    async def talk() -> bytes:
        asked, go = asyncio.Event(), asyncio.Event()

        class Slow(App):
            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                asked.set()
                await go.wait()
                await super().__call__(scope, receive, send)

        async with serving(QUICK, Slow()) as connect:
            reader, writer = await connect()
            writer.write(
                b"POST / HTTP/1.1\r\nexpect: 100-continue\r\nconnection: close\r\n"
                b"content-length: 2\r\n\r\n"
            )
            await asked.wait()
            await asyncio.sleep(4 * QUICK.look)  # several looks go by
            go.set()
            found = await reader.readline()
            writer.close()
            return found

    assert asyncio.run(talk()) == b"HTTP/1.1 100 Continue\r\n"


def test_more_connections_than_are_held_are_told_to_come_back() -> None:
    async def talk() -> bytes:
        async with serving(Bounds(connections=1), App()) as connect:
            _, first = await connect()
            first.write(b"GET / HTTP/1.1\r\n")  # stays open
            await first.drain()
            reader, second = await connect()
            second.write(GET + b"\r\n")
            found = await reader.read()
            first.close()
            second.close()
            return found

    head, body = asyncio.run(talk()).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in head.lower()
    assert "Too many connections" in json.loads(body)["error"]["message"]
