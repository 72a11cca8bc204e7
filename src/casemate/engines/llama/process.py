"""A model process that is there when it is needed: started, supervised, started again, stopped.

After a crash the next who needs it starts it again: the first time at once, then after a pause
that doubles from crash to crash up to a minute, until it has done some work again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from casemate.engines.llama.connection import Connection, unavailable
from casemate.engines.llama.life import Isolated, Life, Load, Message, Way
from casemate.errors import CasemateError, Refused, Tampered, Unavailable, Unsupported

_UNNEEDED = "it was no longer needed"
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_START_SECONDS = 60.0
_BYTES_A_SECOND = 20_000_000  # of a slow disk, for the time that loading may take


@dataclass(frozen=True)
class Running:
    """A process that is ready, what holds in it, and what it tells of itself (``Message``)."""

    connection: Connection
    isolated: Isolated
    life: Life
    facts: Mapping[str, str]

    @property
    def scores(self) -> Way:
        """The way in which it makes scores."""
        told = self.facts.get("scores")
        return "forward pass" if told == "forward pass" else "forced decoding"


class Process:
    """Keeps one model process.

    ``prepare`` says what to load, and may take its time and raise. ``on_started`` and
    ``on_stopped`` are called in a thread; if the first raises, the process does no work.
    """

    def __init__(
        self,
        name: str,
        prepare: Callable[[], Load],
        *,
        on_started: Callable[[Isolated], None],
        on_stopped: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._prepare = prepare
        self._on_started = on_started
        self._on_stopped = on_stopped
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Task[Running] | None = None
        self._life: Life | None = None
        self._running: Running | None = None
        self._recorded: set[Life] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._crashes = 0
        self._not_before = 0.0
        self._problem: CasemateError | None = None

    async def running(self) -> Running:
        """The process, ready; started if it is not.

        Raises Unavailable while it pauses after crashes; Tampered if its weights end it or are
        not a model; Unsupported if llama.cpp is not installed; what ``prepare`` raises.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._abandon()
            self._loop = loop
        if self._running is not None and not self._running.life.dying:
            return self._running
        if self._starting is None:
            # A task of its own: whoever gives up waiting does not end it for the others.
            self._starting = loop.create_task(self._start())
            self._starting.add_done_callback(self._started)
        starting = self._starting
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            if starting.cancelled() and not _leaving():
                raise unavailable("was stopped before it was ready") from None
            raise

    def worked(self) -> None:
        """Some work is done: forget the crashes before."""
        self._crashes = 0

    async def stop(self) -> None:
        """End it, and everything that belongs to it."""
        if self._loop is not asyncio.get_running_loop():
            self._abandon()
            return
        if self._starting is not None:
            self._starting.cancel()
        if self._life is not None:
            self._life.kill(_UNNEEDED)
            await self._life.end()
        while self._starting is not None:
            await asyncio.wait([self._starting])
        problems: list[BaseException | None] = []
        while self._tasks:
            problems += await asyncio.gather(*self._tasks, return_exceptions=True)
        for problem in problems:
            if problem is not None:
                raise problem

    async def _start(self) -> Running:
        if self._life is not None:
            await self._life.end()  # it is dying, or its last starter went away
        left = self._not_before - self._clock()
        if left > 0:
            raise self._problem or _pausing(self._name, left)
        load = await asyncio.to_thread(self._prepare)
        try:
            self._life = life = Life(load, self._ended)
        except OSError as problem:
            raise Unavailable(
                f"No process could be started for model {self._name}.",
                "Look at how many processes and open files this system allows.",
            ) from problem
        try:
            size = load.weights.stat().st_size
            async with asyncio.timeout(_START_SECONDS + size / _BYTES_A_SECOND):
                isolated = (await self._message(life)).isolated
                if isolated is None:
                    raise self._unloadable(life)
                self._recorded.add(life)
                await asyncio.to_thread(self._on_started, isolated)
                _require_shut(isolated, self._name)
                outcome = await self._message(life)
            if outcome.ready is None:
                raise self._failed(life, outcome.failed or "")
        except (CasemateError, OSError) as problem:  # TimeoutError is an OSError
            life.kill(problem.what if isinstance(problem, CasemateError) else "it took too long")
            await life.end()
            self._problem = (
                problem if isinstance(problem, CasemateError) else self._unloadable(life)
            )
            raise self._problem from problem.__cause__
        except BaseException:
            life.kill("starting it was given up")
            raise
        connection = Connection(life.socket, load.slots, life.kill)
        self._problem = None
        self._running = Running(connection, isolated, life, outcome.ready)
        return self._running

    def _started(self, starting: asyncio.Task[Running]) -> None:
        self._starting = None
        if not starting.cancelled():
            starting.exception()  # seen, even if nobody waits any more

    async def _message(self, life: Life) -> Message:
        try:
            message = await life.message()
        except msgspec.MsgspecError as bad:
            raise self._unloadable(life) from bad
        if message is None:
            raise self._unloadable(life)
        return message

    def _failed(self, life: Life, reason: str) -> CasemateError:
        if reason == "missing":
            return not_installed()
        if reason == "memory":
            return Unavailable(
                f"Model {self._name} does not fit into memory.",
                "Give it fewer slots or a shorter context, or choose a smaller model.",
            )
        return self._unloadable(life)

    def _unloadable(self, life: Life) -> Tampered:
        # The bytes are those of the manifest; so it is they that are wrong, or the memory is.
        return Tampered(
            f"The weights of model {self._name} cannot be loaded; its process "
            + ("has ended." if life.over and life.code < 0 else "refused them."),
            "Propose it again from its origin, in GGUF and whole; withdraw this one.",
        )

    def _ended(self, life: Life) -> None:
        """Called once for each process, when it is gone."""
        if life.reason != _UNNEEDED:
            self._crashes += 1
            pause = _FIRST_PAUSE_SECONDS * 2 ** (self._crashes - 2) if self._crashes > 1 else 0.0
            self._not_before = self._clock() + min(pause, _LONGEST_PAUSE_SECONDS)
        running, self._running, self._life = self._running, None, None
        if running is not None:
            self._later(running.connection.close())
        if life in self._recorded:
            self._recorded.discard(life)
            self._later(asyncio.to_thread(self._on_stopped, life.reason or _how(life.code)))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            work.close()
            return
        task = loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _abandon(self) -> None:
        """Its loop is gone without a word: end what is left of that time."""
        if self._life is not None:
            self._life.kill(_UNNEEDED)
            self._life.bury()
        self._running = self._life = self._starting = None
        self._tasks.clear()


def _leaving() -> bool:
    """Whether the present task was itself asked to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def not_installed() -> Unsupported:
    """The error where llama.cpp is not there."""
    return Unsupported(
        "Running models here needs llama.cpp, which is not installed.",
        "Install it: `pip install 'casemate[llama]'`.",
    )


def _pausing(name: str, left: float) -> Unavailable:
    return Unavailable(
        f"The process of model {name} has ended several times and pauses.",
        f"Try again in {max(1, round(left))} seconds; if it stays so, choose another model.",
    )


def _how(code: int) -> str:
    return f"it was ended by signal {-code}" if code < 0 else f"it ended with status {code}"


def _require_shut(isolated: Isolated, name: str) -> None:
    """Raise Refused where the process says that it is held, and found a way out all the same."""
    ways = [way for way, blocked, _ in isolated.proof if not blocked]
    if ways and not isolated.missing:
        raise Refused(
            f"Model {name} was not started: its process reports every layer of isolation in force, "
            f"and still found a way out: {', '.join(sorted(ways))}.",
            "Do not run models on this system; tell whoever looks after it what the ledger holds.",
        )
