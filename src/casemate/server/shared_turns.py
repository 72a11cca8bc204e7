"""Turns, shared: runs of every worker wait for a model in the one queue that the owner keeps.

So slots, room, fairness among tenants and the runs that one principal may have open mean the same
with several processes as with one. ``Host`` is the owner's side for one worker, ``Guest`` the
worker's; a run costs three messages each way, which leave with those of its record.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

from casemate.at_hand import NotAtHand, at_hand
from casemate.engines.schedule import Flow
from casemate.engines.turns import Place, Turn, Turns
from casemate.gate.budget import Asker, Opened
from casemate.server import said
from casemate.server.records import failed

if TYPE_CHECKING:
    from casemate.installation import Installation
    from casemate.server.records import Afar


@dataclass
class _Entered:
    """A run of the worker's. ``turns``: None while it is being let in."""

    flow: Flow
    turns: Turns | None = None
    opened: Opened | None = None
    place: Place | None = None
    gone: bool = False

    def close(self) -> None:
        """Give back what it holds."""
        self.gone = True
        if self.place is not None:
            self.place.__exit__()
        if self.opened is not None:
            self.opened.__exit__()
        self.place = self.opened = None


@dataclass
class _Turn:
    """A turn of the worker's: it has come, or ``following`` waits for it."""

    turns: Turns
    turn: Turn
    following: asyncio.Task[None] | None = None

    def close(self) -> None:
        """End it, or the wait for it."""
        if self.following is not None:
            self.following.cancel()
        self.turn.__exit__()


class Host:
    """Lets one worker's runs into the owner's queues. ``say`` answers it."""

    def __init__(
        self,
        installation: Installation,
        say: Callable[[said.Entered | said.Passed | said.Failed], None],
    ) -> None:
        self._installation = installation
        self._say = say
        self._entered: dict[int, _Entered] = {}
        self._turns: dict[int, _Turn] = {}
        self._entering: set[asyncio.Task[None]] = set()

    def hear(self, message: said.Enters | said.Leaves | said.Waits | said.Worked) -> None:
        """Do what the worker asks for. Raises KeyError for a run that it never spoke of."""
        match message:
            case said.Enters():
                self._enter(message)
            case said.Leaves():
                run = self._entered.pop(message.entered, None)
                if run is not None:  # else it was never let in
                    run.close()
            case said.Waits():
                self._wait(message)
            case said.Worked():
                turn = self._turns.pop(message.number)
                turn.turn.cost = message.cost
                turn.turns.failures += message.failed
                turn.close()

    def close(self) -> None:
        """The worker is gone: so are its runs and their turns."""
        for turn in self._turns.values():
            turn.close()
        self._turns.clear()
        for run in self._entered.values():
            run.close()
        self._entered.clear()

    def _enter(self, asked: said.Enters) -> None:
        flow = Flow(
            asked.tenant,
            asked.principal,
            asked.priority,
            asked.tenant_weight,
            asked.principal_weight,
        )
        run = self._entered[asked.number] = _Entered(flow)
        try:
            found = at_hand(self._look, asked)
        except NotAtHand:
            entering = asyncio.ensure_future(self._enter_later(asked, run))
            self._entering.add(entering)
            entering.add_done_callback(self._entering.discard)
        except Exception as problem:
            self._refuse(asked.number, problem)
        else:
            self._let_in(asked.number, run, found)

    async def _enter_later(self, asked: said.Enters, run: _Entered) -> None:
        try:
            found = await asyncio.to_thread(self._look, asked)
        except Exception as problem:
            self._refuse(asked.number, problem)
        else:
            self._let_in(asked.number, run, found)

    def _look(self, asked: said.Enters) -> tuple[Turns, int, Opened]:
        """The turns for the model, its slots, and a place among the asker's open runs."""
        installation = self._installation
        manifest = installation.models.approved(asked.model)
        engines, gate = installation.engines, installation.gate
        slots = gate.capacities.of(manifest.name, engines.slots(manifest)).slots
        turns = engines.turns(manifest)
        opened = gate.budgets.opened(Asker(asked.tenant, asked.principal, asked.use_case))
        opened.__enter__()  # by hand, as below: it lasts from message to message
        return turns, slots, opened

    def _let_in(self, number: int, run: _Entered, found: tuple[Turns, int, Opened]) -> None:
        run.turns, slots, run.opened = found
        if run.turns.slots != slots:
            run.turns.slots = slots
        place = run.turns.place(run.flow)
        try:
            place.__enter__()
        except Exception as problem:
            run.close()
            self._refuse(number, problem)
            return
        if run.gone:
            place.__exit__()
            run.close()
            return
        run.place = place
        self._say(said.Entered(number, run.turns.usual_seconds))

    def _refuse(self, number: int, problem: Exception) -> None:
        self._entered.pop(number, None)
        self._say(failed(number, problem))

    def _wait(self, asked: said.Waits) -> None:
        run = self._entered[asked.entered]
        if run.turns is None:
            raise KeyError(asked.entered)
        turn = run.turns.turn(run.flow, asked.cost).__enter__()
        waiting = self._turns[asked.number] = _Turn(run.turns, turn)
        if turn.waits:
            waiting.following = asyncio.ensure_future(self._follow(asked.number, turn))
        else:
            turn.begin()
            self._say(said.Passed(asked.number, 0))

    async def _follow(self, number: int, turn: Turn) -> None:
        async for position in turn.waiting():
            self._say(said.Passed(number, position))
        self._say(said.Passed(number, 0))


class Guest:
    """The owner's queues, as a worker's runs see them."""

    def __init__(self, afar: Afar) -> None:
        self._afar = afar

    @asynccontextmanager
    async def placed(self, model: str, flow: Flow, asker: Asker) -> AsyncIterator[Turns]:
        """Room for one run of ``model``, and turns for it. Raises TooMany."""
        number, entering = self._afar.ask(
            lambda number: said.Enters(
                number,
                model,
                flow.tenant,
                flow.principal,
                asker.use_case,
                cast("said.Priority", flow.priority),
                flow.tenant_weight,
                flow.principal_weight,
            )
        )
        try:
            entered = await entering
            assert isinstance(entered, said.Entered)  # noqa: S101 - for the type checker
            yield cast("Turns", _Turns(self._afar, number, entered.usual_seconds))
        finally:
            self._afar.say(said.Leaves(number))


class _Turns:
    """Turns of one run, in the place of ``engines.turns.Turns``."""

    def __init__(self, afar: Afar, entered: int, usual_seconds: float) -> None:
        self.usual_seconds = usual_seconds
        self.failures = 0
        self.afar = afar
        self.entered = entered

    def turn(self, flow: Flow, cost: float) -> _Awaited:
        """A turn: ``with`` it, then wait for it; it is over when the block ends."""
        return _Awaited(self, cost)


class _Awaited(AbstractContextManager["_Awaited"]):
    """One wait for a slot, in the place of ``engines.turns.Turn``."""

    _number: int
    _passed: asyncio.Queue[int]

    def __init__(self, turns: _Turns, cost: float) -> None:
        self.cost: float | None = None
        self.began: float | None = None
        self._turns = turns
        self._estimate = cost
        self._failures = turns.failures

    def __enter__(self) -> Self:
        turns = self._turns
        self._number, self._passed = turns.afar.follow(
            lambda number: said.Waits(number, turns.entered, self._estimate)
        )
        return self

    def __exit__(self, *_: object) -> None:
        turns = self._turns
        turns.afar.leave(self._number)
        turns.afar.say(said.Worked(self._number, self.cost, turns.failures > self._failures))

    def comes_at_once(self) -> bool:
        """Whether the owner has said so already: no, that takes a message."""
        return False

    async def come(self) -> None:
        """Wait until the slot is ours."""
        async for _ in self.waiting():
            pass

    async def waiting(self) -> AsyncIterator[int]:
        """Positions while there is somebody before us, from 1; ends when the slot is ours."""
        while position := await self._passed.get():
            yield position
        self.began = time.monotonic()
