"""The replicas of one model: which is asked, what happens when it fails, how they are.

The one with the fewest exchanges under way is asked; among equals they take turns. Another is
asked instead only while nothing has been handed on, and a request that may have reached a server
that then broke off is sent to one other at most: it may be what broke it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from casemate.engines.remote.exchange import Exchange
from casemate.engines.remote.phases import Phases, TooLong
from casemate.engines.remote.replica import IDLE_SECONDS, Elsewhere, Health, Replica, Request
from casemate.engines.wire import ADVICE, broken
from casemate.errors import CasemateError, Refused, Unavailable

if TYPE_CHECKING:
    from casemate.engines.remote.connection import Connection
    from casemate.gate.label import Label

_ATTEMPTS = 3  # at different replicas
_MOST_OUTSTANDING = 4096  # exchanges with one replica
_TURNED_AWAY = frozenset({429, 502, 503})  # it, or a proxy before it, has not begun to work
_FAILING = frozenset({502, 503})
_SECONDS = re.compile(r"[0-9]{1,6}")  # Retry-After; a date is as good as nothing
_LONGEST_REST_SECONDS = 10.0  # that a replica may ask for itself
_TICK_SECONDS = 1.0
_PROBE_SECONDS = 10.0  # without a word from a replica
_USED_SECONDS = 60.0  # after the last request nobody looks after replicas that are well


class Upstream:
    """The replicas of one model. ``clock``: monotonic seconds."""

    def __init__(
        self,
        replicas: Sequence[Replica],
        phases: Phases,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._replicas = tuple(replicas)
        self._phases = phases
        self._clock = clock
        self._turn = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._probes: set[asyncio.Task[None]] = set()
        self._used = -math.inf

    def exchange(self, request: Request) -> Exchange:
        """An exchange, to be entered."""
        return Exchange(self, request)

    def health(self) -> tuple[Health, ...]:
        """How each replica is."""
        now = self._clock()
        return tuple(replica.health(now) for replica in self._replicas)

    async def begin(self, request: Request) -> tuple[Replica, Connection, bytes]:
        """For Exchange: who answers, on which connection, and the first piece."""
        loop = asyncio.get_running_loop()
        self._begin_looking(loop)
        whole_by = loop.time() + self._phases.whole
        tried: list[Replica] = []
        problem: CasemateError | None = None
        broke = 0
        while True:
            replica = self._choose(request.label, tried, problem)
            if tried:
                tried[-1].retries += 1
            try:
                return replica, *await self._counted(replica, request, whole_by)
            except Elsewhere as met:
                problem = met.problem
                broke += met.was_sent
            tried.append(replica)
            if len(tried) == _ATTEMPTS or broke > 1:
                raise problem

    def end(self, replica: Replica, connection: Connection) -> None:
        """For Exchange: it is over, or nobody wants the rest."""
        replica.outstanding -= 1
        self._settle(replica, connection)

    def _settle(self, replica: Replica, connection: Connection) -> None:
        replica.heard = self._clock()
        if connection.problem is not None:
            self._failed(replica, connection.problem)
        elif connection.is_whole:
            replica.breaker.succeeded()
        replica.end(connection)

    async def close(self) -> None:
        """Close every connection, and stop looking after the replicas."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        probes = list(self._probes)
        for probe in probes:
            probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        for replica in self._replicas:
            replica.close()
        await asyncio.sleep(0)  # the loop closes sockets in its next round

    def _choose(
        self, label: Label, tried: Sequence[Replica], problem: CasemateError | None
    ) -> Replica:
        """The next to ask. Raises ``problem`` if there is none; Refused, Unavailable if None."""
        now = self._clock()
        count = len(self._replicas)
        ready: list[Replica] = []
        trials: list[Replica] = []
        refused: Refused | None = None
        waits: list[float] = []
        for offset in range(count):
            replica = self._replicas[(self._turn + offset) % count]
            if replica in tried or replica.outstanding >= _MOST_OUTSTANDING:
                continue
            try:
                replica.permit(label)
            except Refused as met:
                refused = met
                continue
            wait = max(replica.rests_until - now, replica.breaker.pause(now))
            if wait > 0:
                waits.append(wait)
            elif replica.breaker.is_closed:
                ready.append(replica)
            elif replica.breaker.is_due(now):
                trials.append(replica)
        if ready:
            found = min(ready, key=_outstanding)  # the first of equals
        elif trials:  # nobody's question is a trial while another replica is well
            found = trials[0]
        else:
            raise problem or (refused if refused and not waits else _none(waits))
        self._turn = found.number % count
        return found

    async def _counted(
        self, replica: Replica, request: Request, whole_by: float
    ) -> tuple[Connection, bytes]:
        replica.outstanding += 1
        try:
            return await self._attempt(replica, request, whole_by)
        except BaseException:
            replica.outstanding -= 1
            raise

    async def _attempt(
        self, replica: Replica, request: Request, whole_by: float
    ) -> tuple[Connection, bytes]:
        breaker = replica.breaker
        is_trial = not breaker.is_closed
        if is_trial:
            breaker.begin_trial()
        try:
            connection, piece = await replica.ask(request, whole_by)
        except BaseException as met:
            self._failed(replica, met)
            if is_trial:
                breaker.abandon()
            raise
        replica.heard = self._clock()
        status = connection.status
        if is_trial and status not in _FAILING:
            breaker.passed()
        if status not in _TURNED_AWAY and not 300 <= status < 400:
            return connection, piece
        problem = self._turned_away(replica, connection)
        replica.end(connection)
        if status in _TURNED_AWAY:
            raise Elsewhere(problem, is_reached=False)
        raise problem

    def _turned_away(self, replica: Replica, connection: Connection) -> Unavailable:
        """What to say of a status that is no answer; the replica rests if it asks for that."""
        status, now = connection.status, self._clock()
        replica.failures += 1
        if status in _FAILING:
            replica.breaker.failed(now)
        what = f"answered with status {status}"
        if status not in (429, 503):
            return broken(what)
        wait = connection.retry_after
        rest = min(float(wait), _LONGEST_REST_SECONDS) if _SECONDS.fullmatch(wait) else 0.0
        replica.rests_until = max(replica.rests_until, now + rest)
        busy = "It is busy or being started: try again in a moment."
        return Unavailable(f"The model server {what}.", busy, retry_after=max(1, math.ceil(rest)))

    def _failed(self, replica: Replica, met: BaseException) -> None:
        """Note what came of an exchange, if it is the replica's fault."""
        problem = met.problem if isinstance(met, Elsewhere) else met
        if not isinstance(problem, Unavailable) or isinstance(problem, TooLong):
            return
        replica.failures += 1
        if isinstance(met, Elsewhere) and not met.is_reached:
            replica.breaker.unreachable(self._clock())
        else:
            replica.breaker.failed(self._clock())

    def look_after(self) -> list[asyncio.Task[None]]:
        """Close what nobody uses; ask those for a sign of life that fail or were long silent.

        Called each second while the model is used, and until no replica fails any more. Gives the
        tasks that ask.
        """
        begun: list[asyncio.Task[None]] = []
        loop, now = asyncio.get_running_loop(), self._clock()
        for replica in self._replicas:
            replica.close_idle(loop.time() - IDLE_SECONDS)
            is_silent = replica.breaker.is_closed and now - replica.heard >= _PROBE_SECONDS
            if replica.breaker.is_due(now) or (is_silent and self._is_used(now)):
                replica.heard = now
                probe = loop.create_task(self._probe(replica), name="probe of a replica")
                self._probes.add(probe)
                probe.add_done_callback(self._probes.discard)
                begun.append(probe)
        return begun

    def _begin_looking(self, loop: asyncio.AbstractEventLoop) -> None:
        self._used = self._clock()
        if loop is not self._loop:  # a command asks in one loop after another
            self._loop, self._ticker = loop, None
            self._probes.clear()
            for replica in self._replicas:
                replica.close()
        if self._ticker is None:
            self._ticker = loop.call_later(_TICK_SECONDS, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ticker = None
        self.look_after()
        is_well = all(replica.breaker.is_closed for replica in self._replicas)
        if self._is_used(self._clock()) or not is_well:
            self._ticker = loop.call_later(_TICK_SECONDS, self._tick, loop)

    def _is_used(self, now: float) -> bool:
        return now - self._used < _USED_SECONDS

    async def _probe(self, replica: Replica) -> None:
        """Ask the replica for its models: any answer but a failing one shows that it lives."""
        label, breaker = replica.label, replica.breaker
        if label is None or not (breaker.is_closed or breaker.is_due(self._clock())):
            return
        request = Request("GET", "/models", "application/json", b"", label, "connect")
        with contextlib.suppress(Elsewhere, CasemateError):
            replica.permit(label)
            whole_by = asyncio.get_running_loop().time() + self._phases.whole
            connection, _ = await self._attempt(replica, request, whole_by)
            self._settle(replica, connection)


def _outstanding(replica: Replica) -> int:
    return replica.outstanding


def _none(waits: Sequence[float]) -> Unavailable:
    wait = max(1, math.ceil(min(waits, default=1)))
    return Unavailable("No server of this model can be asked now.", ADVICE, retry_after=wait)
