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

if TYPE_CHECKING:
    import aiohttp

_SILENCE_SECONDS = 120.0  # a server that computes pings every half minute
_LONGEST_ANSWER = 1 << 28
_T = TypeVar("_T")


class Connection:
    """The way to one model process, while it lives.

    ``floor``: take your place there before you have it compute. ``silent``: called when it does
    not answer any more.
    """

    def __init__(self, socket: Path, slots: int, silent: Callable[[], None]) -> None:
        self.floor = Floor(slots)
        self._silent = silent
        self._client = _client(socket)

    async def ask(self, path: str, body: object, answer: type[_T]) -> _T:
        """Send ``body`` to ``path`` and return its answer. Raises Unavailable."""
        async with self._sent(path, body) as response:
            content = await response.content.read(_LONGEST_ANSWER)
        try:
            return msgspec.json.decode(content, type=answer)
        except msgspec.DecodeError as problem:
            raise unavailable("said something that cannot be understood") from problem

    @asynccontextmanager
    async def stream(self, body: object) -> AsyncIterator[aiohttp.StreamReader]:
        """The events that answer a completion; leaving ends it at once. Raises Unavailable."""
        async with self._sent("/completion", body) as response:
            yield response.content

    async def close(self) -> None:
        """Let go of every connection."""
        await self._client.close()

    @asynccontextmanager
    async def _sent(self, path: str, body: object) -> AsyncIterator[aiohttp.ClientResponse]:
        import aiohttp

        try:
            response = await self._client.post(
                "http://model" + path,
                data=msgspec.json.encode(body),
                headers={"content-type": "application/json"},
            )
            try:
                if response.status != 200:
                    raise unavailable(f"refused what it was asked (status {response.status})")
                yield response
            finally:
                response.close()  # and with it the connection, from which the server sees the end
        except TimeoutError as problem:
            self._silent()
            raise unavailable("has not answered for a long time and was ended") from problem
        except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError) as problem:
            raise unavailable("ended while it was at work") from problem


def unavailable(what: str) -> Unavailable:
    """The error for a model process that did not do its work."""
    return Unavailable(
        f"The model's process {what}.", "Try again: it starts anew by itself when it is needed."
    )


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


class Tokenized(msgspec.Struct):
    """Answer of ``/tokenize``."""

    tokens: list[int]


def tokenizing(content: Any, *, special: bool = False, whole: bool = False) -> dict[str, Any]:
    """Body for ``/tokenize``.

    ``special``: text may name control tokens, which only text from the weights themselves may.
    ``whole``: with the tokens that the model wants around a text.
    """
    return {"content": content, "add_special": whole, "parse_special": special}
