"""One request over HTTP/2, from its head to the end of its answer: an ASGI cycle on a stream.

RFC 9113, sections 5.2, 8.1 and 8.2.2. What waits is bounded on both sides: of the request by the
window that it was given, of the answer by one message of the application, which is kept from
making the next until the client took this one.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from h2.errors import ErrorCodes

from casemate.api import departure
from casemate.api.departure import Departure
from casemate.api.http2_head import HOP_BY_HOP, NAME, UNPRINTABLE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Scope

    from casemate.api.bounds import Bounds
    from casemate.api.http2 import Http2

_NO_BODY = (204, 304)

_log = logging.getLogger("uvicorn.error")  # as of requests over HTTP/1.1


class Stream:
    """One request and its answer."""

    def __init__(
        self,
        connection: Http2,
        identity: int,
        scope: Scope,
        *,
        expects: bool = False,
        length: int | None = None,
    ) -> None:
        """``expects``: the client waits to be told before it sends its body.

        ``length``: bytes that the body is said to have.
        """
        self.identity = identity
        self.verdict: ErrorCodes | None = None  # with which it is reset once it is answered
        self._connection = connection
        self._scope = scope
        self._departure = scope[departure.KEY] = Departure()
        self._changed = asyncio.Event()  # for who receives
        self._room: asyncio.Future[None] | None = None  # for who sends
        self._expects = expects

        self.gone = False  # nobody is there to answer
        self.deaf = False  # nobody reads what still comes
        self.ended = False  # all of the request is here
        self._lacks = length  # bytes of the body that are to come; None: nobody said how many
        self.arrived = 0  # bytes of the body so far
        self.owed = 0  # bytes of the window that the client gets back when they were read
        self._body = bytearray()
        self._told_all = False

        self.started = False
        self.complete = False
        self.last = False  # what waits is the end of the answer
        self.sent = 0  # bytes so far
        self.queued = False  # in the connection's line of those that have something to send
        self._bodiless = False
        self._announced: int | None = None  # bytes of the answer that are still to come
        self._piece = b""
        self._at = 0

        # When it was last looked at, and how much had come or was sent then.
        self.seen: tuple[float, int] = (0.0, 0)
        self.stuck: tuple[float, int] | None = None  # None: nothing waits for its window

    # For the connection

    async def run(self, app: ASGIApp) -> None:
        """Have ``app`` answer; whatever it does, the stream comes to an end."""
        if self.gone:  # reset in the same breath in which it was opened
            return
        try:
            await app(self._scope, self.receive, self.send)
        except BaseException as problem:
            _log.error("Exception in ASGI application\n", exc_info=problem)
            await self._fail()
        else:
            if not self.complete and not self.gone:
                _log.error("ASGI callable returned without completing response.")
                await self._fail()

    def take(self, piece: bytes, size: int) -> None:
        """A piece of the body came, which took ``size`` bytes of the window."""
        self.arrived += size
        if self._lacks is not None:
            self._lacks -= len(piece)
        if self.deaf or self.exceeds:
            self._connection.read(self, size)
            return
        self._body += piece
        self.owed += len(piece)
        if size > len(piece):  # padding, which nobody reads
            self._connection.read(self, size - len(piece))
        if piece:
            self._changed.set()

    def end(self) -> None:
        """The request is whole."""
        self.ended = True
        self._changed.set()

    def leave(self) -> None:
        """Nobody is there to answer any more: whoever runs is told."""
        self.gone = self.deaf = True
        self._piece, self._at = b"", 0
        self._release()
        self._wake()
        self._changed.set()
        if not self.complete:
            self._departure.depart()

    @property
    def exceeds(self) -> bool:
        """Whether more came than was said."""
        return self._lacks is not None and self._lacks < 0

    @property
    def short(self) -> bool:
        """Whether it ended, and less came than was said."""
        return self.ended and self._lacks is not None and self._lacks > 0

    @property
    def path(self) -> str:
        """The address that is asked."""
        return str(self._scope["path"])

    def late(self, now: float, waiting: int, bounds: Bounds) -> bool:
        """Whether its body comes too slowly. ``waiting``: bytes of a frame that is not whole.

        Whose body was not asked for, or is not read, is not late.
        """
        at, seen = self.seen
        if self.ended or self.deaf or now - at < bounds.look:
            return False
        self.seen = now, self.arrived + waiting
        held = self._expects or self.owed > 0
        return not held and self.seen[1] - seen < bounds.look * bounds.body_pace

    def untaken(self, now: float, bounds: Bounds) -> bool:
        """Whether the client takes what waits for it too slowly."""
        if self.stuck is None or now - self.stuck[0] < bounds.unread:
            return False
        sent = self.stuck[1]
        self.stuck = now, self.sent
        return self.sent - sent < bounds.unread * bounds.body_pace

    @property
    def left(self) -> int:
        """Bytes that wait to be sent."""
        return len(self._piece) - self._at

    @property
    def waits(self) -> bool:
        """Whether there is something to send, be it only the end."""
        return self._at < len(self._piece) or (self.last and not self.complete)

    def cut(self, size: int) -> bytes:
        """The next ``size`` bytes to send."""
        begin, self._at = self._at, self._at + size
        self.sent += size
        return self._piece[begin : self._at]

    def went(self) -> None:
        """All that the application gave is sent."""
        self._piece, self._at, self.stuck = b"", 0, None
        if self.last:
            self.complete = self.deaf = True
            self._release()
            self._changed.set()
        self._wake()

    # For the application

    async def receive(self) -> Message:
        """See ASGI."""
        if self._expects and not (self.gone or self.complete):
            self._expects = False
            if not self.arrived and not self.ended:
                self._connection.proceed(self)
        while not (self.gone or self.complete or self._comes()):
            self._changed.clear()
            await self._changed.wait()
        if self.gone or self.complete or self.short:
            return {"type": "http.disconnect"}
        body, self._told_all = bytes(self._body), self.ended
        self._release()
        return {"type": "http.request", "body": body, "more_body": not self.ended}

    async def send(self, message: Message) -> None:
        """See ASGI. Waits until the client took what it was given."""
        if self.gone:
            await asyncio.sleep(0)  # who sends without end would else never come to be told
            return
        due = "http.response.body" if self.started else "http.response.start"
        if self.complete or message["type"] != due:
            raise RuntimeError(f"Unexpected ASGI message {message['type']!r}.")
        if not self.started:
            self._start(message["status"], message.get("headers", ()))
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        self._piece = self._fitting(body, more)
        self.last = not more
        if self.waits:
            self._connection.offer(self)
        while self.waits and not self.gone:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def _comes(self) -> bool:
        return bool(self._body) or (self.ended and not self._told_all)

    def _start(self, status: int, headers: Any) -> None:
        self._bodiless = self._scope.get("method") == "HEAD" or status in _NO_BODY
        fields = [(b":status", b"%d" % status)]
        for name, value in (*self._connection.default_headers, *headers):
            name = name.lower()
            if NAME.fullmatch(name) is None or UNPRINTABLE.search(value) is not None:
                raise RuntimeError("Invalid HTTP header.")
            if name == b"content-length" and not self._bodiless:
                self._announced = int(value)
            if name not in HOP_BY_HOP:
                fields.append((name, value))
        self.started, self._expects = True, False
        self._connection.answer(self, fields)

    def _fitting(self, body: bytes, more: bool) -> bytes:
        """``body`` as far as the answer has one. Raises RuntimeError if it is not as announced."""
        if self._bodiless:
            return b""
        if self._announced is not None:
            self._announced -= len(body)
            if self._announced < 0 or (self._announced and not more):
                raise RuntimeError("The response is not as long as its Content-Length.")
        return body

    async def _fail(self) -> None:
        if self.gone or self.complete:
            return
        if self.started:
            self._connection.abandon(self, ErrorCodes.INTERNAL_ERROR)
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": b"Internal Server Error"})

    def _release(self) -> None:
        """Give back the window that what came took."""
        owed, self.owed = self.owed, 0
        self._body = bytearray()
        if owed:
            self._connection.read(self, owed)

    def _wake(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
