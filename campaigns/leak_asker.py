"""Whoever asks in the leak campaign: makes a call, and searches what comes back for secrets."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from leak_http import Came, through
from leak_world import SECRET, TOPICS, Paper, Person, Shelf, World

from casemate import server


@dataclass
class Report:
    calls: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    seen: int = 0  # secrets that their asker may know
    findings: list[str] = field(default_factory=list)
    times: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))


class Asker:
    """Makes calls against one world, and keeps what was found."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world = world
        self.report = Report()
        self._dice = dice
        self._app = server.application(world.installation)
        self._loop = asyncio.new_event_loop()
        self._asked: dict[str, Person] = {}  # runs, by id
        self._said: defaultdict[str, set[str]] = defaultdict(set)  # by id of who said it

    def close(self) -> None:
        self._loop.run_until_complete(self.world.installation.engines.close())
        self._loop.close()

    def http(
        self,
        surface: str,
        person: Person,
        method: str,
        path: str,
        body: object = None,
        *,
        by: str = "key",
        headers: dict[str, str] | None = None,
    ) -> Came:
        """One call, with what came back searched for secrets."""
        sent = {"host": "casemate.example", **(headers or {})}
        if by == "key":
            sent["authorization"] = f"Bearer {person.key}"
        elif by == "session":
            sent["cookie"] = f"casemate_session={person.session}"
            sent["sec-fetch-site"] = "same-origin"
        raw = (
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        if body is not None and not isinstance(body, bytes):
            sent["content-type"] = "application/json"
        came = self._loop.run_until_complete(through(self._app, method, path, sent, raw))
        self.report.statuses[f"{surface.split(':')[0]} {came.status}"] += 1
        asked = path + raw.decode("utf-8", "replace")
        told = came.body.decode("utf-8", "replace") + repr(came.headers)
        self._look(surface, person, asked, told)
        if came.status >= 500 and came.status != 501:
            self.report.findings.append(f"{surface}: {came.status} at {method} {path[:120]}")
        return came

    def _look(self, surface: str, person: Person, asked: str, told: str) -> None:
        """Search what came back for secrets. What the asker said is not news to them."""
        self.report.calls[surface] += 1
        own = self._said[person.id]
        own |= set(SECRET.findall(asked))
        for secret in set(SECRET.findall(told)) - own:
            if secret not in self.world.kept:
                continue
            if self.world.may_know(person, secret):
                self.report.seen += 1
            else:
                place = self.world.kept[secret]
                mark = place.mark if isinstance(place, Shelf) else place
                self.report.findings.append(
                    f"LEAK on {surface}: {person.name} ({person.clearance.text}, "
                    f"{sorted(person.roles)}) saw {secret} of {mark}; asked {asked[:160]!r}"
                )

    def _use_case(self, person: Person) -> str:
        return self._dice.choice(self.world.use_cases[person.tenant])

    def _question(self) -> str:
        topic = self._dice.choice(TOPICS)
        return self._dice.choice(
            (
                f"What is the code word of the {topic}?",
                f"How much does the {topic} cost a month?",
                f"Was ist das Codewort? {topic}",
                f"code word {topic} report",
            )
        )

    def _hidden_paper(self, person: Person) -> Paper | None:
        for _ in range(20):
            paper = self._dice.choice(self.world.papers)
            # Mostly of one's own tenant: there only labels and readers stand in the way.
            if self._dice.random() < 0.8 and paper.shelf.tenant != person.tenant:
                continue
            if not self.world.may_read(person, paper.shelf):
                return paper
        return None

    def _hidden_shelf(self, person: Person) -> Shelf | None:
        hidden = [one for one in self.world.shelves if not self.world.may_read(person, one)]
        own = [one for one in hidden if one.tenant == person.tenant]
        return self._dice.choice(own or hidden) if hidden else None
