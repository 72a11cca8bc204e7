"""One worker process from its start to its end, as its owner sees it.

Nothing is inherited but four descriptors: of the wire, of the socket that requests are handed over
by, and, shared by all workers, of the listening socket and of a little memory. What the process has
open when it ends, ends with it: its runs are closed as failed, what it handed over as for a client
that went away.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from starlette.types import ASGIApp

import casemate
from casemate.counts import Counts
from casemate.server import said, worker_process
from casemate.server.clerk import Clerk
from casemate.server.shared_turns import Host
from casemate.server.tunnel import Mouth
from casemate.server.wire import Wire, connected

if TYPE_CHECKING:
    from casemate.installation import Installation

_PARTING_SECONDS = 5.0  # for a process to end whose wire has ended
_log = logging.getLogger("casemate.server")


class Life:
    """One process. ``prepared`` and ``accepting`` are set as it says so, ``over`` at its end."""

    def __init__(self, number: int, installation: Installation) -> None:
        self.number = number
        self.prepared = asyncio.Event()
        self.accepting = asyncio.Event()
        self.over = asyncio.Event()
        self.counts = Counts()  # as it told them last
        self._installation = installation
        self._clerk = Clerk(installation, self._say)
        self._host = Host(installation, self._say)
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[None]] = {}
        self._loop = asyncio.get_running_loop()

    async def begin(self, orders: said.Orders, shared: Sequence[int], app: ASGIApp) -> None:
        """Start the process. ``shared``: descriptors of what it shares with the others.

        Raises OSError if it cannot be.
        """
        wire, wire_theirs = socket.socketpair()
        hand, hand_theirs = socket.socketpair()
        with wire_theirs, hand_theirs:
            inherited = [wire_theirs.fileno(), hand_theirs.fileno(), *shared]
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *_command(inherited),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=inherited,
                    start_new_session=True,  # Ctrl-C is the owner's to answer
                )
            except BaseException:
                wire.close()
                hand.close()
                raise
        self._mouth = Mouth(hand, app)
        self._wire = await connected(Wire(said.FromWorker, self._hear, self._lost), wire)
        self._wire.say(orders)

    def accept(self) -> None:
        """Let it accept clients."""
        self._wire.say(said.Accept())

    def stop(self) -> None:
        """Let it finish what it has begun; a second time, end at once."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._signal(signal.SIGKILL)

    async def end(self) -> int:
        """Wait until it is gone and what it had open is closed; its exit code."""
        code = await self._process.wait()
        await self.over.wait()  # all that it said is heard
        await self._clerk.close()
        return code

    async def close(self) -> None:
        """Wait for what it handed over, which ends as for a client that went away."""
        await self._mouth.close()

    def take_over(self, places: bytes) -> asyncio.Future[None]:
        """Have other places in force there; done once they are, or it is over."""
        return self._ask(lambda number: said.Places(number, places))

    async def count(self, seconds: float) -> None:
        """Have it say what it counted, in ``counts``: for so long it is waited for."""
        counting = self._ask(said.Count)
        await asyncio.wait({counting}, timeout=seconds)

    def _ask(self, say: Callable[[int], said.Places | said.Count]) -> asyncio.Future[None]:
        number, answer = next(self._numbers), self._loop.create_future()
        if self.over.is_set():
            answer.set_result(None)
        else:
            self._asked[number] = answer
            self._say(say(number))
        return answer

    def _say(self, message: said.FromOwner) -> None:
        self._wire.say(message)

    def _hear(self, message: said.FromWorker) -> None:
        match message:
            case said.Prepared():
                self.prepared.set()
            case said.Accepting():
                self.accepting.set()
            case said.Enters() | said.Leaves() | said.Waits() | said.Worked():
                self._host.hear(message)
            case said.Taken():
                self._answered(message.number)
            case said.Counted():
                self.counts = msgspec.json.decode(message.counts, type=Counts)
                self._answered(message.number)
            case _:
                self._clerk.hear(message)

    def _answered(self, number: int) -> None:
        waiting = self._asked.pop(number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def _lost(self, problem: Exception | None) -> None:
        if problem is not None:
            _log.error("worker %d is ended: %s", self.number, type(problem).__name__)
            self.kill()
        self.over.set()
        self._host.close()
        for number in list(self._asked):
            self._answered(number)
        # It ends by itself when its wire does, unless it hangs.
        self._loop.call_later(_PARTING_SECONDS, self.kill)

    def _signal(self, which: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # asyncio knows when it has ended
            self._process.send_signal(which)


def _command(inherited: list[int]) -> list[str]:
    """Run ``worker_process`` as a script: with -I neither folder nor environment add code to it."""
    root = str(Path(casemate.__file__).resolve().parent.parent)
    # Python started with -m imports from the working folder; a worker does not.
    found = [path for path in sys.path if os.path.isabs(path) and path != _working_folder()]
    script = str(Path(worker_process.__file__).resolve())
    return [sys.executable, "-I", "-B", script, *map(str, inherited), root, *found]


def _working_folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed
        return ""
