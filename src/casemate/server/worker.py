"""A worker: a process that accepts clients, answers what can be relayed, and hands on the rest.

It speaks HTTP and TLS itself, on the listening socket that the owner gave it. It lives no longer
than its wire: when the owner is gone it ends at once, because nothing can be recorded any more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import msgspec
from starlette.types import Message, Receive, Scope, Send

from casemate import api, log, server
from casemate.api import health, mistral, openai
from casemate.api.handing import HandedOver
from casemate.api.resource import Face, Operation, routes_of
from casemate.counts import Counts
from casemate.server import said
from casemate.server.branch import Branch, asking
from casemate.server.records import Afar
from casemate.server.tunnel import Tunnel
from casemate.server.wire import Wire, connected, first

OWN = frozenset({"/v1/chat/completions", "/mistral/v1/chat/completions", "/healthz"})
_THREADS = 16
_log = logging.getLogger("casemate.server")
_GONE = 70  # how a worker ends whose owner is gone


def work(wire: int, hand: int, listener: int) -> int:
    """Work on these descriptors until told to stop; the exit code."""
    with socket.socket(fileno=wire) as connection:
        orders = first(connection, said.Orders)
        return asyncio.run(Worker(orders).run(connection, hand, listener))


class Worker:
    """One worker process."""

    def __init__(self, orders: said.Orders) -> None:
        self._orders = orders
        self._accept = asyncio.Event()
        self._over = False
        self._branch: Branch | None = None
        self._application: Application | None = None

    async def run(self, connection: socket.socket, hand: int, listener: int) -> int:
        """Prepare, accept clients until told to stop, and end; the exit code."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(_THREADS, "casemate"))
        self._wire = await connected(Wire(said.FromOwner, self._hear, self._lost), connection)
        self._afar = Afar(self._wire)
        server._open_files()
        with ExitStack() as closing:
            branch = self._branch = Branch(self._orders, self._afar, closing)
            log.begin(branch.settings.log, branch.process)
            application = self._application = Application(
                branch, Tunnel(socket.socket(fileno=hand))
            )
            server._settle_memory()
            self._wire.say(said.Prepared())
            await self._accept.wait()
            await self._serve(branch, application, _Shared(fileno=listener))
            await branch.engines.close()
            await asyncio.to_thread(application.close)
            await asyncio.to_thread(closing.close)
        self._say_counts(0)
        self._over = True
        self._wire.close()
        return 0

    async def _serve(self, branch: Branch, app: Application, listener: socket.socket) -> None:
        chosen = branch.settings
        config = server._config(
            app,
            -(-chosen.connections // self._orders.of),
            drain=chosen.drain_seconds,
            versions=server._versions(chosen),
            secured=api.tls.context(chosen, branch.folder.path),
            proxies=chosen.proxies,
        )
        await server._serving(
            server._Server(config), listener, lambda: self._wire.say(said.Accepting())
        )

    def _hear(self, message: said.FromOwner) -> None:
        match message:
            case said.Written() | said.Failed() | said.Entered() | said.Passed():
                self._afar.hear(message)
            case said.Accept():
                self._accept.set()
            case said.Places() if self._branch is not None:
                self._branch.take_over(message.content)
                self._wire.say(said.Taken(message.number))
            case said.Count():
                self._say_counts(message.number)

    def _say_counts(self, number: int) -> None:
        if self._application is not None:
            counts = msgspec.json.encode(self._application.counts())
            self._wire.say(said.Counted(number, counts))

    def _lost(self, problem: Exception | None) -> None:
        if self._over:
            return
        if problem is not None:
            _log.error("the owner is not understood: %s", type(problem).__name__)
        # At once: what goes on could not be recorded, and clients see that it is over.
        os._exit(_GONE)


class Application:
    """What a worker does with a request: answer it, or hand it on. The ASGI application."""

    def __init__(self, branch: Branch, tunnel: Tunnel) -> None:
        face = Face(branch, time.time)
        routes = [
            *routes_of(face, _own(openai.OPERATIONS), api.errors.openai),
            *routes_of(face, _own(mistral.OPERATIONS), api.errors.mistral),
            *routes_of(face, _own(health.OPERATIONS), api.errors.platform),
        ]
        self._here = api.Surroundings(api.Direct(tunnel, routes), branch)
        self._tunnel = tunnel
        self._own = {
            (one.method, one.path)
            for table in (openai.OPERATIONS, mistral.OPERATIONS, health.OPERATIONS)
            for one in _own(table)
        }

    def counts(self) -> Counts:
        """What was counted here."""
        return self._here.counts()

    def close(self) -> None:
        """Send the traces that are left."""
        self._here.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the owner answer."""
        own = scope["type"] == "http" and (scope["method"], scope["path"]) in self._own
        if not own or scope.get("root_path"):
            await self._tunnel(scope, receive, send)
            return
        kept = _Kept(receive)
        begun = asking.set(True)

        async def say(message: Message) -> None:
            asking.set(False)  # from here on it is this process that answers
            await send(message)

        try:
            await self._here(scope, kept.receive, say)
        except HandedOver:
            await self._tunnel(scope, kept.again, send)
        finally:
            asking.reset(begun)


class _Kept:
    """A request that may be handed on: what was read of it is read once more."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._came: list[Message] = []

    async def receive(self) -> Message:
        """The next of it."""
        message = await self._receive()
        self._came.append(message)
        return message

    async def again(self) -> Message:
        """From its beginning, then what still comes."""
        return self._came.pop(0) if self._came else await self._receive()


class _Shared(socket.socket):
    """A listening socket that other processes accept from, too: one connection in a turn.

    asyncio takes all that wait. With several processes, whoever wakes up first would then have
    all clients of a burst.
    """

    _accepted = False

    def accept(self) -> tuple[socket.socket, Any]:
        """See socket."""
        if self._accepted:
            self._accepted = False
            raise BlockingIOError
        found = super().accept()
        self._accepted = True
        return found


def _own(operations: tuple[Operation, ...]) -> list[Operation]:
    return [one for one in operations if one.path in OWN and one.method in ("GET", "POST")]
