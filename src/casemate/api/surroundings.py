"""What surrounds every response: security headers, a count, a cap on what is read.

Plain ASGI: messages pass through one by one, so a stream stays a stream.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from casemate.api import access
from casemate.api.body import bounded, upload_limit
from casemate.api.door import DOOR, Door
from casemate.api.errors import belongs, dialect_of, known
from casemate.api.gauges import of_process
from casemate.api.handing import HandedOver
from casemate.api.metrics import KEY, Metrics, spoken
from casemate.api.tracing import tracing_of
from casemate.counts import Counts

if TYPE_CHECKING:
    from casemate.installation import Installation

_Header = tuple[bytes, bytes]
_ALWAYS_SENT: tuple[_Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_NOT_KEPT: _Header = (b"cache-control", b"no-store")
# A year: RFC 6797.
_ENCRYPTED_ONLY: _Header = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
_ALWAYS = frozenset({"/healthz", "/readyz", "/metrics"})  # asked also when everybody waits


class Surroundings:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, installation: Installation) -> None:
        self._app = app
        self._installation = installation
        self._tracing = tracing_of(installation)
        self._metrics = Metrics(tracing=self._tracing)
        self._door = Door(time.monotonic)
        self._access = installation.settings.access_log
        # No address takes more than a document; those that take less say so themselves.
        self._limit = upload_limit(installation.settings)
        self._encrypted = installation.settings.encrypted

    def counts(self) -> Counts:
        """What was counted here, for whoever adds it to what other processes counted."""
        more = of_process(self._installation, self._door.turns)
        families = spoken((*self._metrics.registry.collect(), *more))
        return Counts(families, self._installation.engines.seen())

    def close(self) -> None:
        """Send the traces that are left."""
        if self._tracing is not None:
            self._tracing.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and dress its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._tracing is None:
            await self._answer(scope, receive, send)
        else:
            with self._tracing.request(scope) as ended:
                route, status = await self._answer(scope, receive, send)
                ended(route, status)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> tuple[str, int]:
        """Answer one request; its route and status, 0 if the client left before there was one."""
        status, sent, began, handed = 0, 0, time.perf_counter(), False
        path: str = scope["path"]
        scope[KEY] = self._metrics
        scope[DOOR] = self._door

        async def dressed(message: Message) -> None:
            nonlocal status, sent
            sent += len(message.get("body", b""))
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._dressed(message.get("headers", ()), path)
            await send(message)

        try:
            receive = bounded(receive, scope, self._limit)
            if belongs(path) and path not in _ALWAYS:
                async with self._door.entered(scope):
                    await self._app(scope, receive, dressed)
            else:
                await self._app(scope, receive, dressed)
        except HandedOver:
            handed = True  # whoever answers counts it
            raise
        except Exception as problem:
            # Not raised any further: the server would print it, and its text may quote a prompt.
            shown = known(problem)
            if not status:
                await dialect_of(path)(shown)(scope, receive, dressed)
        finally:
            # Without a status the client left before there was one.
            seconds = time.perf_counter() - began
            route = _template(scope)
            if not handed:
                self._metrics.requested(route, scope["method"], str(status or "gone"), seconds)
            if self._access and not handed:
                access.told(scope, route, status, sent, seconds)
        return route, status

    def _dressed(self, headers: Iterable[_Header], path: str) -> list[_Header]:
        """What is sent, and what every response has beside it."""
        found = list(headers)
        if belongs(path) and not path.startswith("/ledger"):
            found = [one for one in found if one[0].lower() != _NOT_KEPT[0]]
        names = {name.lower() for name, _ in found}
        found += [one for one in _ALWAYS_SENT if one[0] not in names]
        if belongs(path) and _NOT_KEPT[0] not in names:
            found.append(_NOT_KEPT)
        if self._encrypted:
            found.append(_ENCRYPTED_ONLY)
        return found


def _template(scope: Scope) -> str:
    route = scope.get("route")
    return str(getattr(route, "path", "") or "unmatched")
