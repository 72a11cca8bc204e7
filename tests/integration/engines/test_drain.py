"""Stopping a server: what is being answered comes to its end, within a bound."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from house_builders import DOG_TAX, FEES, Server, a_house, a_server
from model_server import DONE, ModelServer, a_chunk
from peer_programs import program
from test_remote_model import with_model


class HoldingServer(ModelServer):
    """Stops in the middle of each answer until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.begun = threading.Event(), threading.Event()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(a_chunk(content="The dog tax is 40 euros a year. [1]\n"))
        self.begun.set()
        while not self.go.is_set():
            await self._loop.run_in_executor(None, self.go.wait, 0.01)
        await response.write(a_chunk(content="It is due on 1 March. [1]") + DONE)
        return response


@contextmanager
def asked(server: Server, key: str) -> Iterator[http.client.HTTPResponse]:
    """A stream that has begun."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    messages = [{"role": "user", "content": DOG_TAX}]
    body = json.dumps({"model": "write", "stream": True, "messages": messages})
    sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", body, sent)
    response = connection.getresponse()
    assert response.status == 200
    assert response.readline().startswith(b"data: ")
    try:
        yield response
    finally:
        connection.close()


def until_closed(port: int) -> None:
    """Wait until nobody is let in any more."""
    for _ in range(100_000):
        with socket.socket() as knocking:
            if knocking.connect_ex(("127.0.0.1", port)):
                return
    raise AssertionError("still open")


@pytest.fixture
def model() -> Iterator[HoldingServer]:
    with HoldingServer() as server:
        try:
            yield server
        finally:
            server.go.set()


def furnished(data: Path, model: ModelServer) -> str:
    with a_house(data) as house:
        with_model(house, model, place="unclassified", ceiling="unclassified")
        house.add("notes", fees=FEES)
        return house.key(house.owner.principal.name)


def test_a_server_that_is_stopped_lets_nobody_in_and_finishes_what_it_began(
    tmp_path: Path, model: HoldingServer
) -> None:
    data = tmp_path / "data"
    key = furnished(data, model)
    with a_server(data) as server, asked(server, key) as stream:
        server.process.send_signal(signal.SIGTERM)
        until_closed(server.port)
        model.go.set()
        assert b"data: [DONE]" in stream.read()
        assert server.process.wait(60) == 0
    with a_house(data) as house:
        (run,) = house.installation.runs.list(house.owner)
        assert run.outcome == "answered"


def test_what_was_begun_over_http2_is_finished_as_well(
    tmp_path: Path, model: HoldingServer
) -> None:
    data = tmp_path / "data"
    key = furnished(data, model)
    messages = [{"role": "user", "content": DOG_TAX}]
    body = json.dumps({"model": "write", "stream": True, "messages": messages})
    command = [program("curl"), "--silent", "--no-buffer", "--http2-prior-knowledge", "-d", body]
    command += ["-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/json"]
    with a_server(data) as server:
        address = f"http://127.0.0.1:{server.port}/v1/chat/completions"
        with subprocess.Popen([*command, address], stdout=subprocess.PIPE) as asking:
            assert asking.stdout is not None
            assert asking.stdout.readline().startswith(b"data: ")
            server.process.send_signal(signal.SIGTERM)
            until_closed(server.port)
            model.go.set()
            assert b"data: [DONE]" in asking.stdout.read()
            assert asking.wait(60) == 0
        assert server.process.wait(60) == 0


def test_what_does_not_end_within_the_bound_is_cut_off_and_recorded(
    tmp_path: Path, model: HoldingServer
) -> None:
    data = tmp_path / "data"
    key = furnished(data, model)
    (data / "settings.toml").write_text("drain_seconds = 1\n", encoding="utf-8")
    with a_server(data) as server, asked(server, key) as stream:
        assert server.stop() == 0
        said = stream.read()  # to the stream's own end
        assert b"The server is being stopped." in said
        assert b"Ask again" in said
    with a_house(data) as house:
        (run,) = house.installation.runs.list(house.owner)
        assert run.outcome == "failed"


def test_an_answer_that_was_to_come_whole_ends_with_503_within_the_bound(
    tmp_path: Path, model: HoldingServer
) -> None:
    data = tmp_path / "data"
    key = furnished(data, model)
    (data / "settings.toml").write_text("drain_seconds = 1\n", encoding="utf-8")
    with a_server(data) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        body = json.dumps({"question": DOG_TAX, "use_case": "write"})
        sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("POST", "/api/runs", body, sent)
        assert model.begun.wait(60)
        assert server.stop() == 0
        response = connection.getresponse()
        assert response.status == 503
        assert json.loads(response.read())["error"]["next"] == "Ask again in a moment."
        connection.close()
    with a_house(data) as house:
        (run,) = house.installation.runs.list(house.owner)
        assert run.outcome == "failed"
