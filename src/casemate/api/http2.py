"""HTTP/2: a connection on which many requests are asked and answered at one time.

RFC 9113, on the library h2, which knows the states, the windows and how requests are compressed. A
client that is slow, large or silent is treated as over HTTP/1.1 (``connection``): answered where it
can be, else its stream is reset. What is wrong with a whole connection ends it with GOAWAY.
Nothing is ever pushed.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes
from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from casemate.api import http2_head, tls
from casemate.api.bounds import FULL, SLOW, Bounds, Unfit
from casemate.api.errors import dialect_of, known
from casemate.api.http2_frames import FRAME_BYTES, RESET, Intake, Patience, Unbearable, goaway
from casemate.api.http2_head import Field, Head
from casemate.api.http2_outlet import Outlet
from casemate.api.http2_states import begun, most_fields
from casemate.api.http2_stream import Stream
from casemate.api.parting import hang_up

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_SETTINGS = 64  # different ones that a client may send

_log = logging.getLogger("casemate.api.http2")


class Http2(asyncio.Protocol):
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
        self._config = config
        self._state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._bounds = bounds
        now = self._loop.time()
        self._patience = Patience(now)
        self._intake = Intake(most_fields(bounds), self._patience, now)
        self._h2 = begun(bounds)
        self._outlet = Outlet(self._h2, self._patience, self._loop, self._answered)
        self._streams: dict[int, Stream] = {}
        self._running = 0  # applications, with those whose stream is no more
        self._bodies = 0  # pieces of bodies that were for a stream
        self._last = 0  # the last stream that was begun
        self._idle = now  # since when there is no stream
        self._looking: asyncio.TimerHandle | None = None
        self._leaving = False  # this server is: no stream begins any more
        self._over = False

    # For asyncio and uvicorn

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        self._transport = transport
        self._state.connections.add(self)  # type: ignore[arg-type]
        self._scope = _scope(self._config, transport)
        self._shown = tls.shown(transport)
        self._outlet.open(transport)
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._state.connections.discard(self)
        self._over = True
        self._outlet.close()
        self._stop_looking()
        self._forget_all()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._over:
            return
        try:
            for event in self._h2.receive_data(self._intake.take(data, self._loop.time())):
                note = _NOTED.get(type(event))
                if note is not None:
                    note(self, event)
            self._weigh_late()
            self._outlet.pump()
        except Unbearable as problem:
            self._end(problem.code, problem.what)
        except ProtocolError as problem:
            self._end(problem.error_code, "This breaks RFC 9113.")
        except Exception as problem:
            self._end(ErrorCodes.INTERNAL_ERROR, known(problem).what)
        else:
            self._outlet.flush()
            self._close_if_done()

    def pause_writing(self) -> None:
        """See asyncio.Protocol: the client does not read as fast as it is sent to."""
        self._outlet.pause()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._outlet.resume()

    def shutdown(self) -> None:
        """What has begun is answered, and nothing else; called by uvicorn."""
        self._leave("The server is being stopped.")

    # For streams

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """What every answer has."""
        return self._state.default_headers

    def answer(self, stream: Stream, fields: list[Field]) -> None:
        """Send the head of an answer."""
        self._outlet.begin(stream, fields)

    def proceed(self, stream: Stream) -> None:
        """Tell the client to send its body (RFC 9110, section 10.1.1)."""
        self._outlet.begin(stream, [(b":status", b"100")])

    def offer(self, stream: Stream) -> None:
        """Something of this stream is to be sent."""
        self._outlet.offer(stream)

    def read(self, stream: Stream, size: int) -> None:
        """So much of the window may be used again."""
        if not self._over:
            self._h2.acknowledge_received_data(size, stream.identity)
            self._outlet.flush_soon()

    def abandon(self, stream: Stream, code: ErrorCodes) -> None:
        """Reset a stream of which no more is sent, or read."""
        if self._streams.get(stream.identity) is stream:
            self._reset(stream.identity, code)
            self._forget(stream)

    # What came

    def _on_request(self, event: RequestReceived) -> None:
        most = self._bounds.streams
        # Whose stream was reset goes on for a moment, and who is answered may have more to do.
        if self._leaving or len(self._streams) >= most or self._running >= 2 * most:
            # Not looked at, so that it may be sent again: section 8.7.
            self._patience.spend(RESET, self._loop.time())
            self._reset(event.stream_id, ErrorCodes.REFUSED_STREAM)
            return
        self._last = event.stream_id
        try:
            head = Head.parse(event.headers, self._bounds)
            self._require_room()
        except Unfit as problem:
            self._patience.spend(RESET, self._loop.time())
            self._refuse(event.stream_id, http2_head.dialect_path(event.headers), problem)
            return
        root = self._config.root_path
        scope = self._scope | {
            "method": head.method,
            "path": root + head.path,
            "raw_path": root.encode("ascii") + head.raw_path,
            "query_string": head.query,
            "headers": head.headers,
            "state": self._app_state.copy(),
        }
        if self._shown is not None:
            scope["extensions"] = {"tls": {"client_cert_chain": self._shown}}
        stream = Stream(self, event.stream_id, scope, expects=head.expects, length=head.length)
        self._begin(stream, self._config.loaded_app)

    def _weigh_late(self) -> None:
        """Count what came for streams that are no more, each of which h2 resets once again."""
        late, self._bodies = self._intake.bodies - self._bodies, self._intake.bodies
        if late:
            self._patience.spend(late, self._loop.time())

    def _on_data(self, event: DataReceived) -> None:
        self._bodies += 1
        stream = self._streams.get(event.stream_id)
        if stream is None:  # reset by us while this was on its way
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        else:
            stream.take(event.data, event.flow_controlled_length)
            if stream.exceeds:
                self._break_off(stream)

    def _on_trailers(self, event: TrailersReceived) -> None:
        # ASGI has no place for them: whoever needs none may drop them (RFC 9110, section 6.5.1).
        try:
            for name, value in event.headers:
                http2_head.check(name, value)
        except Unfit:
            if (stream := self._streams.get(event.stream_id)) is not None:
                self._break_off(stream)

    def _on_end(self, event: StreamEnded) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.end()
            if stream.complete:
                self._forget(stream)
            elif stream.short and not stream.started:  # who is being answered may stop sending
                self._break_off(stream)

    def _break_off(self, stream: Stream) -> None:
        """Reset a stream that turned out to be malformed (section 8.1.1)."""
        self._patience.spend(RESET, self._loop.time())
        self.abandon(stream, ErrorCodes.PROTOCOL_ERROR)

    def _on_reset(self, event: StreamReset) -> None:
        if not event.remote_reset:  # h2 did it, for something that the client made it do
            self._patience.spend(RESET, self._loop.time())
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            self._forget(stream)

    def _on_window(self, event: WindowUpdated) -> None:
        self._outlet.widen(event.stream_id)

    def _on_settings(self, event: RemoteSettingsChanged) -> None:
        if len(self._h2.remote_settings) > _SETTINGS:
            raise Unbearable(ErrorCodes.ENHANCE_YOUR_CALM, "Too many settings came.")
        if SettingCodes.HEADER_TABLE_SIZE in event.changed_settings:
            self._outlet.tell_table()
        self._outlet.widen(0)  # of all streams: section 6.9.2

    # Streams

    def _begin(self, stream: Stream, app: ASGIApp) -> None:
        self._streams[stream.identity] = stream
        stream.seen = self._loop.time(), 0
        self._running += 1
        context = contextvars.Context() if self._config.reset_contextvars else None
        task = self._loop.create_task(stream.run(app), context=context)
        self._state.tasks.add(task)
        task.add_done_callback(self._ran)

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._state.tasks.discard(task)
        self._running -= 1

    def _refuse(self, identity: int, path: str, problem: Unfit) -> None:
        """Answer in the dialect of the address, without the application."""
        stream = Stream(self, identity, {"type": "http"})
        stream.deaf = True
        if problem is http2_head.MALFORMED:
            stream.verdict = ErrorCodes.PROTOCOL_ERROR  # section 8.1.1
        self._begin(stream, dialect_of(path)(problem))

    def _require_room(self) -> None:
        most = self._bounds.connections
        crowded = len(self._state.connections) > most
        if crowded:
            self._leave(FULL.what)
        if crowded or len(self._state.tasks) >= most:
            raise FULL

    def _reset(self, identity: int, code: ErrorCodes) -> None:
        with contextlib.suppress(StreamClosedError):  # as it was by the client, a moment before
            self._h2.reset_stream(identity, code)
        self._outlet.flush_soon()

    def _forget(self, stream: Stream) -> None:
        del self._streams[stream.identity]
        self._outlet.drop(stream)
        stream.leave()
        if not self._streams:
            self._idle = self._loop.time()
            self._loop.call_soon(self._close_if_done)

    def _forget_all(self) -> None:
        for stream in list(self._streams.values()):
            self._forget(stream)

    def _answered(self, stream: Stream) -> None:
        self._state.total_requests += 1
        if stream.verdict is not None:
            self.abandon(stream, stream.verdict)
        elif stream.ended:
            self._forget(stream)
        else:
            # Section 8.1: the rest is not needed. But who only reads when all is sent would take
            # the reset for a failure, so what still comes is read and dropped for a while.
            self._loop.call_later(self._bounds.linger, self.abandon, stream, ErrorCodes.NO_ERROR)

    # The end

    def _leave(self, what: str) -> None:
        """Begin no stream any more, and close when those that there are have ended."""
        if not self._leaving and not self._over:
            self._leaving = True
            self._outlet.flush()
            self._outlet.write(goaway(self._last, ErrorCodes.NO_ERROR, what))
            self._close_if_done()

    def _close_if_done(self) -> None:
        if self._streams or self._over:
            return
        if self._leaving:
            self._over = True
            self._outlet.flush()
            # Not at once: a request may be on its way, to which a reset would be no answer.
            self._hang_up()
        elif self._intake.leaving:
            self._leave("All is answered.")

    def _end(self, code: ErrorCodes, what: str) -> None:
        """Say why, and close; what runs is told that nobody is there any more."""
        if self._over:
            return
        self._over = True
        self._h2.clear_outbound_data_buffer()  # h2 may have said the same
        self._outlet.write(goaway(self._last, code, what))
        self._forget_all()
        self._hang_up()
        _log.warning("a connection over HTTP/2 was ended: %s", code.name)

    def _hang_up(self) -> None:
        self._outlet.close()
        self._stop_looking()
        self._looking = hang_up(self._transport, self._loop, self._bounds.linger)

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()

    # Slow clients

    def _look_later(self) -> None:
        bounds = self._bounds
        wait = min(bounds.header_seconds, bounds.look, bounds.unread, bounds.idle)
        self._looking = self._loop.call_later(wait, self._look)

    def _look(self) -> None:
        """Whether what is due has come."""
        now, bounds = self._loop.time(), self._bounds
        if self._outlet.full is not None and now - self._outlet.full >= bounds.unread:
            self._transport.abort()
            return
        since = self._intake.since
        if since is not None and now - since >= bounds.header_seconds:
            self._end(ErrorCodes.ENHANCE_YOUR_CALM, SLOW.what)
            return
        allowed = bounds.idle if self._last else bounds.header_seconds
        if since is None and not self._streams and now - self._idle >= allowed:
            self._leave("Nothing was asked for a while.")
            return
        # Who cannot send because others' bodies fill the window of all is not late.
        narrow = self._h2.inbound_flow_control_window < FRAME_BYTES
        for stream in list(self._streams.values()):
            waiting = self._intake.waiting(stream.identity)
            if stream.untaken(now, bounds):
                self.abandon(stream, ErrorCodes.CANCEL)
            elif stream.late(now, waiting, bounds) and not narrow:
                self._give_up(stream)
        self._outlet.pump()
        self._look_later()

    def _give_up(self, stream: Stream) -> None:
        """Whose body does not come is answered, if that has not begun."""
        if stream.started:
            self.abandon(stream, ErrorCodes.CANCEL)
        else:
            self._forget(stream)
            self._refuse(stream.identity, stream.path, SLOW)


def _scope(config: Config, transport: asyncio.Transport) -> dict[str, Any]:
    """What the ASGI scopes of one connection's requests have in common."""
    client = get_remote_addr(transport)
    return {
        "type": "http",
        "asgi": {"version": config.asgi_version, "spec_version": "2.3"},
        "http_version": "2",
        "server": get_local_addr(transport),
        "client": client,
        "scheme": "https" if is_ssl(transport) else "http",
        "root_path": config.root_path,
        tls.PEER: client[0] if client else "",
    }


_NOTED: dict[type[Event], Callable[[Http2, Any], None]] = {
    RequestReceived: Http2._on_request,
    DataReceived: Http2._on_data,
    TrailersReceived: Http2._on_trailers,
    StreamEnded: Http2._on_end,
    StreamReset: Http2._on_reset,
    WindowUpdated: Http2._on_window,
    RemoteSettingsChanged: Http2._on_settings,
}
