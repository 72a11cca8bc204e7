"""The door: requests of programs come in fairly, before anybody knows for certain who they are.

To know who asks and whether they may costs milliseconds. A tenant that floods would keep the
processors busy with that alone, so a request waits for a turn first: with others of the same
tenant, going by whom its credentials were found to belong to last time, or of the same address
where they never were. This decides who goes next and nothing else; rights are the gate's.

A turn ends when the request is admitted or answered, and after a second in any case; with it ends
the request's place at the door. What takes longer is bounded elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.types import Scope

from casemate.engines.schedule import Flow
from casemate.engines.turns import Turns

if TYPE_CHECKING:
    from casemate.gate.caller import Caller

DOOR = "casemate.door"  # in the ASGI scope: the door of the application
KEY = "casemate.visit"  # in the ASGI scope: the visit of this request
_AT_ONCE = 8
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

    @asynccontextmanager
    async def entered(self, scope: Scope) -> AsyncIterator[None]:
        """Inside, once it is this request's turn. Raises TooMany."""
        flow = self._flow(scope)
        with ExitStack() as visit:
            # Room at the door is for who stands there: what goes on inside for minutes, such as a
            # stream, has room of its own where it waits.
            visit.enter_context(self.turns.place(flow))
            await visit.enter_context(self.turns.turn(flow, 1)).come()
            ending = asyncio.get_running_loop().call_later(_SECONDS, visit.close)
            scope[KEY] = _Visit(self, visit.close)
            try:
                yield
            finally:
                ending.cancel()

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

    def _flow(self, scope: Scope) -> Flow:
        credentials = _credentials(scope)
        known = None if credentials is None else self._known.get(credentials)
        if known is not None:
            return Flow(*known)
        address = (scope.get("client") or ("", 0))[0]
        return Flow(f"at {address}", "")


@dataclass(frozen=True)
class _Visit:
    """One request inside."""

    door: Door
    leave: Callable[[], None]


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
