"""A replica: one server of a model, the connections to it, and how it is.

It is connected to at the addresses that the perimeter checked, and at no others. What it may be
told is asked for each exchange; what its name means, for each connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from casemate.engines.remote.breaker import Breaker
from casemate.engines.remote.connection import Connection
from casemate.engines.remote.phases import Phases
from casemate.engines.wire import ADVICE
from casemate.errors import Broken, CasemateError, Invalid, Unavailable
from casemate.gate.address import Address
from casemate.gate.connection import Ways

if TYPE_CHECKING:
    from casemate.gate.label import Label
    from casemate.gate.perimeter import Perimeter, Route
    from casemate.gate.place import Place

_MOST_IDLE = 256  # connections
IDLE_SECONDS = 4.0  # uvicorn and cpp-httplib close after 5; who asks at that moment loses
_BESIDE = frozenset({"/tokenize"})  # vLLM serves it beside /v1, not below


@dataclass(frozen=True)
class Health:
    """How a replica is. ``number``: its place in the manifest, from 1; ``state``: the breaker's.

    ``outstanding``: exchanges under way. ``failures`` and ``retries``, since the start: exchanges
    that it failed, and those that were begun again elsewhere after that.
    """

    number: int
    state: str
    outstanding: int
    failures: int
    retries: int


@dataclass(frozen=True)
class Request:
    """What is asked of a replica. ``phase``: the one that ends with the answer's first piece."""

    method: str
    path: str
    accept: str
    body: bytes
    label: Label
    phase: str


class Elsewhere(Exception):
    """Another replica may be asked in its place; ``problem`` is what to say if there is none.

    ``is_reached``: there was a connection, at last. ``was_sent``: it may have seen the request,
    which may be what broke it.
    """

    def __init__(self, problem: CasemateError, *, is_reached: bool) -> None:
        super().__init__(problem.what)
        self.problem = problem
        self.is_reached = self.was_sent = is_reached


class Replica:
    """One server. Raises Invalid if ``address`` or ``key`` cannot be used for HTTP."""

    def __init__(
        self,
        number: int,
        address: str,
        perimeter: Perimeter,
        phases: Phases,
        key: str = "",
        breaker: Breaker | None = None,
    ) -> None:
        where = Address.parse(address)
        if where.scheme not in ("http", "https"):
            raise Invalid(
                "The address of a model server begins with http:// or https://.",
                "Propose the model with such an address.",
            )
        if not (key.isascii() and (key.isprintable() or not key)):
            raise Invalid("The key for a model server is not plain text.", "Give it again.")
        self.number = number
        self.address = address
        self.breaker = breaker or Breaker()
        self.outstanding = self.failures = self.retries = 0
        self.heard = 0.0  # when it last answered
        self.rests_until = 0.0  # as it asked for itself
        self._where = where
        self._perimeter = perimeter
        self._phases = phases
        self._ways = Ways()
        self._path = urlsplit(address).path.rstrip("/")
        self._authority = urlsplit(address).netloc
        self._key = key
        self._heads: dict[tuple[str, str, str], bytes] = {}
        self._idle: list[Connection] = []  # the one used last is last
        self._open: set[Connection] = set()
        self._places: tuple[Place, ...] | None = None  # under which ``_label`` was allowed
        self._label: Label | None = None
        self._tls: ssl.SSLContext | None = None

    def permit(self, label: Label) -> None:
        """Raise Refused unless what is labelled ``label`` may go there."""
        places = self._perimeter.places
        if places is self._places and (label is self._label or label == self._label):
            return
        if places is not self._places:
            # They may lead where nobody may go any more.
            self.close_idle()
            for connection in self._open:
                connection.retire()
        self._perimeter.declared(self.address, label)
        self._places, self._label = places, label

    async def ask(self, request: Request, whole_by: float) -> tuple[Connection, bytes]:
        """Send ``request``: the connection that answers it, and the first piece of the answer.

        Raises Elsewhere, and TooSlow if it is connected and gives no answer.
        """
        was_sent = False
        connection = self._rested()
        if connection is not None:
            try:
                return connection, await self._begin(connection, request, whole_by)
            except Broken as problem:
                if connection.is_answered:
                    raise Elsewhere(problem, is_reached=True) from problem
            # Most likely it was closed while nobody used it, and so are the others.
            was_sent = True
            self.close_idle()
        try:
            connection = await self._connect(request.label)
            return connection, await self._begin(connection, request, whole_by)
        except Elsewhere as elsewhere:
            elsewhere.was_sent = was_sent
            raise
        except Broken as problem:
            raise Elsewhere(problem, is_reached=True) from problem

    async def _begin(self, connection: Connection, request: Request, whole_by: float) -> bytes:
        try:
            head = self._head(request)
            connection.ask(head, request.body, phase=request.phase, whole_by=whole_by)
            return await connection.first()
        except BaseException:
            connection.abort()
            raise

    def end(self, connection: Connection) -> None:
        """Keep the connection of an exchange for the next, if it may be; else close it now."""
        if connection.rest():
            if len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
            else:
                connection.abort()

    def close_idle(self, before: float | None = None) -> None:
        """Close what nobody uses; with ``before``, in the loop's seconds, only what is older."""
        keep: list[Connection] = []
        for connection in self._idle:
            if before is not None and connection.idle_since >= before:
                keep.append(connection)
            else:
                with contextlib.suppress(RuntimeError):  # of a loop that is gone
                    connection.abort()
        self._idle = keep

    def close(self) -> None:
        """Close every connection."""
        self._idle = []
        closing, self._open = self._open, set()
        for connection in closing:
            with contextlib.suppress(RuntimeError):
                connection.abort()

    def health(self, now: float) -> Health:
        """How it is now."""
        return Health(
            self.number,
            self.breaker.state(now),
            self.outstanding,
            self.failures,
            self.retries,
        )

    @property
    def label(self) -> Label | None:
        """The one that it was last allowed to be told something under."""
        return self._label

    def _rested(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            loop = asyncio.get_running_loop()
            if connection.idle_since >= loop.time() - IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    async def _connect(self, label: Label) -> Connection:
        try:
            tls = await self._secured()
            places = self._perimeter.places
            async with asyncio.timeout(self._phases.connect):
                route = await self._route(label)
            self._ways.allow(route)
            connection = await self._connected(route, tls)
            if self._perimeter.places is not places:  # it has changed meanwhile
                connection.retire()
            return connection
        except TimeoutError as problem:  # is an OSError, too
            raise Elsewhere(self._phases.exceeded("connect"), is_reached=False) from problem
        except CasemateError as problem:  # what its name means now
            raise Elsewhere(problem, is_reached=False) from problem
        except ssl.CertificateError as problem:
            unverified = Unavailable(
                "The certificate of the model server cannot be verified.",
                "Whoever runs it compares its names with the address, and has its authority "
                "believed here (SSL_CERT_FILE).",
            )
            raise Elsewhere(unverified, is_reached=False) from problem
        except OSError as problem:
            unreached = Unavailable("The model server does not answer.", ADVICE)
            raise Elsewhere(unreached, is_reached=False) from problem

    async def _connected(self, route: Route, tls: ssl.SSLContext | None) -> Connection:
        loop = asyncio.get_running_loop()
        problem = OSError("no address")
        for ip in route.addresses:
            try:
                # One that swallows what is sent to it leaves time for the others.
                async with asyncio.timeout(self._phases.connect / len(route.addresses)):
                    _, connection = await loop.create_connection(
                        lambda: Connection(loop, self._phases, self._lost),
                        ip,
                        route.port or 0,
                        ssl=tls,
                        server_hostname=self._where.host if tls is not None else None,
                    )
            except OSError as met:
                problem = met
                continue
            if connection.is_open:
                self._open.add(connection)
            return connection
        raise problem

    async def _route(self, label: Label) -> Route:
        if self._where.ip is not None:
            return self._perimeter.route(self.address, label)
        return await asyncio.to_thread(self._perimeter.route, self.address, label)

    async def _secured(self) -> ssl.SSLContext | None:
        if self._where.scheme == "https" and self._tls is None:
            tls = await asyncio.to_thread(ssl.create_default_context)  # reads many certificates
            tls.set_alpn_protocols(["http/1.1"])
            self._tls = tls
        return self._tls

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _head(self, request: Request) -> bytes:
        kind = request.method, request.path, request.accept
        head = self._heads.get(kind)
        if head is None:
            head = self._heads[kind] = self._written(*kind)
        if request.method == "GET":
            return head + b"\r\n"
        return head + b"Content-Length: %d\r\n\r\n" % len(request.body)

    def _written(self, method: str, path: str, accept: str) -> bytes:
        below = self._path.removesuffix("/v1") if path in _BESIDE else self._path
        lines = [
            f"{method} {below}{path} HTTP/1.1",
            f"Host: {self._authority}",
            "User-Agent: casemate",
            f"Accept: {accept}",
            "Accept-Encoding: identity",
        ]
        if method != "GET":
            lines.append("Content-Type: application/json")
        if self._key:
            lines.append(f"Authorization: Bearer {self._key}")
        return "".join(f"{line}\r\n" for line in lines).encode("ascii")
