"""Workers, as their owner keeps them: started together, started again when they die, stopped.

Nobody is let in before all are prepared. A worker that dies is started again: at once if it has
worked for a while, otherwise after a pause that doubles up to half a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from starlette.types import ASGIApp

from casemate.counts import Counts, added
from casemate.errors import Unavailable
from casemate.gate import pack
from casemate.server import said
from casemate.server.accepting import Balance
from casemate.server.life import Life

if TYPE_CHECKING:
    from casemate.installation import Installation

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds
_LOOK_SECONDS = 0.25  # between two looks whether anybody accepts clients
_GOOD_SECONDS = 60.0  # of work, after which an end is no sign of a fault that stays
_COUNTING_SECONDS = 1.0  # for a worker to say what it counted
_TAKING_SECONDS = 5.0  # for other places to hold in a worker; then it is ended
_ENDING_SECONDS = 10.0  # beyond the time to drain, until what does not end is ended
_log = logging.getLogger("casemate.server")


class Workers:
    """The workers of one server. ``app``: what answers all that they hand on."""

    def __init__(self, installation: Installation, app: ASGIApp, listener: socket.socket) -> None:
        self._installation = installation
        self._app = app
        self._listener = listener
        self._of = installation.settings.workers
        country = installation.folder.path / pack.FILE
        # As it is in force: another file there holds from the next start on.
        self._country = country.read_bytes() if country.exists() else None
        self._memory = Balance.made(self._of)
        self._balance = Balance(self._memory, self._of)
        self._lives: dict[int, Life] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._gone = Counts()  # of those that have ended
        self._opened = False
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    async def serve(self, greet: Callable[[], None]) -> None:
        """Serve until told to stop. ``greet`` is called once all accept clients.

        Raises Unavailable if one of them cannot be started.
        """
        for asked in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(asked, self._stop)
        places = self._installation.gate.perimeter
        places.changed = self._tell_places
        self._installation.counted_elsewhere = self._counted
        keeping = [asyncio.create_task(self._keep(number + 1)) for number in range(self._of)]
        opening = asyncio.create_task(self._open(greet))
        for one in (*keeping, opening):
            one.add_done_callback(self._stop_if_failed)
        try:
            await asyncio.wait(keeping)
        finally:
            opening.cancel()
            places.changed = _nobody
            await asyncio.wait({opening, *self._closing}, timeout=_ENDING_SECONDS)
            os.close(self._memory)
        for one in (*keeping, opening):
            if not one.cancelled():
                one.result()

    def _stop_if_failed(self, task: asyncio.Task[None]) -> None:
        """What cannot be started, or opened, ends all."""
        if not task.cancelled() and task.exception() is not None and not self._stopping.is_set():
            self._stop()

    def _stop(self) -> None:
        """Let nobody in any more; a second time, end at once."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._listener.close()
            drain = self._installation.settings.drain_seconds
            self._loop.call_later(drain + _ENDING_SECONDS, self._kill)
        for life in self._lives.values():
            life.stop()

    def _kill(self) -> None:
        for life in self._lives.values():
            life.kill()

    async def _open(self, greet: Callable[[], None]) -> None:
        """Let clients in, once every worker is prepared."""
        await self._all(lambda life: life.prepared)
        self._opened = True
        for life in self._lives.values():
            life.accept()
        await self._all(lambda life: life.accepting)
        greet()

    async def _all(self, event: Callable[[Life], asyncio.Event]) -> None:
        """Wait until it is so of every worker that there is to be; some may be started again."""

        def so() -> bool:
            lives = self._lives.values()
            return len(lives) == self._of and all(event(life).is_set() for life in lives)

        while not so():  # noqa: ASYNC110 - of processes that come and go
            await asyncio.sleep(0.005)

    async def _keep(self, number: int) -> None:
        """Have a worker run for as long as the server does."""
        pause = 0.0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                code = await self._live(number)
            except OSError:  # no process could be made
                code = 1
            if self._stopping.is_set():
                return
            if not self._opened:
                raise Unavailable("A worker process does not start.", "See the server's log.")
            # Code 0: somebody told it alone to stop, and it did so in order.
            good = code == 0 or time.monotonic() - began >= _GOOD_SECONDS
            pause = 0.0 if good else min(pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
            how = f"signal {-code}" if code < 0 else f"code {code}"
            _log.error("worker %d ended, %s; started again in %d s", number, how, pause)
            await self._wait(pause)

    async def _wait(self, pause: float) -> None:
        """Wait before a start; while nobody accepts clients, not for long."""
        began = time.monotonic()
        while not self._stopping.is_set():
            somebody = any(life.accepting.is_set() for life in self._lives.values())
            left = began + (pause if somebody else min(pause, _FIRST_PAUSE)) - time.monotonic()
            if left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), min(left, _LOOK_SECONDS))

    async def _live(self, number: int) -> int:
        """Run worker ``number`` from its start to its end; its exit code. Raises OSError."""
        life = Life(number, self._installation)
        shared = (self._listener.fileno(), self._memory)
        await life.begin(self._orders(number), shared, self._app)
        self._lives[number] = life
        if self._stopping.is_set():
            life.stop()
        opening = asyncio.create_task(self._open_again(life)) if self._opened else None
        try:
            return await life.end()
        finally:
            del self._lives[number]
            self._balance.leaves(number)  # it may have been killed
            self._gone = added([self._gone, life.counts.lasting()])
            if opening is not None:
                opening.cancel()
            # What it handed over may go on for a while; the next worker does not wait for it.
            closing = asyncio.create_task(life.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _open_again(self, life: Life) -> None:
        await life.prepared.wait()
        life.accept()
        await life.accepting.wait()
        _log.info("worker %d accepts clients again", life.number)

    def _orders(self, number: int) -> said.Orders:
        installation = self._installation
        witnessing = installation.witnessing
        return said.Orders(
            number,
            self._of,
            str(installation.folder.path.absolute()),
            msgspec.json.encode(installation.settings),
            installation.gate.perimeter.content,
            self._country,
            b"" if witnessing is None else msgspec.json.encode(dict(witnessing.policy)),
        )

    async def _counted(self) -> Counts:
        """What all workers counted; of one that does not answer at once, what it told last."""
        asked = [life.count(_COUNTING_SECONDS) for life in self._lives.values()]
        await asyncio.gather(*asked)
        # Those that are there now: one that ended meanwhile is among the others.
        return added([self._gone, *(life.counts for life in self._lives.values())])

    def _tell_places(self, content: bytes) -> None:
        """Have other places in force in every worker; from a thread, which waits for it.

        Raises RuntimeError in the event loop, which would wait for itself.
        """
        if threading.get_ident() == self._thread:
            raise RuntimeError("places change in a thread")

        async def tell() -> None:
            lives = list(self._lives.values())
            told = {life.take_over(content): life for life in lives}
            # One that accepts nobody yet takes them over before it does.
            waiting = {one for one, life in told.items() if life.accepting.is_set()}
            if waiting:
                _, late = await asyncio.wait(waiting, timeout=_TAKING_SECONDS)
                for one in late:
                    told[one].kill()

        asyncio.run_coroutine_threadsafe(tell(), self._loop).result()


def _nobody(content: bytes) -> None:
    """There are no workers to tell."""
