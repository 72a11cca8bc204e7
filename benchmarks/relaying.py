"""What an exchange with a model server costs this process, beside aiohttp.

    python benchmarks/relaying.py [--requests 4000] [--streams 300] [--rounds 5]

A server in a process of its own answers a 1 KB chat at once, whole or as 100 pieces. Processor time
of this process for each exchange, the median of rounds that take turns; with one and with 32 at a
time. Everything is on loopback, on connections that are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "integration" / "engines"))

from faulty_server import DONE, EVENTS, LAST, a_chunk, an_answer, an_event
from remote_builders import LOWEST, an_engine

BODY = b'{"model":"tiny","messages":[{"role":"user","content":"%s"}]}' % (b"x" * 1000)
WHOLE = an_answer(
    b'{"choices":[{"index":0,"message":{"role":"assistant","content":"Hello."},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":250,"completion_tokens":2}}'
)
PIECES = 100

Exchange = Callable[[bool], Awaitable[None]]


class Upstream(asyncio.Protocol):
    """Answers each request at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._pending = b""
        self._streams: set[asyncio.Task[None]] = set()

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while len(parts := self._pending.split(b"\r\n\r\n", 1)) == 2:
            head, rest = parts
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            if len(rest) < length:
                return
            self._pending = rest[length:]
            if b"text/event-stream" in head:
                streaming = asyncio.ensure_future(self._stream())
                self._streams.add(streaming)
                streaming.add_done_callback(self._streams.discard)
            else:
                self._transport.write(WHOLE)

    async def _stream(self) -> None:
        self._transport.write(EVENTS)
        piece = a_chunk(an_event(content="word "))
        for _ in range(PIECES):
            self._transport.write(piece)
            await asyncio.sleep(0)
        self._transport.write(a_chunk(DONE) + LAST)


def serve(pipe: Connection) -> None:
    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


@asynccontextmanager
async def relaying(port: int) -> AsyncIterator[Exchange]:
    engine = an_engine(f"http://127.0.0.1:{port}/v1")

    async def exchange(stream: bool) -> None:
        async with engine.relay("/chat/completions", BODY, LOWEST, stream=stream) as answer:
            async for _ in answer:
                pass

    yield exchange
    await engine.close()


@asynccontextmanager
async def with_aiohttp(port: int) -> AsyncIterator[Exchange]:
    address = f"http://127.0.0.1:{port}/v1/chat/completions"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

        async def exchange(stream: bool) -> None:
            accept = "text/event-stream" if stream else "application/json"
            headers = {"Content-Type": "application/json", "Accept": accept}
            async with client.post(address, data=BODY, headers=headers) as response:
                async for _ in response.content.iter_any():
                    pass

        yield exchange


async def spent(exchange: Exchange, stream: bool, times: int, at_once: int) -> float:
    """Seconds of this process's processor for one exchange."""

    async def some() -> None:
        for _ in range(times // at_once):
            await exchange(stream)

    await exchange(stream)
    began = time.process_time()
    await asyncio.gather(*(some() for _ in range(at_once)))
    return (time.process_time() - began) / (times // at_once * at_once)


async def measure(port: int, requests: int, streams: int, rounds: int) -> None:
    async with relaying(port) as ours, with_aiohttp(port) as theirs:
        for name, stream, times, at_once in (
            ("whole answers, one at a time", False, requests, 1),
            ("whole answers, 32 at a time", False, requests, 32),
            (f"streams of {PIECES} pieces, 32 at a time", True, streams, 32),
        ):
            found: dict[str, list[float]] = {"relay": [], "aiohttp": []}
            for _ in range(rounds):
                found["relay"].append(await spent(ours, stream, times, at_once))
                found["aiohttp"].append(await spent(theirs, stream, times, at_once))
            relay, aio = (statistics.median(times_) * 1e6 for times_ in found.values())
            print(f"{name:<40} relay {relay:7.1f} µs   aiohttp {aio:7.1f} µs   {aio / relay:.1f} ×")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--streams", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    upstream = spawning.Process(target=serve, args=(there,), daemon=True)
    upstream.start()
    try:
        asyncio.run(measure(here.recv(), chosen.requests, chosen.streams, chosen.rounds))
    finally:
        upstream.kill()


if __name__ == "__main__":
    main()
