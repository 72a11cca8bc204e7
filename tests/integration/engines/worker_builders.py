"""A server with two workers, from outside: which is which, and how to have one of them answer."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp import web
from house_builders import FEES, Answer, House, Server, a_house
from model_server import DONE, ModelServer, a_chunk
from served_house import PATHS, furnish

MESSAGES = [{"role": "user", "content": "How much?"}]


def furnished(data: Path, *models: ModelServer) -> str:
    """A house with the use case "chat" for these servers, and papers; its owner's key."""
    with a_house(data) as house:
        key = furnish(house, [one.address for one in models], 64)
        house.add("notes", fees=FEES)
        return key


def children(pid: int) -> list[int]:
    """Its child processes that live, eldest first."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # the thread has ended meanwhile
            found += map(int, (task / "children").read_text().split())
    return sorted(one for one in found if _state(one) not in ("Z", ""))


def workers(server: Server) -> list[int]:
    """The process ids of its two workers, once there are two.

    Not before they run their own program: until then their owner stands still (vfork), and would
    for as long as a test lets one of them be stopped.
    """
    while True:
        found = [one for one in children(server.process.pid) if _is_worker(one)]
        if len(found) == 2:
            return found


@contextmanager
def only(pid: int, server: Server) -> Iterator[None]:
    """Let one worker alone take new clients: the others are stopped meanwhile."""
    others = [one for one in workers(server) if one != pid]
    for one in others:
        os.kill(one, signal.SIGSTOP)
        while _state(one) != "T":
            pass
    try:
        yield
    finally:
        for one in others:
            os.kill(one, signal.SIGCONT)


def until_gone(pid: int) -> None:
    """Wait until a process has ended, whoever buries it."""
    while _state(pid) not in ("Z", ""):
        pass


def chat(server: Server, key: str, dialect: str = "openai", **more: Any) -> Answer:
    """A whole answer of the use case "chat"."""
    body = json.dumps({"model": "chat", "messages": MESSAGES, **more}).encode()
    headers = {"Content-Type": "application/json"}
    return server.http("POST", PATHS[dialect], key=key, body=body, headers=headers)


@contextmanager
def a_stream(
    server: Server, key: str, dialect: str = "openai", model: str = "chat", begun: bytes = b""
) -> Iterator[http.client.HTTPResponse]:
    """A stream of a use case that has begun: of "chat", once its first words have come."""
    begun = begun or (b"It is" if model == "chat" else b"data: ")  # with papers, it comes whole
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = json.dumps({"model": model, "stream": True, "messages": MESSAGES})
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        connection.request("POST", PATHS[dialect], body, headers)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        for line in response:
            if begun in line:
                break
        yield response
    finally:
        connection.close()


def told(stream: http.client.HTTPResponse) -> bytes:
    """What is left of a stream, to its end, however that comes."""
    try:
        return stream.read()
    except http.client.IncompleteRead as problem:
        return problem.partial
    except ConnectionError:
        return b""


class HoldingServer(ModelServer):
    """Stops in the middle of each answer until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(a_chunk(content="It is "))
        while not self.go.is_set():
            await self._loop.run_in_executor(None, self.go.wait, 0.01)
        await response.write(a_chunk(content="40 euros.") + DONE)
        return response


def outcomes(house: House) -> dict[str, str | None]:
    """How each of the owner's runs ended, by run."""
    return {one.id: one.outcome for one in house.installation.runs.list(house.owner, limit=500)}


def _is_worker(pid: int) -> bool:
    try:
        return b"worker_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return ""
