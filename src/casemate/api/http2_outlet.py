"""What goes out on one connection over HTTP/2: streams take turns, and windows are kept to.

RFC 9113, section 5.2. A frame of each in turn, so that a large answer does not keep the small ones
waiting; and all that one turn of the event loop brings forth in one piece, so that a head and a
short body are one packet. While the client takes nothing, nothing is added to what waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from h2.connection import H2Connection

from casemate.api.http2_fields import Literals
from casemate.api.http2_frames import FRAME_BYTES, Patience, headers
from casemate.api.http2_head import Field
from casemate.api.http2_stream import Stream

_AT_ONCE = 64 << 10  # bytes that are given to the transport at a time
_EARNED = 3  # frames that a client may send us about one that we sent


class Outlet:
    """The way out. ``answered`` is called with a stream whose answer went whole."""

    def __init__(
        self,
        states: H2Connection,
        patience: Patience,
        loop: asyncio.AbstractEventLoop,
        answered: Callable[[Stream], None],
    ) -> None:
        self.full: float | None = None  # since when the client takes nothing
        self._h2 = states
        self._patience = patience
        self._loop = loop
        self._answered = answered
        self._transport: asyncio.Transport | None = None
        self._ready: deque[Stream] = deque()  # those that have something to send, in turn
        self._stuck: dict[int, Stream] = {}  # those whose window is used up
        self._fields = Literals()
        self._heads: list[bytes] = []  # of answers, which go before what h2 has made
        self._unsent = 0  # bytes that h2 made and the transport does not have
        self._flushing: asyncio.Handle | None = None

    def open(self, transport: asyncio.Transport) -> None:
        """Send to ``transport``, with what there is already."""
        self._transport = transport
        self.flush()

    def close(self) -> None:
        """Send nothing any more, nor what h2 has made."""
        self._transport = None
        if self._flushing is not None:
            self._flushing.cancel()

    def begin(self, stream: Stream, fields: list[Field]) -> None:
        """Send the head of an answer, or that its body may come.

        Past h2, which would write it with a table, and for eight times the price.
        """
        self._heads.append(headers(stream.identity, self._fields.encode(fields)))
        self.flush_soon()

    def tell_table(self) -> None:
        """The client has said how much it remembers of heads: it is told that it need not."""
        self._fields.tell_size()

    def offer(self, stream: Stream) -> None:
        """Something of this stream is to be sent."""
        if not stream.queued:
            stream.queued = True
            self._ready.append(stream)
        self.pump()

    def drop(self, stream: Stream) -> None:
        """Nothing of this stream is to be sent any more."""
        self._stuck.pop(stream.identity, None)

    def widen(self, identity: int) -> None:
        """The window of a stream may be larger now; 0: that of all."""
        if identity:
            stuck = self._stuck.pop(identity, None)
            freed = [] if stuck is None else [stuck]
        else:
            freed = list(self._stuck.values())
            self._stuck.clear()
        for stream in freed:
            stream.queued = True
        self._ready.extend(freed)

    def pause(self) -> None:
        """The client does not read as fast as it is sent to."""
        self.full = self._loop.time()

    def resume(self) -> None:
        """It reads again."""
        self.full = None
        self.pump()

    def pump(self) -> None:
        """Send what windows and the client allow."""
        while self._ready and self.full is None and self._transport is not None:
            stream = self._ready.popleft()
            stream.queued = False
            if stream.waits and not stream.gone:
                self._send(stream)
            if self._unsent >= _AT_ONCE:
                self.flush()
        self.flush_soon()

    def flush_soon(self) -> None:
        """Send what h2 has made once this turn of the loop has made all that it makes."""
        if self._flushing is None and self._transport is not None:
            self._flushing = self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what h2 has made."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        self._unsent = 0
        made = self._h2.data_to_send()
        if self._heads:
            made = b"".join([*self._heads, made])
            self._heads.clear()
        self.write(made)

    def write(self, frame: bytes) -> None:
        """Send a frame that h2 does not know of, after all that was flushed."""
        if frame and self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    def _send(self, stream: Stream) -> None:
        """One frame of this stream."""
        left = stream.left
        room = min(self._h2.local_flow_control_window(stream.identity), FRAME_BYTES)
        if left and room <= 0:
            self._stuck[stream.identity] = stream
            if stream.stuck is None:
                stream.stuck = (self._loop.time(), stream.sent)
            return
        size = min(left, room)
        ends = stream.last and size == left and stream.verdict is None
        self._h2.send_data(stream.identity, stream.cut(size), end_stream=ends)
        self._patience.earn(_EARNED)
        self._unsent += size
        if size < left:
            stream.queued = True
            self._ready.append(stream)
            return
        stream.went()
        if stream.complete:
            self._answered(stream)
