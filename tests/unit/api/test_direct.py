from __future__ import annotations

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from casemate.api.direct import Direct
from casemate.api.errors import platform
from casemate.api.resource import Face, Operation, routes_of


async def told(face, request):
    """Say which template it was."""
    return PlainTextResponse(f"{request.scope['route'].path} {request.path_params}")


async def page(request):
    return PlainTextResponse("a page")


def a_client(*, direct: bool) -> TestClient:
    operations = [Operation("GET", path, told) for path in ("/api/things", "/api/things/{id}")]
    routes = [*routes_of(Face(None, lambda: 0.0), operations, platform), Route("/", page)]
    app = Starlette(routes=routes)
    return TestClient(Direct(app, routes) if direct else app)


def test_a_direct_way_leads_where_the_router_leads():
    short, long = a_client(direct=True), a_client(direct=False)
    for method, path in (
        *(("GET", "/api/things"), ("GET", "/api/things/7"), ("GET", "/"), ("GET", "/nowhere")),
        *(("POST", "/api/things"), ("HEAD", "/api/things"), ("GET", "/api/things/")),
    ):
        one, other = (
            client.request(method, path, follow_redirects=False) for client in (short, long)
        )
        assert (one.status_code, one.content) == (other.status_code, other.content), path
