"""Serving: what a run has of its model: within its quotas, in its turn, as long as it is permitted.

Stands beside the installation, whose gate and engines it joins for the time of one run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Self

from casemate.at_hand import promptly
from casemate.engines.in_turn import CHARACTERS_PER_TOKEN, InTurn
from casemate.engines.schedule import Flow
from casemate.gate.budget import Use

if TYPE_CHECKING:
    from casemate.engines.engine import Engine
    from casemate.engines.turns import Turns
    from casemate.gate.admission import Admission, Gate
    from casemate.gate.budget import Asker
    from casemate.gate.capacity import Capacity
    from casemate.gate.watch import Watch
    from casemate.models.manifest import Manifest

# Tokens that a run is expected to read of passages, and to write where nothing is asked.
_PASSAGES, _USUAL_ANSWER = 1024, 512

Found = tuple["Manifest", "Engine", "Capacity"]
Placed = Callable[["Manifest", "Capacity", Flow, "Asker"], "AbstractAsyncContextManager[Turns]"]


class Room(AbstractAsyncContextManager["Turns"]):
    """Room for one run among those that a model answers, and who goes when. Raises TooMany."""

    __slots__ = ("_place", "_turns")

    def __init__(self, turns: Turns, flow: Flow) -> None:
        self._turns = turns
        self._place = turns.place(flow)

    async def __aenter__(self) -> Turns:
        self._place.__enter__()
        return self._turns

    async def __aexit__(self, *_: object) -> None:
        self._place.__exit__()


class Serving(AbstractAsyncContextManager["Serving"]):
    """The model of an admission, for one run: ``async with`` it. Raises TooMany.

    ``find`` gives what there is of a model, ``placed`` room and turns for a run of it; ``told`` is
    given what was used, at the end. ``size``: characters that the model will read, beside passages;
    ``most``: tokens that it may write. The ``watch`` ends what is no longer permitted.
    """

    manifest: Manifest
    engine: InTurn
    watch: Watch

    def __init__(
        self,
        gate: Gate,
        find: Callable[[str], Found],
        placed: Placed,
        told: Callable[[Admission, Manifest, Use], None],
        admission: Admission,
        size: int,
        most: int | None,
    ) -> None:
        self._gate = gate
        self._find = find
        self._placed = placed
        self._told = told
        self._admission = admission
        self._size = size
        self._most = most
        self._used = Use()

    async def __aenter__(self) -> Self:
        admission, gate = self._admission, self._gate
        manifest, engine, capacity = await promptly(self._find, admission.model)
        flow = Flow.of(admission)
        # By hand what a stack of contexts does: it would cost more than all of them.
        self._room = self._placed(manifest, capacity, flow, admission.asker)
        turns = await self._room.__aenter__()
        try:
            written = min(self._most or _USUAL_ANSWER, engine.profile.answer_tokens)
            estimate = Use(
                tokens=self._size // CHARACTERS_PER_TOKEN + _PASSAGES + written,
                gpu_seconds=capacity.gpu_milliseconds(turns.usual_seconds),
                watt_hours=capacity.joules(turns.usual_seconds),
            )
            self._watching = gate.watching(admission)
            self.watch = self._watching.__enter__()
            try:
                self._reserved = gate.budgets.run(admission.asker, estimate)
                self._used = await self._reserved.__aenter__()
            except BaseException:
                self._watching.__exit__()
                raise
        except BaseException:
            await self._room.__aexit__(None, None, None)
            raise
        self.manifest = manifest
        self.engine = InTurn(engine, turns, flow, capacity, self._used)
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            self._told(self._admission, self.manifest, self._used)
        finally:
            try:
                await self._reserved.__aexit__()
            finally:
                self._watching.__exit__()
                await self._room.__aexit__(None, None, None)
