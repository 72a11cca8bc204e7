"""The server: api and web joined into one application, and the process around it.

Stands above the faces because it is the one place that knows more than one of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import resource
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from casemate import api, log, settings, shapes, web
from casemate.api.witness import app as witness_app
from casemate.cli import line
from casemate.errors import CasemateError, Unavailable
from casemate.installation import Installation
from casemate.ledger.witness import Witness
from casemate.settings import Settings

Versions = Callable[[api.bounds.Bounds], Callable[..., asyncio.Protocol]]

_THREADS = 64
_WITNESS_AT_ONCE = 64  # requests
_DAY_SECONDS = 86_400
_ENDING_SECONDS = 5  # that an answer which was cut off has to end in order
_BACKLOG = 512  # connections that wait to be accepted
_REFRESH_SECONDS = 300
_YOUNG = 10_000  # objects more than before, after which cycles are looked for


def application(installation: Installation) -> api.Surroundings:
    """Everything that is served on the port. Close it, so that the last traces are sent."""

    async def problem(request: Request, error: Exception) -> Response:
        if api.errors.belongs(request.url.path):
            return api.errors.response(request, error)
        return web.errors.response(request, error)

    shapes.work_out()
    ways = api.routes(installation)
    app = Starlette(
        routes=[*ways, *web.routes(installation)],
        exception_handlers={CasemateError: problem, 404: problem, 405: problem, 500: problem},
    )
    app.state.installation = installation
    return api.Surroundings(api.Direct(app, ways), installation)


def serve(
    path: Path,
    host: str | None,
    port: int | None,
    workers: int | None,
    say: Callable[[str], None],
) -> None:
    """Run until told to stop (SIGINT, SIGTERM). ``say`` prints a line for the operator.

    Raises Unavailable if the port is taken, and what ``Installation.open`` raises.
    """
    chosen = settings.load(path, host=host, port=port, workers=workers)
    api.tls.context(chosen, path)  # what is wrong with it is said before anything is opened
    log.begin(chosen.log, "owner" if chosen.workers > 1 else "")
    listener = _listen(chosen.host, chosen.port)
    _open_files()
    with contextlib.closing(listener):
        taken = listener.getsockname()[1]
        options = {"host": chosen.host, "port": taken, "workers": chosen.workers}
        with Installation.open(path, **options) as installation:
            installation.require_inside()
            _settle_memory()
            asyncio.run(_run(installation, listener, say))


def serve_witness(
    path: Path, name: str | None, host: str, port: int, say: Callable[[str], None]
) -> None:
    """Run a witness until told to stop. ``name``: of its key, at its first start.

    Raises Unavailable if the port is taken, and what ``Witness.create`` raises.
    """
    with contextlib.closing(_listen(host, port)) as listener:
        witness = Witness.create(path, name, time.time)

        def greet() -> None:
            taken = listener.getsockname()[1]
            say(f"The witness is ready at http://{f'[{host}]' if ':' in host else host}:{taken}")
            say(f"Its key: {witness.vkey}")
            say("Stop with Ctrl-C.")

        config = _config(witness_app(witness), _WITNESS_AT_ONCE, drain=10)
        asyncio.run(_serving(_Server(config), listener, greet))


class _Server(uvicorn.Server):
    """Leaves signals to ``_run``: uvicorn would raise them again and so end in the middle."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def _run(
    installation: Installation, listener: socket.socket, say: Callable[[str], None]
) -> None:
    # The default, a few for each core, would let uploads keep sign-in and questions waiting.
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, "casemate"))
    if installation.witnessing is not None:
        installation.witnessing.start()
    app = application(installation)
    async with _commands(installation), _daily(installation), _refreshing(installation):
        try:
            # Ended before the engines are: a line in flight is asked again at the next start.
            async with _batches(installation):
                await _accepting(installation, app, listener, lambda: _greet(installation, say))
        finally:
            await installation.engines.close()
            await asyncio.to_thread(app.close)


async def _accepting(
    installation: Installation, app: ASGIApp, listener: socket.socket, greet: Callable[[], None]
) -> None:
    """Let clients in until told to stop: here, or in as many workers as are wanted."""
    chosen = installation.settings
    if chosen.workers > 1:
        from casemate.server.workers import Workers  # which needs all of this module

        await Workers(installation, app, listener).serve(greet)
        return
    secured = api.tls.context(chosen, installation.folder.path)
    config = _config(
        app,
        chosen.connections,
        drain=chosen.drain_seconds,
        versions=_versions(chosen),
        secured=secured,
        proxies=chosen.proxies,
    )
    await _serving(_Server(config), listener, greet)


def _versions(chosen: Settings) -> Versions:
    """What makes the connections: of both versions of HTTP, or of the older alone."""
    return api.negotiation.connections if chosen.http2 else api.connection.connections


def _config(
    app: ASGIApp,
    connections: int,
    *,
    drain: int,
    versions: Versions = api.negotiation.connections,
    secured: ssl.SSLContext | None = None,
    proxies: Sequence[str] = (),
) -> uvicorn.Config:
    """``connections``: at one time; ``drain``: seconds that answers in flight have at the end.

    ``versions``: what makes the connections, of both versions of HTTP or of the first alone.
    ``proxies``: who is believed, beside this machine, about the address that it speaks for.
    """
    return uvicorn.Config(
        app,
        lifespan="off",
        http=versions(api.bounds.Bounds(connections=connections)),  # type: ignore[arg-type]
        ssl_context_factory=None if secured is None else lambda config, standard: secured,
        loop="asyncio",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=["127.0.0.1", "::1", *proxies],
        timeout_graceful_shutdown=drain,
    )


async def _serving(server: _Server, listener: socket.socket, greet: Callable[[], None]) -> None:
    """Serve until told to stop. ``greet`` is called once it is ready."""

    def stop() -> None:
        server.force_exit = server.should_exit  # asked a second time: at once
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for asked in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(asked, stop)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event
        await asyncio.sleep(0.005)
    if server.started:
        greet()
    await serving
    # What was cut off says so to its client, and records its end, before engines are closed.
    if (left := set(server.server_state.tasks)) and not server.force_exit:
        await asyncio.wait(left, timeout=_ENDING_SECONDS)


@contextlib.asynccontextmanager
async def _daily(installation: Installation) -> AsyncIterator[None]:
    """At once and then every day, erase what its use case's retention no longer covers.

    At once, because a server that is started anew each morning would otherwise never do it.
    """

    async def apply() -> None:
        while True:
            # Recorded where it counts; a day on which the disk refuses is followed by another.
            with contextlib.suppress(CasemateError):
                await asyncio.to_thread(installation.retention.daily)
            await asyncio.sleep(_DAY_SECONDS)

    applying = asyncio.create_task(apply())
    try:
        yield
    finally:
        applying.cancel()


@contextlib.asynccontextmanager
async def _batches(installation: Installation) -> AsyncIterator[None]:
    """Work through people's batches; what is being answered at the end is asked again later."""
    working = asyncio.create_task(api.work(installation))
    try:
        yield
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


@contextlib.asynccontextmanager
async def _refreshing(installation: Installation) -> AsyncIterator[None]:
    """Now and then, ask the directory about everybody it has let in, so that who leaves is out."""

    async def refresh() -> None:
        while True:
            # A directory that is silent changes nothing; it is asked again.
            with contextlib.suppress(CasemateError):
                await asyncio.to_thread(installation.gate.refresh_directory)
            await asyncio.sleep(_REFRESH_SECONDS)

    if installation.gate.sessions.directory is None:
        yield
        return
    refreshing = asyncio.create_task(refresh())
    try:
        yield
    finally:
        refreshing.cancel()


@contextlib.asynccontextmanager
async def _commands(installation: Installation) -> AsyncIterator[None]:
    server = await line.serve(installation)
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(installation.folder.path / line.SOCKET)


def _greet(installation: Installation, say: Callable[[str], None]) -> None:
    chosen = installation.settings
    base = chosen.base
    owner = installation.gate.owner()
    token = installation.gate.sessions.link_for(owner.principal)
    say(f"Casemate is ready at {base}")
    say(f"Sign in once with this link (valid {chosen.link_minutes} minutes):")
    say(f"  {base}/sign-in/{token}")
    if lacking := installation.gate.policies.lacking():
        say(f"Shipped policies that are not in force: {', '.join(one.id for one in lacking)}.")
        say("  casemate policy check says what they permit, casemate policy adopt adds them.")
    say("Stop with Ctrl-C.")


def _settle_memory() -> None:
    """Look for cycles less often, and never in what was made at the start and stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])


def _open_files() -> None:
    """As many open files as the system lets us have: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sends small answers at once only if it is.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as problem:
        listener.close()
        if problem.errno == errno.EADDRINUSE:
            raise Unavailable(
                f"Port {port} is in use.", "Stop what uses it, or choose another with --port."
            ) from None
        raise Unavailable(
            f"The server cannot listen on {host}:{port}: {os.strerror(problem.errno or 0)}.",
            "Choose another with --host and --port.",
        ) from None
    return listener
