"""The door: requests of programs come in fairly, before anybody knows for certain who they are.

To know who asks and whether they may costs milliseconds. A tenant that floods would keep the
processors busy with that alone, so a request waits for a turn first: with others of the same
tenant, going by whom its credentials were found to belong to last time, or of the same address
where they never were. This decides who goes next and nothing else; rights are the gate's.

A turn ends when the request is admitted or answered, and after a second in any case; with it ends
the request's place at the door. What takes longer is bounded elsewhere. While nobody waits, a few
come in without a turn: there is nobody to be fair to.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import TYPE_CHECKING

from starlette.types import Scope

from casemate.engines.schedule import Flow
from casemate.engines.turns import Place, Turn, Turns

if TYPE_CHECKING:
    from casemate.gate.caller import Caller

DOOR = "casemate.door"  # in the ASGI scope: the door of the application
KEY = "casemate.visit"  # in the ASGI scope: the visit of this request
_AT_ONCE = 8  # turns
_FREELY = 4  # requests inside without a turn
_ROOM = 512  # requests at the door; of one tenant at most half
_SECONDS = 1.0  # that a turn lasts at most
_REMEMBERED = 65_536
_CREDENTIALS = (b"authorization", b"cookie")


class Door:
    """Where requests of one application come in. ``clock`` only grows, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.turns = Turns(_AT_ONCE, _ROOM, clock)
        # Hashes that are salted anew in each process; two that are equal by chance share a queue.
        self._known: OrderedDict[int, tuple[str, str]] = OrderedDict()
        self._freely = 0
        self._inside: deque[tuple[float, Visit]] = deque()  # since when, the longest first
        self._looking: asyncio.TimerHandle | None = None

    def entered(self, scope: Scope) -> Visit:
        """Inside, once it is this request's turn: ``async with`` it. Raises TooMany."""
        return Visit(self, scope)

    def recognise(self, scope: Scope, caller: Caller) -> None:
        """Remember whose the credentials of this request are."""
        principal = caller.principal
        credentials = _credentials(scope)
        if credentials is None:
            return  # a certificate: its holder queues by address
        self._known[credentials] = (principal.tenant, principal.id)
        self._known.move_to_end(credentials)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _lets_in(self, flow: Flow) -> bool:
        """Whether somebody may come in without a turn; then they have."""
        if self._freely >= _FREELY or self.turns.anybody_waits:
            return False
        self._freely += 1
        self.turns.remember(flow.tenant)
        return True

    def _look_after(self, visit: Visit) -> None:
        """End a turn that lasts too long. One timer for all: most turns are over long before."""
        loop = asyncio.get_running_loop()
        inside = self._inside
        while inside and not inside[0][1].is_inside:
            inside.popleft()
        inside.append((loop.time(), visit))
        if self._looking is None:
            self._looking = loop.call_later(_SECONDS, self._end_long, loop)

    def _end_long(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looking = None
        inside, before = self._inside, loop.time() - _SECONDS
        while inside and (inside[0][0] <= before or not inside[0][1].is_inside):
            inside.popleft()[1].leave()
        if inside:
            self._looking = loop.call_at(inside[0][0] + _SECONDS, self._end_long, loop)

    def _flow(self, scope: Scope) -> Flow:
        credentials = _credentials(scope)
        known = None if credentials is None else self._known.get(credentials)
        if known is not None:
            return Flow(*known)
        address = (scope.get("client") or ("", 0))[0]
        return Flow(f"at {address}", "")


class Visit(AbstractAsyncContextManager[None]):
    """One request at the door: waiting for its turn, then inside until it leaves."""

    __slots__ = ("_place", "_scope", "_turn", "door", "is_inside")

    def __init__(self, door: Door, scope: Scope) -> None:
        self.door = door
        self.is_inside = False
        self._scope = scope
        self._place: Place | None = None
        self._turn: Turn | None = None

    async def __aenter__(self) -> None:
        door = self.door
        flow = door._flow(self._scope)
        if not door._lets_in(flow):
            # Room at the door is for who stands there: what goes on inside for minutes, such as a
            # stream, has room of its own where it waits.
            with ExitStack() as undoing:
                place, turn = door.turns.place(flow), door.turns.turn(flow, 1)
                undoing.enter_context(place)
                undoing.enter_context(turn)
                await turn.come()
                undoing.pop_all()
            self._place, self._turn = place, turn
        self.is_inside = True
        door._look_after(self)
        self._scope[KEY] = self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """The turn and the place are over, if they were not before."""
        if not self.is_inside:
            return
        self.is_inside = False
        if self._turn is None or self._place is None:
            self.door._freely -= 1
        else:
            self._turn.__exit__()
            self._place.__exit__()


def door_of(scope: Scope) -> Door:
    """The door of the application that serves ``scope``; one that nobody uses if it has none."""
    found = scope.get(DOOR)
    return found if isinstance(found, Door) else Door(time.monotonic)


def leave(scope: Scope) -> None:
    """The request is admitted: the next may come in."""
    if KEY in scope:
        scope[KEY].leave()


def recognise(scope: Scope, caller: Caller) -> None:
    """Remember, at the door that it came in by, whose the credentials of a request are."""
    if KEY in scope:
        scope[KEY].door.recognise(scope, caller)


def _credentials(scope: Scope) -> int | None:
    """What a request comes with, or None if it comes with nothing."""
    found = tuple(value for name, value in scope["headers"] if name in _CREDENTIALS)
    return hash(found) if found else None
