"""Connections: HTTP/1.1 from clients that may be slow, large or silent, on purpose or not.

A client has so long for its headers, sends its body at a pace, and reads what it is sent; who does
not is dropped, with an answer where one can still be given (RFC 9110: 408, 414; RFC 6585: 431).
What a connection may hold in memory is bounded all the while: headers here, bodies by ``body``,
answers by the water marks of its transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.server import ServerState

from casemate.api import departure, tls
from casemate.api.bounds import FULL, LARGE_HEADERS, LONG_ADDRESS, SLOW, Bounds, Unfit
from casemate.api.deadline import Deadline
from casemate.api.departure import Departure
from casemate.api.errors import dialect_of
from casemate.api.parting import hang_up
from casemate.api.writing import Writing

_GARBLED = Unfit(400, "This is not an HTTP request.", "Speak HTTP/1.1.")


class Connection(tls.Protocol):
    """One client's connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: Bounds,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._bounds = bounds
        self._deadline = Deadline(self.loop)  # of the headers, of the body, of silence after it
        self._reading: asyncio.TimerHandle | None = None  # of the client, what we sent
        self._in_headers = True
        self._in_body = False
        self._header_bytes = 0  # received while the headers are not complete
        self._named = 0  # of the headers that are
        self._body_bytes = 0  # since the last look
        self._path = b""
        self._unfit = _GARBLED
        self._refused = False
        self._refusal: Unfit | None = None  # that waits until what came before it is answered
        self._lingering: asyncio.TimerHandle | None = None
        self._departure = Departure()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(Writing(transport, self.loop))
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._deadline.close()
        self._cancel_reading()
        if self._lingering is not None:
            self._lingering.cancel()
        super().connection_lost(exc)
        self._departure.depart()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._refused:
            return
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if not self._deadline and (self.cycle is None or self.cycle.response_complete):
            self._wait_for_headers()  # something came that begins no request, as an empty line
        if self._in_headers and self._header_bytes > self._bounds.header_bytes:
            self._refuse(LARGE_HEADERS)

    def eof_received(self) -> None:
        """See asyncio.Protocol: the client has no more to say."""
        if self._refused:
            self.transport.close()

    def on_message_begin(self) -> None:
        """See httptools."""
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope[departure.KEY] = self._departure
        self._path, self._named = b"", 0
        if not self._in_headers:  # another request on a connection that is kept
            self._in_headers, self._header_bytes = True, 1  # of which at least one is here
            self._wait_for_headers()

    def on_url(self, url: bytes) -> None:
        """See httptools."""
        super().on_url(url)
        if len(self.url) > self._bounds.address_bytes:
            self._unfit = LONG_ADDRESS
            raise httptools.HttpParserError("address")
        self._path = self.url

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        super().on_header(name, value)
        self._named += len(name) + len(value)
        if len(self.headers) > self._bounds.headers or self._named > self._bounds.header_bytes:
            self._unfit = LARGE_HEADERS
            raise httptools.HttpParserError("headers")

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._in_headers = False
        self._body_bytes = 0
        self._deadline.clear()
        if len(self.connections) > self._bounds.connections:
            self._unfit = FULL
            raise httptools.HttpParserError("connections")
        self._in_body = True
        super().on_headers_complete()
        if len(self.pipeline) == 1:  # read on, to see it when the client goes away
            self.flow.resume_reading()
        self._deadline.set(self._bounds.look, self._look)

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """See httptools."""
        self._in_body = False
        self._deadline.clear()
        super().on_message_complete()
        if self.cycle.response_complete:  # before all of the request was here
            self._wait_for_another()

    def on_response_complete(self) -> None:
        """See HttpToolsProtocol, which would make a timer for each silence between requests."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._refusal is not None:
            self._say_refusal(self._refusal)
        elif not (self._in_headers or self._in_body):  # which have a deadline of their own
            self._wait_for_another()

    def pause_writing(self) -> None:
        """See asyncio.Protocol: the client does not read as fast as it is sent to."""
        super().pause_writing()
        self._cancel_reading()
        self._reading = self.loop.call_later(self._bounds.unread, self.transport.abort)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._cancel_reading()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong with a request that is not read on."""
        self._refuse(self._unfit)

    def _wait_for_headers(self) -> None:
        self._deadline.set(self._bounds.header_seconds, self._too_slow)

    def _wait_for_another(self) -> None:
        self._deadline.set(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _look(self) -> None:
        """Whether the body comes along; who is not being read from is not late."""
        held = self.flow.read_paused or self.cycle.waiting_for_100_continue
        if held or self._body_bytes >= self._bounds.look * self._bounds.body_pace:
            self._body_bytes = 0
            self._deadline.set(self._bounds.look, self._look)
        else:
            self._too_slow()

    def _too_slow(self) -> None:
        # Who never said anything, or is silent between two requests, is owed no answer.
        if self._header_bytes == 0:
            self.transport.close()
        else:
            self._refuse(SLOW)

    def _refuse(self, problem: Unfit) -> None:
        """Answer what is not read on, in its turn, and close."""
        self._deadline.clear()
        if self._refused:
            return
        self._refused = True
        cycle = self.cycle
        under_way = cycle is not None and not cycle.response_complete
        if not under_way:
            self._say_refusal(problem)
        elif not self._in_body:  # another request, behind one that is whole
            self._refusal = problem
        elif self.pipeline:  # not begun: others are answered first
            self.pipeline.popleft()
            self._refusal = problem
        elif cycle.response_started:
            self.transport.abort()
        else:
            cycle.disconnected = True  # whoever waits for the body is told that it will not come
            cycle.message_event.set()
            self._departure.depart()
            self._say_refusal(problem)

    def _say_refusal(self, problem: Unfit) -> None:
        if self.transport.is_closing():
            return
        # Who was answered before all of the body was here is owed nothing more.
        if not (self._in_body and self.cycle.response_complete):
            self.transport.write(_answer(self._path, problem))
        self._lingering = hang_up(self.transport, self.loop, self._bounds.linger)

    def _cancel_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None


def connections(bounds: Bounds) -> Callable[..., Connection]:
    """What uvicorn makes connections with (``http`` of its ``Config``)."""

    def connection(*args: Any, **named: Any) -> Connection:
        return Connection(*args, **named, bounds=bounds)

    return connection


def _answer(path: bytes, problem: Unfit) -> bytes:
    """A response in the dialect of the address, as far as that was read."""
    response = dialect_of(path.split(b"?")[0].decode("ascii", "replace"))(problem)
    headers = [*response.raw_headers, (b"connection", b"close")]
    head = [f"HTTP/1.1 {problem.status} ".encode() + _REASONS[problem.status]]
    head += [name + b": " + value for name, value in headers]
    return b"\r\n".join([*head, b"", bytes(response.body)])


_REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}
