"""The phases of an exchange with a model server, and how long each may take."""

from __future__ import annotations

from dataclasses import dataclass

from casemate.errors import TooSlow

_NEXT = {
    "connect": "Try again; if it stays so, tell whoever runs that server.",
    "first": "It may be overloaded: try again later, or ask with a shorter text.",
    "between": "Ask again; if it happens again, tell whoever runs that server.",
    "whole": "Ask for a shorter answer, or stream it.",
}
_WHAT = {
    "connect": "took no connection within {} seconds",
    "first": "began no answer within {} seconds",
    "between": "fell silent for {} seconds in the middle of its answer",
    "whole": "had not ended its answer after {} seconds",
}


class TooLong(TooSlow):
    """An answer took longer than a whole one may: it may be long, and the server well."""


@dataclass(frozen=True)
class Phases:
    """Seconds that each phase may take.

    ``connect``: until there is a connection, TLS included. ``first``: from then until the first
    piece of an answer that is streamed; one that is not comes whole, and has ``whole`` for it.
    ``between``: from one piece to the next. ``whole``: all of it, other replicas included.
    """

    connect: float = 5.0
    first: float = 120.0
    between: float = 60.0
    whole: float = 600.0

    def exceeded(self, phase: str) -> TooSlow:
        """The error for a server that took longer than ``phase`` may take."""
        seconds = f"{getattr(self, phase):g}"
        kind = TooLong if phase == "whole" else TooSlow
        return kind(f"The model server {_WHAT[phase].format(seconds)}.", _NEXT[phase])
