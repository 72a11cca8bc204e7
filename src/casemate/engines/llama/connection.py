"""Talking to a model process: HTTP over its Unix socket.

What comes back is as little trusted as the model: typed, bounded, never shown as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from casemate.engines.llama.floor import Floor
from casemate.errors import Unavailable
from casemate.gate.guard import Ways

if TYPE_CHECKING:
    import aiohttp

_SILENCE_SECONDS = 120.0  # a server that computes pings every half minute
_LONGEST_ANSWER = 1 << 28
_POLL_SECONDS = 0.002
_T = TypeVar("_T")


class Gone(Unavailable):
    """The process had ended before it was asked: whoever asks again starts it anew."""


class Connection:
    """The way to one model process, while it lives.

    Take your ``place`` before you have it compute. ``end`` ends the process, saying why: it is
    called when it does not answer any more or breaks off, which no process does that can go on.
    """

    def __init__(self, socket: Path, slots: int, end: Callable[[str], None]) -> None:
        self._floor = Floor(slots)
        self._left_early = False
        self._end = end
        self._ways = Ways()
        self._ways.own(str(socket))
        self._client = _client(socket)
        self._reading: set[aiohttp.StreamReader] = set()

    @asynccontextmanager
    async def place(self, *, alone: bool = False) -> AsyncIterator[None]:
        """A slot; ``alone``: with nothing computed beside, so that the same comes out again."""
        if not alone:
            async with self._floor.shared():
                yield
            return
        async with self._floor.alone():
            while self._left_early and await self._busy():  # noqa: ASYNC110 - it is elsewhere
                await asyncio.sleep(_POLL_SECONDS)
            self._left_early = False
            yield

    async def ask(self, path: str, body: object, answer: type[_T]) -> _T:
        """Send ``body`` (None: nothing) to ``path``; its answer. Raises Unavailable."""
        async with self._sent(path, body) as response:
            content = bytearray()
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > _LONGEST_ANSWER:
                    raise unavailable("said more than it was asked for")
        try:
            return msgspec.json.decode(content, type=answer)
        except msgspec.DecodeError as problem:
            raise unavailable("said something that cannot be understood") from problem

    @asynccontextmanager
    async def stream(self, body: object) -> AsyncIterator[aiohttp.StreamReader]:
        """The events that answer a completion; leaving ends it at once. Raises Unavailable."""
        async with self._sent("/completion", body) as response:
            try:
                yield response.content
            except BaseException:
                self._left_early = True
                raise

    async def close(self) -> None:
        """Let go of every connection; whoever still reads from one gets Unavailable."""
        import aiohttp

        # Closing the client forgets the streams that are being read: nothing would wake them.
        for stream in self._reading:
            stream.set_exception(aiohttp.ServerDisconnectedError())
        await self._client.close()

    async def _busy(self) -> bool:
        """Whether an answer that nobody waits for is still being computed."""
        try:
            return any(slot.is_processing for slot in await self.ask("/slots", None, list[_Slot]))
        except Unavailable as problem:
            raise Gone(problem.what, problem.next) from problem

    @asynccontextmanager
    async def _sent(self, path: str, body: object) -> AsyncIterator[aiohttp.ClientResponse]:
        import aiohttp

        if self._client.closed:
            raise Gone(*_ENDED)
        try:
            response = await self._client.request(
                "GET" if body is None else "POST",
                "http://model" + path,
                data=None if body is None else msgspec.json.encode(body),
                headers={"content-type": "application/json"},
            )
            try:
                if response.status != 200:
                    raise unavailable(f"refused what it was asked (status {response.status})")
                if self._client.closed:
                    raise Unavailable(*_ENDED)
                self._reading.add(response.content)
                yield response
            finally:
                self._reading.discard(response.content)
                response.close()  # and with it the connection, from which the server sees the end
        except TimeoutError as problem:
            self._end("it did not answer")
            raise unavailable("has not answered for a long time and was ended") from problem
        except aiohttp.ClientConnectorError as problem:
            self._end("")
            raise Gone(*_ENDED) from problem
        except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError) as problem:
            self._end("")
            raise Unavailable(*_ENDED) from problem


_NEXT = "Try again: it starts anew by itself when it is needed."
_ENDED = "The model's process ended while it was at work.", _NEXT


def unavailable(what: str) -> Unavailable:
    """The error for a model process that did not do its work."""
    return Unavailable(f"The model's process {what}.", _NEXT)


def _client(socket: Path) -> aiohttp.ClientSession:
    import aiohttp  # a quarter of a second, and only engines with a server need it

    return aiohttp.ClientSession(
        # A connection that is kept would hold one of the server's few threads.
        connector=aiohttp.UnixConnector(str(socket), limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, sock_read=_SILENCE_SECONDS),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=1 << 18,
    )


class _Slot(msgspec.Struct):
    is_processing: bool


class Tokenized(msgspec.Struct):
    """Answer of ``/tokenize``."""

    tokens: list[int]


def tokenizing(content: Any, *, special: bool = False, whole: bool = False) -> dict[str, Any]:
    """Body for ``/tokenize``.

    ``special``: text may name control tokens, which only text from the weights themselves may.
    ``whole``: with the tokens that the model wants around a text.
    """
    return {"content": content, "add_special": whole, "parse_special": special}
