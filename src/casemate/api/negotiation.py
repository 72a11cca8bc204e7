"""Which HTTP a connection speaks: as agreed under TLS, else by how the client begins.

ALPN, RFC 7301; prior knowledge, RFC 9113, section 3.3. The way from HTTP/1.1 with ``Upgrade: h2c``
is obsolete and not offered. Once chosen, a protocol has its connection to itself: HTTP/1.1 pays
nothing for the choice from its second piece of data on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from casemate.api.bounds import Bounds
from casemate.api.connection import Connection
from casemate.api.http2 import Http2
from casemate.api.http2_frames import PREFACE


class Undecided(asyncio.Protocol):
    """A connection of which it is not known yet."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: Bounds,
    ) -> None:
        self._given = (config, server_state, app_state)
        self._loop = _loop or asyncio.get_running_loop()
        self._connections = server_state.connections
        self._bounds = bounds
        self._came = b""
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        self._transport = transport
        encrypted = transport.get_extra_info("ssl_object")
        if encrypted is not None:
            self._become(Http2 if encrypted.selected_alpn_protocol() == "h2" else Connection)
            return
        self._connections.add(self)  # type: ignore[arg-type]
        self._deadline = self._loop.call_later(self._bounds.header_seconds, transport.close)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._came += data
        if self._came.startswith(PREFACE):
            self._become(Http2)
        elif not PREFACE.startswith(self._came):
            self._become(Connection)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._settle()

    def shutdown(self) -> None:
        """Nothing was asked; called by uvicorn."""
        self._transport.close()

    def _become(self, chosen: type[Http2 | Connection]) -> None:
        self._settle()
        protocol = chosen(*self._given, self._loop, bounds=self._bounds)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if self._came:
            protocol.data_received(self._came)

    def _settle(self) -> None:
        self._connections.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()


def connections(bounds: Bounds) -> Callable[..., Undecided]:
    """What uvicorn makes connections with (``http`` of its ``Config``), of both versions."""

    def connection(*args: Any, **named: Any) -> Undecided:
        return Undecided(*args, **named, bounds=bounds)

    return connection
