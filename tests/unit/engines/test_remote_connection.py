"""One connection to a model server, byte by byte, without a network."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.engines.remote.connection import Connection
from casemate.engines.remote.phases import Phases
from casemate.errors import Broken

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
PIECES = (b"data: {}\n\n", b"x" * 300, b"data: [DONE]\n\n")
CHUNKED = (
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    + HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"%x;note=1\r\n%s\r\n" % (len(piece), piece) for piece in PIECES)
    + b"0\r\nTrailer: x\r\n\r\n"
)
MEASURED = HEAD + b"Content-Length: %d\r\n\r\n" % len(b"".join(PIECES)) + b"".join(PIECES)


class Wire(asyncio.Transport):
    """Where a connection writes to; remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.is_reading = True
        self.is_aborted = False

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def is_closing(self) -> bool:
        return self.is_aborted

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def abort(self) -> None:
        self.is_aborted = True


def received(*pieces: bytes, then_closed: bool = False) -> tuple[Connection, Wire, list[Any]]:
    """What a reader gets of these bytes: pieces, and at the end an error or b"" or "waits"."""

    async def read() -> tuple[Connection, Wire, list[Any]]:
        loop, wire = asyncio.get_running_loop(), Wire()
        connection = Connection(loop, Phases(), lambda _: None)
        connection.connection_made(wire)
        connection.ask(b"HEAD", b"BODY", phase="first", whole_by=loop.time() + 600)
        got: list[Any] = []
        for piece in pieces:
            connection.data_received(piece)
        if then_closed:
            connection.eof_received()
            connection.connection_lost(None)
        while True:
            reading = asyncio.ensure_future(connection.piece())
            await asyncio.sleep(0)
            if not reading.done():
                reading.cancel()
                got.append("waits")
            elif reading.exception() is not None:
                got.append(reading.exception())
            else:
                got.append(reading.result())
                if got[-1]:
                    continue
            connection.abort()
            return connection, wire, got

    return asyncio.run(read())


def body(got: list[Any]) -> bytes:
    return b"".join(piece for piece in got if isinstance(piece, bytes))


@given(st.sampled_from([CHUNKED, MEASURED]), st.lists(st.integers(0, len(CHUNKED)), max_size=12))
def test_an_answer_cut_anywhere_is_the_same(whole: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(whole)]
    pieces = [whole[one:other] for one, other in pairwise(edges)]
    connection, wire, got = received(*filter(None, pieces))
    assert body(got) == b"".join(PIECES)
    assert got[-1] == b""
    assert (connection.status, connection.content_type) == (200, "text/event-stream")
    assert wire.sent == b"HEADBODY"


@given(st.sampled_from([CHUNKED, MEASURED]), st.data())
def test_an_answer_that_ends_too_early_is_broken(whole: bytes, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(whole) - 1))
    _, _, got = received(*filter(None, [whole[:length]]), then_closed=True)
    assert b"".join(PIECES).startswith(body(got))
    assert isinstance(got[-1], Broken)


@given(st.sampled_from([CHUNKED, MEASURED]), st.binary(min_size=1, max_size=40))
def test_what_follows_a_whole_answer_spoils_the_connection(whole: bytes, more: bytes) -> None:
    connection, wire, got = received(whole, more)
    assert body(got) == b"".join(PIECES)
    assert isinstance(got[-1], Broken)
    assert wire.is_aborted
    assert connection.rest() is False


@given(st.sampled_from([b"", HEAD, HEAD + b"\r\n", CHUNKED[:200]]), st.lists(st.binary()))
def test_whatever_comes_the_reader_gets_bytes_or_the_error_for_broken_servers(
    beginning: bytes, pieces: list[bytes]
) -> None:
    for closed in (True, False):
        _, _, got = received(*filter(None, [beginning, *pieces]), then_closed=closed)
        assert all(isinstance(one, bytes) and one for one in got[:-1])
        assert isinstance(got[-1], Broken) or got[-1] in (b"", "waits")
        assert not closed or got[-1] != "waits"


@pytest.mark.parametrize(
    "endless",
    [
        [HEAD, *[b"X: x\r\n"] * 200],
        [b"HTTP/1.1 200 OK\r\nX: ", *[b"x" * 1000] * 100],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", *[b"x" * 1000] * 100],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", *[b"X: x\r\n" * 99] * 200],
        [b"HTTP/1.1 103 Early Hints\r\n\r\n"] * 20,
    ],
)
def test_what_is_no_body_is_bounded(endless: list[bytes]) -> None:
    _, wire, got = received(*endless)
    assert isinstance(got[-1], Broken)
    assert wire.is_aborted


def test_a_server_that_is_faster_than_its_reader_has_to_wait() -> None:
    async def read() -> None:
        loop, wire = asyncio.get_running_loop(), Wire()
        connection = Connection(loop, Phases(), lambda _: None)
        connection.connection_made(wire)
        connection.ask(b"", b"", phase="first", whole_by=loop.time() + 600)
        connection.data_received(HEAD + b"Content-Length: 9999999\r\n\r\n" + b"x" * 200_000)
        assert wire.is_reading
        connection.data_received(b"x" * 100_000)
        assert not wire.is_reading
        assert len(await connection.piece()) == 300_000
        assert wire.is_reading
        connection.abort()

    asyncio.run(read())


def test_a_connection_that_had_to_wait_for_a_reader_who_left_is_not_used_again() -> None:
    async def read() -> None:
        loop, wire = asyncio.get_running_loop(), Wire()
        connection = Connection(loop, Phases(), lambda _: None)
        connection.connection_made(wire)
        connection.ask(b"", b"", phase="first", whole_by=loop.time() + 600)
        connection.data_received(HEAD + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000)
        assert (connection.is_whole, wire.is_reading) == (True, False)
        assert connection.rest() is False  # nobody would read the next answer

    asyncio.run(read())
