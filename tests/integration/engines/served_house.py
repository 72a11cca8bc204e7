"""An installation that serves a remote model, in the loop of a test, so that all of it is seen."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from faulty_server import FaultyServer
from house_builders import House, a_house

from casemate import server
from casemate.models.manifest import Manifest

PATHS = {"openai": "/v1/chat/completions", "mistral": "/mistral/v1/chat/completions"}


@dataclass
class Served:
    """A server on a port of loopback, whose use case "chat" asks the model servers."""

    house: House
    port: int
    key: str

    def request(self, dialect: str, *, stream: bool, key: str = "") -> bytes:
        body = json.dumps(
            {
                "model": "chat",
                "messages": [{"role": "user", "content": "How much?"}],
                "stream": stream,
            }
        ).encode()
        head = (
            f"POST {PATHS[dialect]} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Authorization: Bearer {key or self.key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def ask(self, dialect: str, *, stream: bool, key: str = "") -> tuple[int, str, bytes]:
        """The status, the run and the body of a response, to its end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(self.request(dialect, stream=stream, key=key))
            content = await reader.read(-1)
        finally:
            writer.close()
        head, _, body = content.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if b"chunked" in fields.get(b"transfer-encoding", b""):
            body = _joined(body)
        return int(head[9:12]), fields.get(b"x-casemate-run", b"").decode(), body

    async def leave_after(self, dialect: str, position: int) -> int:
        """Read so many bytes of a stream, or up to its third word, then break the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(self.request(dialect, stream=True))
        got = b""
        while len(got) < position and got.count(b"word") < 3:
            got += await reader.read(position - len(got))
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        return len(got)

    def get(self, path: str) -> str:
        """The body of a response; from another thread, since the server is in this one."""
        with closing(HTTPConnection("127.0.0.1", self.port)) as connection:
            connection.request("GET", path)
            return connection.getresponse().read().decode()

    def entries(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.house.entries() if one["kind"] == kind]

    async def all_ended(self, runs: Iterable[str]) -> list[dict[str, Any]]:
        """The last entries of these runs, once each has ended."""
        asked = set(runs)
        while True:
            ended = [one for one in self.entries("run.finished") if one["run"] in asked]
            if len(ended) >= len(asked):
                return ended
            await asyncio.sleep(0.03)


@asynccontextmanager
async def served(
    folder: Path, servers: Sequence[FaultyServer], *, slots: int = 64, **settings: Any
) -> AsyncIterator[Served]:
    with a_house(folder, **settings) as house:
        key = furnish(house, [one.address for one in servers], slots)
        app = server.application(house.installation)
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        config = server._config(app, 4096, drain=5)
        serving = server._Server(config)
        task = asyncio.create_task(serving.serve(sockets=[listener]))
        while not serving.started:  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.005)
        try:
            yield Served(house, listener.getsockname()[1], key)
        finally:
            serving.should_exit = True
            await task
            await house.installation.engines.close()
            await asyncio.to_thread(app.close)


def furnish(house: House, addresses: Sequence[str], slots: int) -> str:
    """Approve a model at these addresses and the use case "chat" for it; the owner's key."""
    gate, models = house.installation.gate, house.installation.models
    second = house.person("second", roles=("admin",))
    lowest = house.label("unclassified")
    gate.perimeter.add(
        house.owner,
        name="models",
        host="127.0.0.1",
        ports=[urlsplit(one).port or 0 for one in addresses],
        jurisdiction="LU",
        ceiling=lowest,
    )
    models.propose(house.owner, a_manifest(*addresses))
    models.approve(second, "tiny")
    gate.capacities.declare(house.owner, "tiny", slots=slots, accelerators=0, watts=0)
    gate.use_cases.register(
        house.owner,
        "chat",
        purpose="To help the counter.",
        legal_basis="The commune's own tasks.",
        risk="minimal",
        models=("tiny",),
        ceiling=lowest,
        oversight="none",
        retention_days=400,
        collections=(),
        screening=gate.use_cases.not_prohibited("It judges nobody."),
    )
    gate.use_cases.approve(second, "chat")
    return house.key(house.owner.principal.name)


def a_manifest(*addresses: str) -> Manifest:
    return Manifest.new(
        name="tiny",
        version="1",
        engine="remote",
        architecture="A script.",
        licence="EUPL-1.2",
        origin="These tests.",
        intended_use="Answering in tests.",
        limits="Says what it is told to say.",
        label="unclassified",
        addresses=addresses,
        upstream="tiny-upstream",
    )


def _joined(content: bytes) -> bytes:
    """The body in these chunks."""
    body = b""
    while content:
        size, _, content = content.partition(b"\r\n")
        length = int(size, 16)
        body, content = body + content[:length], content[length + 2 :]
    return body
