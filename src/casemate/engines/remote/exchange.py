"""An exchange with a model server, as whoever relays its answer sees it: bytes as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from casemate.engines.wire import broken
from casemate.errors import Unavailable

if TYPE_CHECKING:
    from casemate.engines.remote.connection import Connection
    from casemate.engines.remote.replica import Replica, Request
    from casemate.engines.remote.upstream import Upstream

_MOMENT_SECONDS = 1.0


class Exchange(AsyncIterator[bytes]):
    """``async with`` it: entered once the first piece of an answer is there.

    Until then another replica may be asked in the place of one that fails; from then on, never.
    Entering and iterating raise Unavailable: TooSlow (504) for a phase that took too long, Broken
    (502) for a server that breaks off or talks nonsense, and Unavailable itself (503) where none
    can be reached; entering also raises Refused. Iterating gives the body, never empty, in the
    pieces in which it came; those that came while nobody looked are one. Leaving before the end,
    also by being cancelled, closes the connection at once, so that the server stops working.
    """

    __slots__ = ("_connection", "_first", "_replica", "_request", "_upstream")

    _connection: Connection
    _replica: Replica

    def __init__(self, upstream: Upstream, request: Request) -> None:
        self._upstream = upstream
        self._request = request
        self._first = b""

    @property
    def status(self) -> int:
        """The HTTP status: 200, or what a server says of a request that it does not like."""
        return self._connection.status

    @property
    def content_type(self) -> str:
        """As the server says it; empty if it does not."""
        return self._connection.content_type

    @property
    def replica(self) -> int:
        """The number of the replica that answers, from 1."""
        return self._replica.number

    async def whole(self, most: int) -> bytes:
        """All of the body. Raises like iterating; Broken if it has more than ``most`` bytes."""
        pieces, length = [], 0
        async for piece in self:
            pieces.append(piece)
            length += len(piece)
            if length > most:
                raise broken("sent more than anybody can read")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def ended(self) -> None:
        """Take the end, which has to follow now, so that the connection can be used again.

        For who knows from the body that there is no more. Waits a moment at most.
        """
        with suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(_MOMENT_SECONDS):
                await self._connection.piece()

    async def __aenter__(self) -> Self:
        self._replica, self._connection, self._first = await self._upstream.begin(self._request)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._upstream.end(self._replica, self._connection)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = self._first
        if piece:
            self._first = b""
            return piece
        piece = await self._connection.piece()
        if not piece:
            raise StopAsyncIteration
        return piece
