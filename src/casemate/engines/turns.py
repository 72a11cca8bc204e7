"""Turns: runs wait for a slot of an engine, each for its own, as the schedule says.

Room to wait is bounded, and no tenant fills it: each may have as many runs here as are still free,
and one principal half as many (dynamic thresholds: Choudhury, Hahne, IEEE/ACM Transactions on
Networking 6(2), 1998). One that floods keeps half of the room, and the next still finds a place.
Who finds none is told when to come again: each of a tenant a little later than the one before, as
fast as turns come free, so that a thousand do not come back in one second.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Self, TypeVar

from casemate.engines.schedule import Flow, Schedule, Ticket
from casemate.errors import TooMany
from casemate.gate.share import PRIORITIES
from casemate.spread import Spread

_LOOK_SECONDS = 2.0  # after which whoever waits is told their position again
_LATELY = 0.1  # the weight of the newest turn among those before
_FARTHEST = 200  # positions that are told apart
_LONGEST = 60  # seconds after which somebody is to come again
_REMEMBERED = 1024  # tenants whose last hint is kept

T = TypeVar("T")


class Turns:
    """Who waits for one engine, and who has it. ``room``: runs, at work and waiting together."""

    def __init__(self, slots: int, room: int, clock: Callable[[], float]) -> None:
        self.waits = {priority: Spread() for priority in PRIORITIES}
        self.works = Spread()
        self.given_up: Counter[str] = Counter()  # by priority
        self.refused = 0
        self.failures = 0  # of the engine; whoever calls it counts them
        self.usual_seconds = 1.0  # that a turn takes, of late
        self._schedule = Schedule(slots)
        self._room = room
        self._clock = clock
        self._inside = 0  # runs
        self._runs: Counter[str] = Counter()  # by tenant
        self._own: Counter[tuple[str, str]] = Counter()
        self._granted: dict[Ticket, asyncio.Future[None]] = {}
        self._positions: dict[Ticket, int] = {}
        self._looked = float("-inf")
        self._hinted: dict[str, float] = {}  # when the last of a tenant is to come again

    @property
    def slots(self) -> int:
        """How many may be at work; may be set at any time."""
        return self._schedule.slots

    @slots.setter
    def slots(self, slots: int) -> None:
        self._room += slots - self._schedule.slots
        self._schedule.slots = slots
        self._grant()

    @property
    def anybody_waits(self) -> bool:
        """Whether somebody waits for a slot."""
        return len(self._schedule) > 0

    def remember(self, tenant: str) -> None:
        """This tenant was here, though it took no turn: it may come again at any moment."""
        self._schedule.remember(tenant)

    def waiting(self, priority: str) -> int:
        """How many of this priority wait."""
        return self._schedule.waiting(priority)

    def at_work(self, priority: str) -> int:
        """How many of this priority have a slot."""
        return self._schedule.at_work(priority)

    def place(self, flow: Flow) -> Place:
        """Room for one run, from before it begins to its end: ``with`` it. Raises TooMany."""
        return Place(self, flow)

    def turn(self, flow: Flow, cost: float) -> Turn:
        """A turn: ``with`` it, then wait for it; it is over when the block ends, whatever ends it.

        ``cost``: tokens, as estimated.
        """
        return Turn(self, flow, cost)

    def _enter(self, flow: Flow) -> None:
        own = (flow.tenant, flow.principal)
        free = self._room - self._inside
        if self._runs[flow.tenant] >= free or 2 * self._own[own] >= free:
            self.refused += 1
            raise TooMany(
                "Too many questions wait for this model already.",
                "Ask again a little later.",
                self._seconds_to_room(flow.tenant),
            )
        self._runs[flow.tenant] += 1
        self._own[own] += 1
        self._inside += 1

    def _leave(self, flow: Flow) -> None:
        self._inside -= 1
        _drop(self._runs, flow.tenant)
        _drop(self._own, (flow.tenant, flow.principal))

    def _join(self, flow: Flow, cost: float) -> Ticket:
        ticket = self._schedule.join_at_once(flow, cost)
        if ticket is None:
            ticket = self._schedule.join(flow, cost)
            self._granted[ticket] = asyncio.get_running_loop().create_future()
            self._grant()
        return ticket

    def _end(self, turn: Turn, ticket: Ticket) -> None:
        if not ticket.working:
            self.given_up[ticket.flow.priority] += 1
        elif turn.began is not None:
            took = self._clock() - turn.began
            self.works.add(took)
            self.usual_seconds += _LATELY * (took - self.usual_seconds)
        self._schedule.leave(ticket, turn.cost)
        self._granted.pop(ticket, None)
        self._positions.pop(ticket, None)
        if self._granted:
            self._grant()

    def _position(self, ticket: Ticket) -> int:
        """How many go first, and one; counted for all who wait at once."""
        now = self._clock()
        if now - self._looked >= _LOOK_SECONDS:
            self._positions = {
                one: number for number, one in enumerate(self._schedule.order(_FARTHEST), 1)
            }
            self._looked = now
        return self._positions.get(ticket) or min(len(self._schedule), _FARTHEST)

    def _grant(self) -> None:
        while (ticket := self._schedule.next()) is not None:
            granted = self._granted[ticket]
            if not granted.done():
                granted.set_result(None)

    def _seconds_to_room(self, tenant: str) -> int:
        """When one more of this tenant is to come again, from a second to a minute.

        The first when half of what it has here is done, a guess; each next one turn later. Those
        for whom a minute is not enough begin anew: they share the seconds with others.
        """
        now, turn = self._clock(), self.usual_seconds / self.slots
        soonest = now + self._runs[tenant] / 2 * turn
        at = max(soonest, self._hinted.get(tenant, soonest)) + turn
        if at > now + _LONGEST:
            at = min(soonest, now + _LONGEST)
        if len(self._hinted) > _REMEMBERED:
            self._hinted = {one: then for one, then in self._hinted.items() if then > now}
        self._hinted[tenant] = at
        return max(1, min(_LONGEST, math.ceil(at - now)))


class Place(AbstractContextManager[None]):
    """Room for one run."""

    __slots__ = ("_flow", "_turns")

    def __init__(self, turns: Turns, flow: Flow) -> None:
        self._turns = turns
        self._flow = flow

    def __enter__(self) -> None:
        self._turns._enter(self._flow)

    def __exit__(self, *_: object) -> None:
        self._turns._leave(self._flow)


class Turn(AbstractContextManager["Turn"]):
    """One wait for a slot, and the work in it. Set ``cost`` to what the work really was."""

    __slots__ = ("_estimate", "_flow", "_since", "_ticket", "_turns", "began", "cost")

    _ticket: Ticket
    _since: float

    def __init__(self, turns: Turns, flow: Flow, estimate: float) -> None:
        self.cost: float | None = None
        self.began: float | None = None
        self._turns = turns
        self._flow = flow
        self._estimate = estimate

    def __enter__(self) -> Self:
        self._ticket = self._turns._join(self._flow, self._estimate)
        self._since = self._turns._clock()
        return self

    def __exit__(self, *_: object) -> None:
        self._turns._end(self, self._ticket)

    @property
    def waits(self) -> bool:
        """Whether the slot is not ours yet."""
        granted = self._turns._granted.get(self._ticket)
        return granted is not None and not granted.done()

    async def come(self) -> None:
        """Wait until the slot is ours."""
        if not self.comes_at_once():
            async for _ in self.waiting():
                pass

    def comes_at_once(self) -> bool:
        """Whether the slot is ours already: then it has begun, and nobody need wait."""
        if self.waits:
            return False
        self.begin()
        return True

    async def waiting(self) -> AsyncIterator[int]:
        """Positions while there is somebody before us, from 1; ends when the slot is ours."""
        granted = self._turns._granted.get(self._ticket)
        while granted is not None and not granted.done():
            yield self._turns._position(self._ticket)
            await asyncio.wait({granted}, timeout=_LOOK_SECONDS)
        self.begin()

    def begin(self) -> None:
        """The slot is ours: the work begins."""
        self.began = self._turns._clock()
        self._turns.waits[self._ticket.flow.priority].add(self.began - self._since)


def _drop(counter: Counter[T], key: T) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
