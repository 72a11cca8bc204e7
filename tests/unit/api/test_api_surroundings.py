from __future__ import annotations

import asyncio

import pytest
from fake_installation import (
    AUDITOR_KEY,
    FULL_TILE,
    KEY,
    PARTIAL_TILE,
    VKEY,
    FakeInstallation,
    a_caller,
    an_application,
    held,
    replaced,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from casemate import api
from casemate.api import errors
from casemate.api.metrics import Metrics
from casemate.counts import Counts
from casemate.errors import CasemateError, NotFound
from casemate.reasoning.event import Request as Asked
from casemate.settings import Settings

AUDITOR = {"Authorization": f"Bearer {AUDITOR_KEY}"}
CHAT = b'{"model":"documents","stream":%s,"messages":[{"role":"user","content":"Fee?"}]}'


def test_the_checkpoint_and_the_key_are_open_to_all(stranger):
    checkpoint = stranger.get("/ledger/checkpoint")
    assert checkpoint.headers["content-type"] == "text/plain; charset=utf-8"
    assert checkpoint.headers["cache-control"] == "no-store"
    assert checkpoint.content.startswith(b"casemate.example\n7\n")
    assert stranger.get("/ledger/key").text == VKEY + "\n"


def test_tiles_are_for_auditors(client, stranger):
    assert stranger.get(f"/ledger/{FULL_TILE}").status_code == 401
    assert client.get(f"/ledger/{FULL_TILE}").status_code == 403
    assert client.get("/metrics").status_code == 403
    response = stranger.get(f"/ledger/{FULL_TILE}", headers=AUDITOR)
    assert response.content == b"h" * 8192
    assert response.headers["cache-control"] == "private, max-age=31536000, immutable"


def test_an_open_ledger_gives_tiles_to_everyone(stranger, installation):
    installation.settings = replaced(Settings(), open_ledger=True)
    full, partial = (stranger.get(f"/ledger/{path}") for path in (FULL_TILE, PARTIAL_TILE))
    assert full.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert partial.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert partial.content == b"h" * 96


@pytest.mark.parametrize("path", ["0/002", "0/x", "0/%2e%2e/%2e%2e/master", "64/000", ""])
def test_what_is_not_a_tile_is_404(stranger, path):
    assert stranger.get(f"/ledger/tile/{path}", headers=AUDITOR).status_code == 404


def test_health_tells_alive_from_ready(stranger, installation, caplog):
    assert stranger.get("/readyz").status_code == 200
    installation.broken = True
    assert stranger.get("/healthz").status_code == 200
    response = stranger.get("/readyz")
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert "secret" not in response.text + caplog.text


def test_metrics_are_for_this_machine_and_auditors(app, stranger):
    assert stranger.get("/metrics").status_code == 401
    assert stranger.get("/metrics", headers=AUDITOR).status_code == 200
    here = TestClient(app, client=("127.0.0.1", 5000))
    assert here.get("/metrics").status_code == 200
    assert here.get("/metrics", headers={"X-Forwarded-For": "10.0.0.1"}).status_code == 401
    assert TestClient(app, client=("::1", 5000)).get("/metrics").status_code == 200
    assert TestClient(app, client=("10.0.0.1", 5000)).get("/metrics").status_code == 401


def test_metrics_count_routes_and_runs_but_no_person(client, app):
    client.post("/api/runs", json={"question": "What is the secret fee?"})
    client.get("/api/documents/d1")
    client.get("/nowhere/personal-name")
    client.request("BREW", "/api/whoami")
    text = TestClient(app, client=("127.0.0.1", 5000)).get("/metrics").text
    assert (
        'casemate_requests_total{method="GET",route="/api/documents/{id}",status="200"} 1.0' in text
    )
    assert 'route="unmatched",status="404"' in text
    assert 'method="other",route="/api/whoami",status="405"' in text
    assert 'casemate_runs_total{model="quote",outcome="answered",use_case="documents"} 1.0' in text
    assert 'casemate_run_seconds_count{model="quote",use_case="documents"} 1.0' in text
    assert "casemate_ledger_entries 7.0" in text
    assert "casemate_documents 1.0" in text
    assert "alice" not in text
    assert "secret" not in text
    assert "personal" not in text


def test_each_application_has_its_own_counts():
    first, second = Metrics(), Metrics()
    first.requested("/x", "GET", "200", 0.1)
    assert b'route="/x"' not in second.text(
        ledger_entries=0, documents=0, more=(), elsewhere=Counts()
    )


def test_security_headers_are_on_every_response(client):
    for path in ("/api/whoami", "/v1/models", "/healthz", "/nowhere", "/api/nowhere"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    assert client.get("/v1/models").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("address", "said"),
    [("https://casemate.lu", "max-age=31536000; includeSubDomains"), ("http://casemate.lu", None)],
)
def test_browsers_are_told_to_come_over_tls_alone_where_there_is_tls(address, said):
    settings = replaced(Settings(), public_url=address)
    client = TestClient(an_application(FakeInstallation(settings)))
    for path in ("/healthz", "/v1/models", "/nowhere"):
        assert client.get(path).headers.get("strict-transport-security") == said


def test_no_address_reads_more_than_the_largest_document():
    installation = FakeInstallation(replaced(Settings(), upload_mebibytes=1))

    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    routes = [Route("/page", page, methods=["POST"])]
    app = Starlette(routes=routes, exception_handlers={CasemateError: errors.response})
    client = TestClient(api.Surroundings(app, installation))
    assert client.post("/page", content=b"x").text == "1"
    assert client.post("/page", content=b"x" * 3_000_000).status_code == 413
    assert client.post("/page", content=(b"x" * 500_000 for _ in range(6))).status_code == 413


def test_a_handler_for_the_whole_application_speaks_the_dialect_of_the_path():
    async def absent(request: Request) -> PlainTextResponse:
        raise NotFound("It is not there.", "Look elsewhere.")

    routes = [Route("/v1/x", absent), Route("/api/x", absent)]
    handlers = dict.fromkeys((NotFound, 404, 405, 500), errors.response)
    client = TestClient(Starlette(routes=routes, exception_handlers=handlers))
    assert client.get("/v1/x").json()["error"]["message"] == "It is not there. Look elsewhere."
    assert client.get("/api/x").json()["error"]["what"] == "It is not there."
    assert client.get("/v1/y").json()["error"]["code"] == "not_found"
    assert errors.belongs("/v1/models")
    assert not errors.belongs("/v1x")


def test_what_an_application_lets_through_is_500_and_never_printed(caplog):
    async def page(request: Request) -> PlainTextResponse:
        raise ValueError("the prompt was: my secret")

    app = Starlette(routes=[Route("/page", page)])
    client = TestClient(api.Surroundings(app, FakeInstallation()))
    response = client.get("/page")
    assert response.status_code == 500
    assert "secret" not in response.text + caplog.text
    assert "ValueError" in caplog.text


class Wire:
    """A client at the level of ASGI messages, who can leave."""

    def __init__(self, path: str, body: bytes) -> None:
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": [
                (b"authorization", f"Bearer {KEY}".encode()),
                (b"accept", b"text/event-stream"),
            ],
            "client": ("10.0.0.1", 1),
            "server": ("test", 80),
            "scheme": "http",
            "root_path": "",
        }
        self.body = body
        self.sent: list[dict] = []
        self.streaming = asyncio.Event()
        self.gone = asyncio.Event()
        self._given = False

    async def receive(self):
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message) -> None:
        self.sent.append(message)
        if message.get("body"):
            self.streaming.set()


@pytest.mark.parametrize(
    ("path", "body", "streams"),
    [
        ("/v1/chat/completions", CHAT % b"true", True),
        ("/v1/chat/completions", CHAT % b"false", False),
        ("/api/runs", b'{"question":"Fee?"}', True),
    ],
)
def test_a_client_that_goes_away_ends_its_run(path, body, streams):
    async def scene():
        installation = held()
        wire = Wire(path, body)
        app = an_application(installation)
        answering = asyncio.create_task(app(wire.scope, wire.receive, wire.send))
        if streams:
            # The first event is out while the run still waits: nothing is held back.
            await wire.streaming.wait()
        else:
            await installation.began.wait()
        assert installation.closed == []
        wire.gone.set()
        await answering
        return installation, wire

    installation, wire = asyncio.run(asyncio.wait_for(scene(), 5))
    assert installation.closed == ["alice"]
    assert bool(wire.sent) == streams


def test_a_server_that_is_stopped_ends_its_runs():
    async def scene():
        installation = held()
        wire = Wire("/api/runs", b'{"question":"Fee?"}')
        app = an_application(installation)
        answering = asyncio.create_task(app(wire.scope, wire.receive, wire.send))
        await wire.streaming.wait()
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        return installation

    assert asyncio.run(asyncio.wait_for(scene(), 5)).closed == ["alice"]


def test_a_cancelled_run_is_counted_as_cancelled():
    async def scene():
        installation, metrics = FakeInstallation(), Metrics()

        events = metrics.observed(installation.ask(a_caller("alice"), Asked(question="x")))
        await anext(events)
        await events.aclose()
        return metrics.text(ledger_entries=0, documents=0, more=(), elsewhere=Counts()).decode()

    assert 'outcome="cancelled"' in asyncio.run(scene())
