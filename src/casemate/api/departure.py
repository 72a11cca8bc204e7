"""Departure: whoever works for a client is told when it goes away, without a task that waits.

ASGI tells it by a message, which somebody has to wait for in a task of its own; that is what is
done where a server does not put a ``Departure`` into the scope.
"""

from __future__ import annotations

from collections.abc import Callable

KEY = "casemate.departure"  # in the ASGI scope: of the client


class Departure:
    """Of one client. For the thread of its event loop alone."""

    def __init__(self) -> None:
        self.gone = False
        self._waiting: dict[object, Callable[[], None]] = {}

    def when(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Call ``tell`` when the client goes, at once if it has; calling the result ends that."""
        ticket = object()
        self._waiting[ticket] = tell
        if self.gone:
            tell()
        return lambda: self._forget(ticket)

    def depart(self) -> None:
        """The client has gone away; nobody is told twice."""
        if self.gone:
            return
        self.gone = True
        for tell in tuple(self._waiting.values()):
            tell()

    def _forget(self, ticket: object) -> None:
        self._waiting.pop(ticket, None)
