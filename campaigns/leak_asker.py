"""Whoever asks in the leak campaign: makes a call, and searches what comes back for secrets."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from leak_http import Came, Inside, Way
from leak_world import ID, SECRET, TOPICS, Paper, Person, Shelf, World

from casemate import server
from casemate.cli.acts import named
from casemate.errors import CasemateError

# What these show, their asker was told before; their clearance has to cover it still.
_RECALLED = frozenset(
    {"runs", "receipts", "explanations", "kept", "batches", "conversations", "responses", "files"}
)
# No secret at all stands here, whoever asks; the log names things by ids that say nothing.
_BARE = frozenset({"ledger", "acts: ledger", "metrics"})
# Who has somebody forgotten is told by id, without a name, which documents of theirs remain.
_BY_ID = frozenset({"acts: forget"})
# But ids of use cases: they name what a run was for, to whoever audits the installation.
_NAMED = "kx"


@dataclass
class Report:
    """What came of the calls."""

    calls: Counter[str] = field(default_factory=Counter)  # by surface
    ways: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    routes: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)  # of who may know what
    seen: int = 0  # secrets that their asker may know
    findings: list[str] = field(default_factory=list)


@dataclass
class Thing:
    """Something that somebody keeps: a run, a file, a batch, a conversation."""

    kind: str
    id: str
    of: Person


class Stage:
    """What all who ask share: the world, the application, what was asked and kept so far."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.report = Report()
        self.app = server.application(world.installation)
        self.inside = Inside(self.app)
        self.wire: Way | None = None
        self.things: dict[str, list[Thing]] = {}

    def add(self, kind: str, id: str, of: Person) -> None:
        """Note that ``of`` has this now."""
        some = self.things.setdefault(kind, [])
        some.append(Thing(kind, id, of))
        if len(some) > 20_000:
            del some[:10_000]

    def routes(self) -> list[tuple[str, tuple[str, ...]]]:
        """Every address of the application, with its methods."""
        found = []
        application = self.app._app  # type: ignore[attr-defined]
        while not hasattr(application, "routes"):
            application = application._app  # what stands before the router
        for route in application.routes:
            methods = getattr(route.app, "methods", None) or route.methods
            found.append((route.path, tuple(methods or ("GET", "POST"))))
        return found

    async def close(self) -> None:
        """Give back what the calls opened."""
        await self.world.installation.engines.close()
        await asyncio.to_thread(self.app.close)


class Asker:
    """Makes calls against one world, one at a time, and notes what is found."""

    def __init__(self, stage: Stage, dice: random.Random, *, wired: float = 0.0) -> None:
        """``wired``: the share of calls that goes over a socket, where there is a server."""
        self.stage = stage
        self.world = stage.world
        self.report = stage.report
        self.dice = dice
        self._wired = wired

    async def http(
        self,
        surface: str,
        person: Person,
        method: str,
        path: str,
        body: object = None,
        *,
        by: str = "key",
        headers: Mapping[str, str] | None = None,
        way: Way | None = None,
    ) -> Came:
        """One call, with what came back searched for secrets."""
        sent = {"host": "casemate.example", **_shown(person, by), **(headers or {})}
        raw = body if isinstance(body, bytes) else b""
        if body is not None and not isinstance(body, bytes):
            raw = json.dumps(body).encode()
            sent["content-type"] = "application/json"
        way = way or self.way()
        asked = path + raw.decode("utf-8", "replace")
        person.said |= set(SECRET.findall(asked))
        came = await way(method, path, sent, raw)
        report = self.report
        report.ways[type(way).__name__.lower()] += 1
        report.statuses[f"{surface.split(':')[0]} {came.status}"] += 1
        if came.route:
            report.routes[f"{method} {came.route}"] += 1
        told = came.body.decode("utf-8", "replace") + repr(came.headers)
        self.look(surface, person, asked, told, came.began)
        if came.status >= 500 and came.status != 501:
            self.find(f"{surface}: {came.status} at {method} {path[:120]}")
        return came

    async def act(self, surface: str, person: Person, name: str, arguments: dict[str, Any]) -> str:
        """As a command would that acts as this person."""
        began, told = time.monotonic(), ""
        asked = json.dumps(arguments, default=str)
        person.said |= set(SECRET.findall(asked))
        try:
            caller = await asyncio.to_thread(self.world.caller, person)
            async for item in named(name)(self.world.installation, caller, arguments):
                told += json.dumps(item, default=str)
        except CasemateError as problem:
            told += str(problem)
        except (KeyError, TypeError) as problem:
            told += type(problem).__name__  # arguments that this act does not take
        self.report.ways["act"] += 1
        self.look(surface, person, asked, told, began)
        return told

    def way(self) -> Way:
        """How the next call goes."""
        wire = self.stage.wire
        return wire if wire is not None and self.dice.random() < self._wired else self.stage.inside

    def find(self, finding: str) -> None:
        """Note what should not be."""
        self.report.findings.append(finding)

    def look(self, surface: str, person: Person, asked: str, told: str, began: float) -> None:
        """Search what came back for secrets. What is in the question is not news."""
        self.report.calls[surface] += 1
        known = set(SECRET.findall(asked))
        for secret in set(SECRET.findall(told)) - known:
            if secret not in self.world.kept:
                continue
            may = self._may(surface, person, secret, began)
            if surface in _BARE:
                may = secret.startswith(_NAMED) and self._audits(person, began)
            if may:
                self.report.seen += 1
            else:
                self._leak(surface, person, secret, asked)
        if surface in _BARE or surface in _BY_ID:
            return
        for id in set(ID.findall(told)) - set(ID.findall(asked)):
            if id in self.world.ids and not self._may(surface, person, id, began):
                self._leak(surface, person, id, asked)

    def _may(self, surface: str, person: Person, secret: str, began: float) -> bool:
        recalled = surface.split(":")[-1].strip() in _RECALLED
        if self.world.may_know(person, secret, began, recalled=recalled):
            return True
        return surface == "acts: runs" and self.world.may_audit(person, secret, began)

    def _audits(self, person: Person, began: float) -> bool:
        return any("auditor" in one.roles for one in person.standing.since(began))

    def _leak(self, surface: str, person: Person, secret: str, asked: str) -> None:
        places = (self.world.kept.get(secret) or self.world.ids[secret]).now
        marks = [one.mark.text if isinstance(one, Shelf) else str(one) for one in places]
        self.find(
            f"LEAK on {surface}: {person.name} ({person.clearance.text}, {sorted(person.roles)}, "
            f"{'' if person.standing.now.active else 'not '}active) saw {secret} of {marks}; "
            f"asked {asked[:200]!r}"
        )

    # Choosing

    def use_case(self, person: Person) -> str:
        """One of those of their tenant."""
        return self.dice.choice(self.world.use_cases[person.tenant])

    def question(self) -> str:
        """Something that every paper answers."""
        topic = self.dice.choice(TOPICS)
        return self.dice.choice(
            (
                f"What is the code word of the {topic}?",
                f"How much does the {topic} cost a month?",
                f"Was ist das Codewort? {topic}",
                f"code word {topic} report",
            )
        )

    def hidden_paper(self, person: Person) -> Paper | None:
        """One that they may not read; mostly of their own tenant, where rights alone hide it."""
        for _ in range(20):
            shelf = self.hidden_shelf(person) if self.dice.random() < 0.8 else None
            paper = self.dice.choice(self.world.papers)
            if shelf is not None:
                some = shelf.papers
                paper = self.dice.choice(some) if some else paper
            if not self.world.may_read(person, paper.shelf):
                return paper
        return None

    def shown_paper(self, person: Person) -> Paper | None:
        """One that they may read."""
        open_to = [one for one in self.world.shelves_of(person.tenant)
                   if self.world.may_read(person, one)]  # fmt: skip
        some = self.dice.choice(open_to).papers if open_to else []
        return self.dice.choice(some) if some else None

    def hidden_shelf(self, person: Person) -> Shelf | None:
        """A collection that they may not read, of their own tenant if there is one."""
        own = [one for one in self.world.shelves_of(person.tenant)
               if not self.world.may_read(person, one)]  # fmt: skip
        if own:
            return self.dice.choice(own)
        other = self.dice.choice(self.world.shelves)
        return None if self.world.may_read(person, other) else other

    def thing(self, kind: str, person: Person) -> Thing | None:
        """Something of this kind: in half of all cases their own."""
        some = self.stage.things.get(kind, [])
        if not some:
            return None
        if self.dice.random() < 0.5:
            own = [one for one in some[-2000:] if one.of is person]
            if own:
                return self.dice.choice(own)
        return self.dice.choice(some)


def _shown(person: Person, by: str) -> dict[str, str]:
    """Headers by which somebody shows who they are: a key, their session, a key's own text."""
    if by == "session":
        return {"cookie": f"casemate_session={person.session}", "sec-fetch-site": "same-origin"}
    if by == "nobody":
        return {}
    return {"authorization": f"Bearer {person.key if by == 'key' else by}"}
