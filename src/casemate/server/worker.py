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

import msgspec
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from casemate import api, log, server
from casemate.api import health, mistral, openai
from casemate.api.handing import HandedOver
from casemate.api.resource import Face, Operation, routes_of
from casemate.counts import Counts
from casemate.errors import CasemateError
from casemate.server import said
from casemate.server.accepting import Balance, Shared
from casemate.server.branch import Branch, asking
from casemate.server.records import Afar
from casemate.server.tunnel import Tunnel
from casemate.server.wire import Wire, connected, first
from casemate.settings import Settings

OWN = frozenset({"/v1/chat/completions", "/mistral/v1/chat/completions", "/healthz"})
_THREADS = 16
_log = logging.getLogger("casemate.server")
_GONE = 70  # how a worker ends whose owner is gone


def work(wire: int, hand: int, listener: int, balance: int) -> int:
    """Work on these descriptors until told to stop; the exit code."""
    with socket.socket(fileno=wire) as connection:
        try:
            orders = first(connection, said.Orders)
            return asyncio.run(Worker(orders).run(connection, hand, listener, balance))
        except EOFError:
            return _GONE
        except Exception as problem:
            if os.environ.get("CASEMATE_TRACEBACK"):
                raise
            # Of what nobody foresaw only the kind: its text may hold anything.
            told = str(problem) if isinstance(problem, CasemateError) else type(problem).__name__
            _log.error("this worker cannot go on: %s", told)
            return 1


class Worker:
    """One worker process."""

    def __init__(self, orders: said.Orders) -> None:
        self._orders = orders
        self._settings = msgspec.json.decode(orders.settings, type=Settings)
        log.begin(self._settings.log, f"worker {orders.number}")
        self._accept = asyncio.Event()
        self._over = False
        self._branch: Branch | None = None
        self._application: Application | None = None

    async def run(self, connection: socket.socket, hand: int, listener: int, shared: int) -> int:
        """Prepare, accept clients until told to stop, and end; the exit code."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(_THREADS, "casemate"))
        self._wire = await connected(Wire(said.FromOwner, self._hear, self._lost), connection)
        self._afar = Afar(self._wire)
        server._open_files()
        closing = ExitStack()
        try:
            branch = self._branch = Branch(self._orders, self._settings, self._afar, closing)
            tunnel = Tunnel(socket.socket(fileno=hand))
            application = self._application = Application(branch, tunnel)
            server._settle_memory()
            self._wire.say(said.Prepared())
            await self._accept.wait()
            balance = Balance(shared, self._orders.of)
            await self._serve(branch, application, listener, balance)
            await branch.engines.close()
            await asyncio.to_thread(application.close)
        finally:
            # In a thread: what is closed may have something to say to the owner first.
            await asyncio.to_thread(closing.close)
        self._say_counts(0)
        self._over = True
        self._wire.close()
        return 0

    async def _serve(
        self, branch: Branch, app: Application, listener: int, balance: Balance
    ) -> None:
        chosen, number = self._settings, self._orders.number
        config = server._config(
            app,
            -(-chosen.connections // self._orders.of),
            drain=chosen.drain_seconds,
            versions=server._versions(chosen),
            secured=api.tls.context(chosen, branch.folder.path),
            proxies=chosen.proxies,
        )
        balance.has(number, 0)
        await server._serving(
            _Server(config, balance, number),
            Shared(listener, balance, number),
            lambda: self._wire.say(said.Accepting()),
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
            # From here on it is this process that answers.
            asking.set(False)
            kept.forget()
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
        self._keeps = True

    async def receive(self) -> Message:
        """The next of it."""
        message = await self._receive()
        if self._keeps:
            self._came.append(message)
        return message

    def forget(self) -> None:
        """It is not handed on any more."""
        self._keeps = False
        self._came.clear()

    async def again(self) -> Message:
        """From its beginning, then what still comes."""
        return self._came.pop(0) if self._came else await self._receive()


class _Server(server._Server):
    """Tells the other workers how many clients it has, and that it takes no more."""

    def __init__(self, config: uvicorn.Config, balance: Balance, number: int) -> None:
        super().__init__(config)
        self._balance = balance
        self._number = number

    async def on_tick(self, counter: int) -> bool:
        """See uvicorn: ten times a second."""
        self._balance.has(self._number, len(self.server_state.connections))
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        self._balance.leaves(self._number)
        await super().shutdown(sockets)


def _own(operations: tuple[Operation, ...]) -> list[Operation]:
    return [one for one in operations if one.path in OWN and one.method in ("GET", "POST")]
