"""Addresses and what can be done at them: the table that routing and OpenAPI both read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from casemate.api.body import bounded, json_limit
from casemate.api.errors import Dialect, MethodNotAllowed, known, nowhere, stopping
from casemate.settings import Settings

if TYPE_CHECKING:
    from casemate.installation import Installation

RUN = "casemate.run"  # key in the ASGI scope: the run that a response is about
_RUN_HEADER = b"x-casemate-run"
_REQUEST_HEADER = b"x-request-id"  # under this name OpenAI's package finds it


@dataclass(frozen=True)
class Face:
    """What every operation works with. ``now`` is the wall clock, in seconds since 1970."""

    installation: Installation
    now: Callable[[], float]

    @property
    def settings(self) -> Settings:
        """The installation's settings."""
        return self.installation.settings


Act = Callable[[Face, Request], Awaitable[ASGIApp]]


@dataclass(frozen=True)
class Query:
    """A query parameter, as OpenAPI describes it. ``shape`` is its Python type."""

    name: str
    description: str
    shape: Any = str | None


@dataclass(frozen=True)
class Operation:
    """One method at one address. The docstring of ``act`` is its description.

    body: type of the JSON body, if there is one. answers: type of the JSON answer, or None with
    ``media`` for others. also: other statuses that it answers with, and the types of their JSON.
    fields: what a form has to hold beside its file. limit: bytes that the body may have.
    """

    method: str
    path: str
    act: Act
    body: Any = None
    answers: Any = None
    query: tuple[Query, ...] = ()
    status: int = 200
    also: tuple[tuple[int, Any], ...] = ()
    media: tuple[str, ...] = ("application/json",)
    body_media: tuple[str, ...] = ("application/json",)
    fields: tuple[str, ...] = ()
    limit: Callable[[Settings], int] = json_limit


def routes_of(face: Face, operations: Iterable[Operation], dialect: Dialect) -> list[BaseRoute]:
    """One route for each address in the table, whatever the method."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [Route(path, Resource(face, dialect, table)) for path, table in by_path.items()]


def nothing_else(prefix: str, dialect: Dialect) -> list[BaseRoute]:
    """A route for every other address below ``prefix``, so that 404 is in the dialect, too."""

    async def absent(scope: Scope, receive: Receive, send: Send) -> None:
        await dialect(nowhere())(scope, receive, send)

    return [Route(prefix + "/{path:path}", _App(absent)), Route(prefix, _App(absent))]


@dataclass(frozen=True)
class _App:
    """Marks an ASGI application as one: Starlette takes a bare function for an endpoint."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class Resource:
    """The ASGI application at one address: method, body limit, errors in the dialect."""

    def __init__(self, face: Face, dialect: Dialect, table: Mapping[str, Operation]) -> None:
        self.operations = tuple(table.values())
        self.methods = frozenset(table)
        self._face = face
        self._dialect = dialect
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = False

        async def marked(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if RUN in scope:
                    run = scope[RUN].encode("ascii")
                    named = [(_RUN_HEADER, run), (_REQUEST_HEADER, run)]
                    message["headers"] = [*message.get("headers", ()), *named]
            await send(message)

        try:
            operation = self._operation(scope["method"])
            limit = operation.limit(self._face.settings)
            receive = bounded(receive, scope, limit)
            request = Request(scope, receive)
            response = await operation.act(self._face, request)
            await response(scope, receive, marked)
        except ClientDisconnect:
            return  # nobody is left to answer
        except asyncio.CancelledError:
            # The server stops; what was begun has been recorded. The request's task ends here.
            if not started:
                await self._dialect(stopping())(scope, receive, marked)
        except Exception as problem:
            shown = known(problem)
            if started:
                # Half an answer is out. Left without its end, the server breaks the connection:
                # nothing else tells the client that it is half.
                return
            await self._dialect(shown)(scope, receive, marked)

    def _operation(self, method: str) -> Operation:
        found = self._table.get("GET" if method == "HEAD" else method)
        if found is None:
            raise MethodNotAllowed(self._table)
        return found


def json_response(content: bytes, status: int = 200) -> Response:
    """A response of encoded JSON."""
    return Response(content, status, media_type="application/json")
