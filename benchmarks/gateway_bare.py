"""A bare proxy that does the same checks as Casemate and nothing else: the floor in this language.

One asyncio protocol on bare sockets, in front of one model server. For each request: the key is
found by its id and compared in constant time, as Casemate keeps keys; Cedar decides, under the
policies that Casemate ships; two entries go into a log of Casemate's own, the first durable before
the model server is asked, the second before the answer's last byte leaves. It has no labels, no
quotas, no record of what was said, and understands no request but the one of the benchmark.

Run as ``gateway_bare.py FOLDER UPSTREAM_PORT KEY``; prints its port.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import re
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from casemate.gate.policy import Circumstances, PolicySet, Resource
from casemate.gate.token import fingerprint
from casemate.ledger.log import Log
from casemate.ledger.note import Signer
from casemate.ledger.receipt import canonical, commit

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_KEY = re.compile(rb"authorization: *Bearer +cm_([a-z2-7]{10})_([A-Za-z0-9_-]{43})", re.IGNORECASE)
_CHUNKED = re.compile(rb"transfer-encoding: *chunked", re.IGNORECASE)
_POST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: upstream\r\ncontent-type: application/json\r\n"
)


class Checks:
    """Whom a key belongs to, and whether they may ask."""

    def __init__(self, folder: Path, key: str) -> None:
        PolicySet.install(folder / "policies")
        self._policies = PolicySet.load(folder / "policies")
        id, secret = key.removeprefix("cm_").split("_", 1)
        self._keys = {id: (fingerprint(secret), "u-bare", "t-home")}

    def allowed(self, head: bytes) -> str | None:
        """Who asks, if they may."""
        found = _KEY.search(head)
        if found is None:
            return None
        held = self._keys.get(found[1].decode())
        if held is None or not hmac.compare_digest(fingerprint(found[2].decode()), held[0]):
            return None
        _, who, tenant = held
        # What it remembers of decisions is left out: a proxy like this would ask each time.
        decision = self._policies._evaluate(
            (who, tenant, "person", False),
            frozenset({"user"}),
            "ask",
            Resource("UseCase", "chat", tenant, who),
            Circumstances(dominates=True),
        )
        return who if decision.allowed else None


class Upstreams:
    """Connections to the model server that are free."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.free: deque[Answering] = deque()

    async def take(self) -> Answering:
        """One of them, or a new one."""
        while self.free:
            one = self.free.popleft()
            if one.open:
                return one
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(lambda: Answering(self), "127.0.0.1", self._port)
        return made


class Answering(asyncio.Protocol):
    """One connection to the model server: gives what comes to ``relay``, and ``end`` at its end."""

    def __init__(self, pool: Upstreams) -> None:
        self._pool = pool
        self._relay: Callable[[bytes, bool], None] = lambda piece, last: None
        self._left = -1  # bytes; -1: the head is not complete; -2: chunked
        self._head = b""
        self._transport: Any = None
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False

    def ask(self, content: bytes, relay: Callable[[bytes, bool], None]) -> None:
        """Send a request; ``relay`` gets the response as it comes, and whether that was the end."""
        self._relay, self._left, self._head = relay, -1, b""
        self._transport.write(_POST + b"content-length: %d\r\n\r\n" % len(content) + content)

    def data_received(self, data: bytes) -> None:
        if self._left == -1:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            data, head = self._head, self._head[: end + 2]
            length = _LENGTH.search(head)
            self._left = -2 if length is None or _CHUNKED.search(head) else int(length[1]) + end + 4
        if self._left == -2:
            last = data.endswith(b"0\r\n\r\n")
        else:
            self._left -= len(data)
            last = self._left <= 0
        if last:
            self._pool.free.append(self)
        self._relay(data, last)


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, checks: Checks, log: Log, upstreams: Upstreams) -> None:
        self._checks, self._log, self._upstreams = checks, log, upstreams
        self._buffer = b""
        self._transport: Any = None
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._buffer, 0, end + 2)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) < whole:
            return
        head, body = self._buffer[: end + 2], self._buffer[end + 4 : whole]
        self._buffer = self._buffer[whole:]
        task = self._loop.create_task(self._serve(head, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, head: bytes, body: bytes) -> None:
        who = self._checks.allowed(head)
        if who is None:
            self._transport.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
            return
        run = os.urandom(10).hex()
        asked = msgspec.json.decode(body)["messages"][-1]["content"]
        await self._record("run.admitted", run, who, question=commit(os.urandom(32), asked))
        upstream = await self._upstreams.take()
        ended: asyncio.Future[bytes] = self._loop.create_future()
        said: list[bytes] = []

        def relay(piece: bytes, last: bool) -> None:
            said.append(piece)
            if last:
                ended.set_result(piece)
            else:
                self._transport.write(piece)

        upstream.ask(body, relay)
        last = await ended
        answer = commit(os.urandom(32), b"".join(said).decode())
        await self._record("run.finished", run, who, answer=answer)
        self._transport.write(last)

    async def _record(self, kind: str, run: str, who: str, **commitments: str) -> None:
        entry = {
            "v": 1,
            "kind": kind,
            "run": run,
            "time": "2026-01-01T00:00:00Z",
            "tenant": "t-home",
            "principal": who,
            "use_case": "chat",
            "label": "lu:unclassified",
            **commitments,
        }
        await asyncio.wrap_future(self._log.append(canonical(entry)))


async def serve(folder: Path, port: int, key: str) -> None:
    """Until it is killed."""
    with Log.open(folder / "ledger", Signer.generate("bare.example/benchmark")) as log:
        checks, upstreams = Checks(folder, key), Upstreams(port)
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(checks, log, upstreams), "127.0.0.1", 0, backlog=4096
        )
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


def main() -> None:
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))


if __name__ == "__main__":
    main()
