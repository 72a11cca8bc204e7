"""Runs in the background: they go on without whoever asked for them, who looks after them later.

While one goes on, its events are held here, so that it can be followed, left and followed again.
What is kept of it beside them says whose it is and how it stands; the answer lies with the run, and
is kept as for every other run by whoever began it. A run does not outlive the process that it is
in: after a restart it is found to have failed, as its record says too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from casemate.errors import CasemateError, Conflict, Unavailable
from casemate.library.kept import Kept, Thing
from casemate.reasoning.event import Admitted, Event, Finished, Request, Waiting

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.label import Label

IN_PROGRESS, FAILED, CANCELLED = "in_progress", "failed", "cancelled"
_KIND = "background"
_UNFORESEEN = Unavailable("Something went wrong here.", "Ask again.")
_CANCELLED = Conflict("This run was cancelled.", "Ask again.")
_STOPPED = Unavailable("The server was stopped before the answer was whole.", "Ask again.")
# How many runs that have ended can still be followed from where a reader was, and for how long.
_HELD = 256
_HELD_SECONDS = 600.0

Events = AsyncGenerator[Event, None]
Keep = Callable[[Admitted, Finished], Awaitable[None]]
"""Keeps the answer of a run that has ended; called before its last event is told."""


@dataclass
class Going:
    """A run that goes on, or has just ended. ``problem``: why it ended without an answer.

    ``facts``: what whoever began it wants to find again.
    """

    asked: Request
    facts: Mapping[str, Any]
    run: str = ""
    events: list[Event] = field(default_factory=list)
    over: bool = False
    problem: Exception | None = None
    task: asyncio.Task[None] | None = None
    unwanted: bool = False  # cancelled by whose it is, not by the end of the server
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def queued(self) -> bool:
        """Whether others go first."""
        last = self.events[-1] if self.events else None
        return isinstance(last, Waiting) and last.position > 0

    async def follow(self) -> Events:
        """Its events from the first, as they come. Raises what the run raises."""
        told = 0
        while True:
            more = self._more
            while told < len(self.events):
                told += 1
                yield self.events[told - 1]
            if self.over:
                break
            await more.wait()
        if self.problem is not None:
            raise self.problem

    def tell(self, *events: Event) -> None:
        """Add to its events, for all who follow."""
        self.events += events
        self._more.set()
        self._more = asyncio.Event()


@dataclass(frozen=True)
class Standing:
    """How a run in the background stands. ``facts``: what whoever began it wanted to find again."""

    run: str
    state: str
    facts: Mapping[str, Any]
    problem: str
    going: Going | None


class Background:
    """Everybody's own runs in the background."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._going: dict[str, Going] = {}

    async def begin(
        self,
        caller: Caller,
        asked: Request,
        events: Events,
        *,
        facts: Mapping[str, Any],
        label: Label,
        keep: Keep,
    ) -> Going:
        """Let a run go on by itself, once it is admitted; ``label``: of the question.

        Raises what refuses it, and what keeping its standing raises.
        """
        going, began = Going(asked, facts), asyncio.get_running_loop().create_future()

        async def admitted(first: Admitted) -> Thing:
            return await asyncio.to_thread(
                self._kept.add,
                caller,
                _KIND,
                {"facts": dict(facts)},
                label=label,
                use_case=first.use_case,
                run=first.run,
                state=IN_PROGRESS,
            )

        # The whole run lies in one task: what it waits for belongs to that one.
        going.task = asyncio.create_task(self._drive(going, events, admitted, keep, began))
        try:
            await asyncio.shield(began)
        except BaseException:
            began.cancel()
            going.task.cancel()
            await asyncio.gather(going.task, return_exceptions=True)
            raise
        self._hold(going)
        return going

    async def standing(self, caller: Caller, run: str) -> Standing:
        """How a run stands that has no answer (yet). Raises NotFound for any other."""
        thing = await asyncio.to_thread(self._kept.of_run, caller, _KIND, run)
        going = self._going.get(run)
        state, problem = thing.state, str(thing.facts.get("problem", ""))
        if state == IN_PROGRESS and (going is None or going.over):
            state, problem = FAILED, str(_STOPPED)
        return Standing(run, state, thing.facts["facts"], problem, going)

    def followed(self, run: str) -> Going | None:
        """The events of a run, as long as they are held; whose it is has been asked before."""
        return self._going.get(run)

    async def cancel(self, caller: Caller, run: str) -> Standing:
        """End a run that goes on; once this returns, its record is closed.

        One that was cancelled or has failed is left as it is. Raises NotFound, also for a run that
        came to its end.
        """
        thing = await asyncio.to_thread(self._kept.of_run, caller, _KIND, run)
        going = self._going.get(run)
        if thing.state == IN_PROGRESS and going is not None and going.task is not None:
            going.unwanted = True
            going.task.cancel()
            await asyncio.gather(going.task, return_exceptions=True)
        return await self.standing(caller, run)

    async def forget(self, caller: Caller, run: str) -> None:
        """Erase what is kept of how a run stands. Raises NotFound, Conflict while it goes on."""
        standing = await self.standing(caller, run)
        if standing.state == IN_PROGRESS:
            raise Conflict("This run goes on.", "Cancel it first.")
        thing = await asyncio.to_thread(self._kept.of_run, caller, _KIND, run)
        await asyncio.to_thread(self._kept.delete, thing)
        self.release(run)

    def release(self, run: str) -> None:
        """Hold the events of a run no longer."""
        self._going.pop(run, None)

    async def close(self) -> None:
        """End all runs that go on, and see their records closed."""
        tasks = [one.task for one in self._going.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._going.clear()

    async def _drive(
        self,
        going: Going,
        events: Events,
        admitted: Callable[[Admitted], Awaitable[Thing]],
        keep: Keep,
        began: asyncio.Future[None],
    ) -> None:
        thing, first = None, None
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Admitted):
                        thing, first = await admitted(event), event
                        going.run = event.run
                        going.tell(event)
                        began.set_result(None)
                        continue
                    if isinstance(event, Finished) and first is not None and thing is not None:
                        await _to_its_end(self._end(thing, first, event, keep))
                    going.tell(event)
        except asyncio.CancelledError:
            going.problem = _CANCELLED if going.unwanted else _STOPPED
            if thing is not None and going.unwanted:
                await _to_its_end(asyncio.to_thread(self._kept.change, thing, state=CANCELLED))
            raise
        except Exception as problem:
            going.problem = problem
            if not began.done():
                began.set_exception(problem)
            elif thing is not None:
                told = problem if isinstance(problem, CasemateError) else _UNFORESEEN
                facts = {**thing.facts, "problem": str(told)}
                with suppress(CasemateError):  # forgotten meanwhile, with all that was kept
                    await asyncio.to_thread(self._kept.change, thing, facts=facts, state=FAILED)
        finally:
            going.over = True
            going.tell()
            asyncio.get_running_loop().call_later(_HELD_SECONDS, self.release, going.run)

    async def _end(self, thing: Thing, first: Admitted, finished: Finished, keep: Keep) -> None:
        await keep(first, finished)
        await asyncio.to_thread(self._kept.delete, thing)

    def _hold(self, going: Going) -> None:
        self._going[going.run] = going
        ended = [run for run, one in self._going.items() if one.over]
        for run in ended[: max(0, len(ended) - _HELD)]:
            del self._going[run]


async def _to_its_end(work: Awaitable[object]) -> None:
    """Wait for ``work``, also while being cancelled: half of it would be worse than none."""
    working = asyncio.ensure_future(work)
    while not working.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(working)
    working.result()
