"""Acts: what people do at the gate, as entries of the ledger.

An entry holds a kind, a time, pseudonyms and digests; never a name, a secret or content. It is
made inside the database transaction it describes, just before that commits: a change that the
ledger does not hold cannot happen, and after a crash the ledger may at most hold one too many.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from casemate.ledger.receipt import canonical

if TYPE_CHECKING:
    from casemate.gate.principal import Principal

Clock = Callable[[], datetime]

INSTALLATION = "installation"  # the actor of what nobody in particular does


class Recorded(Protocol):
    """Where an entry lies in the ledger."""

    @property
    def index(self) -> int:
        """Its position, from 0."""


class Recorder(Protocol):
    """What the gate needs of a ledger."""

    def record(self, entry: Mapping[str, object]) -> Recorded:
        """Append ``entry``; durable when it returns."""


class Acts:
    """Writes entries about acts at the gate."""

    def __init__(self, ledger: Recorder, clock: Clock) -> None:
        self._ledger = ledger
        self.clock = clock

    def record(self, kind: str, actor: Principal | None, **facts: object) -> int:
        """Append an entry and return its index. ``actor`` None: the installation itself.

        Facts are integers, strings, lists and dicts of those. Raises what the ledger raises.
        """
        entry: dict[str, object] = {
            "v": 1,
            "kind": kind,
            "time": self.now(),
            "actor": INSTALLATION if actor is None else actor.pseudonym,
        }
        return self._ledger.record(entry | facts).index

    def now(self) -> str:
        """The present as it is stored."""
        return stamp(self.clock())


def stamp(moment: datetime) -> str:
    """``moment`` in UTC, ISO 8601, to the second; such texts sort by time."""
    plain = moment.astimezone(UTC).replace(microsecond=0, tzinfo=None)
    return plain.isoformat() + "Z"


def digest(value: object) -> str:
    """ "sha256:…" of ``value`` as canonical JSON (RFC 8785)."""
    return "sha256:" + hashlib.sha256(canonical(value)).hexdigest()
