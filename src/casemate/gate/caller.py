"""Callers: a principal, and how it came in. The answer to "who asks?"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from casemate.gate.principal import Principal

LEVELS = ("low", "substantial", "high")
"""Levels of assurance of eIDAS, Regulation (EU) 910/2014, Article 8; each is more than the last."""

Via = Literal["key", "session", "local", "certificate"]


@dataclass(frozen=True)
class Strength:
    """How surely it is known who asks, as far as policies may demand it.

    assurance: eIDAS level of the means of a session, if an identity provider told it.
    second_factor: whether a session was opened with two factors.
    """

    via: Via
    assurance: str | None = None
    second_factor: bool = False

    @property
    def level(self) -> int:
        """The level of assurance as a number that can be compared; 0 where none is known."""
        return 0 if self.assurance is None else 1 + LEVELS.index(self.assurance)


SIGNED_IN = Strength("session")
"""Somebody of whom nothing is known but that they have signed in."""


@dataclass(frozen=True)
class Caller:
    """Somebody known.

    use_case: the only one this caller's key or certificate may be used for, if any. credential:
    what opened the door, so that it can be asked for again: the id of a key or certificate, or the
    fingerprint of a session. assurance, second_factor: see ``Strength``.
    """

    principal: Principal
    use_case: str | None
    via: Via
    credential: str = ""
    assurance: str | None = None
    second_factor: bool = False

    @property
    def strength(self) -> Strength:
        """How surely it is known that it is this principal."""
        return Strength(self.via, self.assurance, self.second_factor)
