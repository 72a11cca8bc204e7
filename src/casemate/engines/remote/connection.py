"""One connection to a model server: HTTP/1.1, one exchange at a time, nothing taken on trust.

llhttp parses, strictly; what it does not bound is bounded here. Nothing is decompressed, no
redirect is known, and a connection on which anything was odd is not used again.
Source: RFC 9112, sections 6 (bodies), 7 (chunks), 9 (connections).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from casemate.engines.remote.phases import Phases
from casemate.engines.wire import broken
from casemate.errors import Unavailable

_MOST_BARE = 1 << 16  # bytes in a row that are no part of a body: headers, sizes of chunks
_MOST_HEADERS = 128
_MOST_INTERIM = 8  # responses such as 103 before the one that counts
_MOST_UNREAD = 1 << 18  # bytes that wait for the reader before the server has to
_WRITTEN_AT_ONCE = 1 << 16


class Connection(asyncio.Protocol):
    """Made by ``loop.create_connection``. ``on_lost`` is called once, when it is gone."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        phases: Phases,
        on_lost: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._phases = phases
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._spoilt = False
        self._is_last = False  # its exchange
        self._busy = False
        self.exchanges = 0
        self.idle_since = 0.0
        self._renew()

    def _renew(self) -> None:
        self.status = 0
        self.content_type = self.retry_after = ""
        self.is_answered = False  # at least one byte of an answer has come
        self.is_whole = False  # all of it has
        self._problem: Unavailable | None = None
        self._pieces: list[bytes] = []
        self._unread = self._bare = self._headers = self._interims = 0
        self._head_read = self._measured = self._paused = self._ended = False

    @property
    def problem(self) -> Unavailable | None:
        """What went wrong with the exchange on the server's side."""
        return self._problem

    @property
    def is_open(self) -> bool:
        """Whether there is still somebody at the other end, as far as is known."""
        return self._transport is not None and not self._transport.is_closing()

    # What the engine calls.

    def ask(self, head: bytes, body: bytes, *, phase: str, whole_by: float) -> None:
        """Send a request. ``phase`` bounds the time to the first piece; ``whole_by``, the end."""
        if self.exchanges:
            self._renew()
        transport = self._transport
        if transport is None:  # it went in the moment before
            self._problem = _broken_off()
            return
        self.exchanges += 1
        self._busy = True
        self._phase = phase
        self._whole_by = whole_by
        self._watch(self._loop.time() + getattr(self._phases, phase))
        if len(body) <= _WRITTEN_AT_ONCE:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)

    async def first(self) -> bytes:
        """The first piece of the body, once the head has come; empty if there is none.

        Raises Unavailable: TooSlow, or Broken where the server breaks off or is no HTTP.
        """
        piece = await self.piece()
        self._phase = "between"
        if not self.is_whole:
            self._watch(self._loop.time() + self._phases.between)
        return piece

    async def piece(self) -> bytes:
        """All that has come of the body since the last time, at least a byte; empty at its end.

        Raises like ``first``.
        """
        while not self._pieces:
            if self._problem is not None:
                raise self._problem
            if self.is_whole:
                return b""
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        pieces, self._pieces = self._pieces, []
        self._unread = 0
        if self._paused:
            self._paused = False
            if self._transport is not None:
                self._transport.resume_reading()
            # Until now the server could not have been heard.
            self._deadline = self._loop.time() + self._phases.between
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def retire(self) -> None:
        """Let no other exchange follow on this connection."""
        self._is_last = True

    def rest(self) -> bool:
        """End the exchange. Whether another may follow on this connection."""
        self._busy = False
        self._pieces = []
        well = not (self._spoilt or self._paused or self._problem is not None)
        fit = well and self.is_whole and self.is_open and not (self._is_last or self._unsent)
        if fit:
            self.idle_since = self._loop.time()
        else:
            self.abort()
        return fit

    @property
    def _unsent(self) -> bool:
        """Whether some of a request still waits to be sent, though it was answered."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def abort(self) -> None:
        """Close it now, whatever is under way: the server sees it at once."""
        self._spoilt = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if not self._busy or self.is_whole or self._parser is None:
            self._spoil(_odd())  # nobody asked
            return
        self.is_answered = True
        unread = self._unread
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            # What stands behind a whole answer spoils the connection; so does any nonsense.
            self._spoil(_odd())
            return
        if self._unread == unread and not self.is_whole:
            self._bare += len(data)
            if self._bare > _MOST_BARE:
                self._spoil(broken("sent headers without an end"))
                return
        else:
            self._bare = 0
        self._wake()

    def eof_received(self) -> None:
        """See asyncio.Protocol."""
        self._ended = True

    def connection_lost(self, problem: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self._busy and not self.is_whole:
            # Without a length, the end of the connection is the end of the body.
            if self._head_read and not self._measured and self._ended and problem is None:
                self.is_whole = True
            elif self._problem is None:
                self._problem = _broken_off()
        self._spoilt = True
        self._transport = self._parser = None  # the parser holds on to this
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()
        self._on_lost(self)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """See httptools."""
        if self.is_whole:
            raise HttpParserError("more than it announced")

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        self._headers += 1
        if self._headers > _MOST_HEADERS:
            raise HttpParserError("too many headers")
        name = name.lower()
        if name == b"content-type":
            self.content_type = value.decode("latin-1")
        elif name == b"content-length":
            self._measured = True
        elif name == b"transfer-encoding":
            self._measured = True
            if value.strip().lower() != b"chunked":
                raise HttpParserError("a coding that was not asked for")
        elif name == b"content-encoding":
            if value.strip().lower() not in (b"", b"identity"):
                raise HttpParserError("a coding that was not asked for")
        elif name == b"retry-after":
            self.retry_after = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        """See httptools."""
        if self._head_read or self._parser is None:  # trailers
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._interims += 1
            if status == 101 or self._interims > _MOST_INTERIM:
                raise HttpParserError("a protocol that was not asked for")
            return
        self.status = status
        self._head_read = True

    def on_body(self, piece: bytes) -> None:
        """See httptools."""
        self._pieces.append(piece)
        self._unread += len(piece)
        if self._phase == "between":
            self._deadline = self._loop.time() + self._phases.between
        if self._unread > _MOST_UNREAD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """See httptools."""
        if not self._head_read:  # an interim response
            self._headers = 0
            self.content_type = self.retry_after = ""
            self._measured = False
            return
        self.is_whole = True
        if self._parser is None or not self._parser.should_keep_alive():
            self._spoilt = True

    # Time.

    def _watch(self, deadline: float) -> None:
        if self._transport is None:
            return
        self._deadline = min(deadline, self._whole_by)
        # One timer serves many exchanges: it is moved when it would come too late, and looks
        # again when it comes too early.
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if not self._busy or self.is_whole or self._problem is not None:
            return
        now = self._loop.time() + 1e-3  # loops may call a little early
        if now >= self._whole_by:
            self._spoil(self._phases.exceeded("whole"))
        elif self._pieces:  # it is the reader who is slow
            self._watch(now + self._phases.between)
        elif now >= self._deadline:
            self._spoil(self._phases.exceeded(self._phase))
        else:
            self._watch(self._deadline)

    # Ends.

    def _spoil(self, problem: Unavailable) -> None:
        if self._problem is None:
            self._problem = problem
        self.abort()
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _broken_off() -> Unavailable:
    return broken("stopped in the middle of its answer")


def _odd() -> Unavailable:
    return broken("sent something that is no answer")
