"""Direct ways: an address without a variable in it is found in one look, not by trying all.

The router tries one pattern after the other, and wraps each request in what renders errors of
pages; resources for programs render their own. So these are called straight away, and whatever is
left goes to the application that has the router.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from casemate.api.resource import Resource


class Direct:
    """ASGI application in front of ``app``, which has ``routes``."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._ways: dict[str, tuple[Route, Resource]] = {}
        for route in routes:
            if not isinstance(route, Route) or "{" in route.path:
                continue
            if isinstance(route.app, Resource):
                self._ways.setdefault(route.path, (route, route.app))  # the first one wins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        found = self._ways.get(scope["path"]) if scope["type"] == "http" else None
        if found is None or scope.get("root_path"):
            await self._app(scope, receive, send)
            return
        route, resource = found
        if scope["method"] not in resource.methods:  # another route may have it
            await self._app(scope, receive, send)
            return
        scope["route"], scope["endpoint"], scope["path_params"] = route, resource, {}
        await resource(scope, receive, send)
