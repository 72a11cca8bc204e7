from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from casemate.engines.llama.connection import Connection, Gone
from casemate.errors import Unavailable

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def a_server(socket: Path, says: bytes) -> AsyncIterator[None]:
    """Says the same to everyone, and then nothing more, without ending."""
    hold = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(says)
        await writer.drain()
        await hold.wait()
        writer.close()

    server = await asyncio.start_unix_server(serve, socket)
    try:
        yield
    finally:
        hold.set()
        server.close()


def a_connection(socket: Path) -> Connection:
    return Connection(socket, 1, lambda reason: None)


async def read_all(connection: Connection, begun: asyncio.Event) -> None:
    async with connection.stream({}) as stream:
        async for _ in stream.iter_any():
            begun.set()


def test_an_answer_that_is_being_read_ends_when_its_connection_is_closed(tmp_path: Path) -> None:
    async def read() -> None:
        socket = tmp_path / "s"
        async with a_server(socket, HEAD + b"2\r\nab\r\n"):
            connection = a_connection(socket)
            begun = asyncio.Event()
            answer = asyncio.create_task(read_all(connection, begun))
            await begun.wait()
            await connection.close()
            with pytest.raises(Unavailable, match="ended"):
                await answer

    asyncio.run(read())


def test_a_question_that_waits_for_its_answer_ends_when_its_connection_is_closed(
    tmp_path: Path,
) -> None:
    async def ask() -> None:
        socket = tmp_path / "s"
        async with a_server(socket, HEAD + b"2\r\n[]\r\n"):
            connection = a_connection(socket)
            asking = asyncio.create_task(connection.ask("/x", {}, list[int]))
            while not connection._reading:  # noqa: ASYNC110 - nothing else says so
                await asyncio.sleep(0)
            await connection.close()
            with pytest.raises(Unavailable, match="ended"):
                await asking

    asyncio.run(ask())


def test_nobody_is_served_by_a_closed_connection(tmp_path: Path) -> None:
    async def ask() -> None:
        connection = a_connection(tmp_path / "s")
        await connection.close()
        with pytest.raises(Gone):
            await connection.ask("/x", {}, list[int])

    asyncio.run(ask())
