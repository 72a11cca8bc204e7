"""Addresses that others' APIs have and Casemate does not: an answer that says what to use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from casemate.api.errors import Dialect
from casemate.errors import Unsupported


def not_offered(
    table: Mapping[str, tuple[str, str]], dialect: Dialect, prefix: str = ""
) -> list[BaseRoute]:
    """A route for each address in ``table`` and for everything below it, whatever the method.

    ``table``: address below ``prefix`` → what would be there, and what to use. Where an address has
    a method before it, only this method is meant, and nothing below: others are served there.
    """
    routes: list[BaseRoute] = []
    for place, (name, next) in table.items():
        absent = _NotOffered(dialect, f"{name}: not supported here.", next)
        method, _, path = place.rpartition(" ")
        if method:
            routes.append(Route(f"{prefix}{path}", absent, methods=[method]))
            continue
        routes += [
            Route(f"{prefix}{path}", absent),
            Route(f"{prefix}{path}/{{path:path}}", absent),
        ]
    return routes


@dataclass(frozen=True)
class _NotOffered:
    """The ASGI application at such an address."""

    dialect: Dialect
    what: str
    next: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.dialect(Unsupported(self.what, self.next))(scope, receive, send)
