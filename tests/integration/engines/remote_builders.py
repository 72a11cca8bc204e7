"""Remote engines for tests, and a perimeter that holds the whole world."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from casemate.engines.engine import Message, Prompt
from casemate.engines.remote import Phases, RemoteEngine
from casemate.engines.remote.breaker import Breaker
from casemate.engines.remote.replica import Replica, Request
from casemate.engines.remote.upstream import Upstream
from casemate.gate.country import Country
from casemate.gate.label import Label
from casemate.gate.perimeter import Route
from casemate.gate.place import Place

PHASES = Phases()
LOWEST = Country.load("lu").policy.lowest()
PROMPT = Prompt(
    question="How much?",
    language="en",
    label=LOWEST,
    found=(),
    evidence=(),
    messages=(Message.of("system", "Be brief."), Message.of("user", "How much?")),
)


class Everywhere:
    """A perimeter that holds every address, and says that each leads to loopback."""

    places: tuple[Place, ...] = ()

    def declared(self, url: str, label: Label) -> Place:
        return Place("here", "127.0.0.1", (), "LU", label)

    def route(self, url: str, label: Label) -> Route:
        where = urlsplit(url)
        place = self.declared(url, label)
        return Route(place, where.hostname or "", where.port, ("127.0.0.1",))


def an_engine(*addresses: str, perimeter: Any = None, **more: Any) -> RemoteEngine:
    return RemoteEngine("tiny", addresses, "tiny", perimeter or Everywhere(), **more)


class Clock:
    """Seconds, as a test puts them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def an_upstream(
    *addresses: str, perimeter: Any = None, phases: Phases = PHASES, clock: Clock | None = None
) -> Upstream:
    """Replicas with the longest pauses, and with a clock that stands."""
    replicas = [
        Replica(number, address, perimeter or Everywhere(), phases, breaker=Breaker(lambda: 1.0))
        for number, address in enumerate(addresses, 1)
    ]
    return Upstream(replicas, phases, clock or Clock())


def a_request(label: Label = LOWEST, *, body: bytes = b"{}") -> Request:
    return Request("POST", "/chat/completions", "text/event-stream", body, label, "first")
