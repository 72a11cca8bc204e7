"""Pairs of the leak campaign: what is hidden and what is not there must be the same."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

import leak_world
from leak_asker import Asker
from leak_http import Came, settled
from leak_world import Person

_BY_WORDS = ("search for", "ask", "chat")


class Pairs(Asker):
    """Makes the same call twice, and compares what comes back to the byte."""

    def pair(self, person: Person) -> None:
        """The same call about what is hidden and about what is not there."""
        paper, shelf = self._hidden_paper(person), self._hidden_shelf(person)
        if paper is None or shelf is None:
            return
        use = self._use_case(person)
        absent = leak_world.a_secret(self._dice, "kc")
        nothing = "d_" + "".join(self._dice.choices("0123456789abcdef", k=20))
        library = "c_" + nothing[2:]
        word, other = paper.secrets[0], leak_world.a_secret(self._dice, "kw")
        search, chat = f"/api/search?use_case={use}&q=", "/v1/chat/completions"
        kinds: dict[str, tuple[str, str, str, str, Any]] = {
            "document": ("GET", "/api/documents/{}", paper.id, nothing, None),
            "text": ("GET", "/api/documents/{}/text", paper.id, nothing, None),
            "original": ("GET", "/api/documents/{}/original", paper.id, nothing, None),
            "label": ("GET", "/api/documents/{}/label", paper.id, nothing, None),
            "page": ("GET", "/documents/{}", paper.id, nothing, None),
            "delete": ("DELETE", "/api/documents/{}", paper.id, nothing, None),
            "library": ("GET", "/mistral/v1/libraries/{}", shelf.id, library, None),
            "collection": ("GET", "/api/documents?collection={}", shelf.name, absent, None),
            "search in": ("GET", search + "code&collection={}", shelf.name, absent, None),
            "search for": ("GET", search + "{}", word, other, None),
            "add": ("POST", "/api/collections/{}/documents?name=a.md", shelf.name, absent, b"# a"),
            "ask in": ("POST", "/api/runs", shelf.name, absent,
                       {"question": "code", "use_case": use, "collections": ["{}"]}),
            "ask": ("POST", "/api/runs", word, other,
                    {"question": "What is {}?", "use_case": use}),
            "chat": ("POST", chat, word, other,
                     {"model": use, "messages": [{"role": "user", "content": "Say {}"}]}),
        }  # fmt: skip
        if self._asked:
            run = self._dice.choice(list(self._asked))
            if self._asked[run] is not person:
                none = "r_" + nothing[2:]
                kinds["run"] = ("GET", "/api/runs/{}", run, none, None)
                kinds["receipt"] = ("GET", "/api/runs/{}/receipt", run, none, None)
        kind = self._dice.choice(list(kinds))
        method, path, hidden, missing, body = kinds[kind]
        came: dict[str, Came] = {}
        for name in self._dice.sample((hidden, missing), 2):  # neither is always the first
            sent = (
                json.loads(json.dumps(body).replace("{}", name)) if isinstance(body, dict) else body
            )
            by = "session" if kind == "page" else "key"
            came[name] = self.http(f"pair: {kind}", person, method, path.format(name), sent, by=by)
        self.report.times[kind].append((came[hidden].seconds, came[missing].seconds))
        if kind in _BY_WORDS:
            return  # two words are like different others; ``disappearance`` compares these
        first, second = came[hidden].plain(hidden, missing), came[missing].plain(hidden, missing)
        if settled(first) != settled(second):
            self.report.findings.append(
                f"DIFFERENT for hidden and absent ({kind}), to {person.name}: "
                f"{settled(first)!r} … {settled(second)!r}"[:1500]
            )

    def disappearance(self, rounds: int, seconds: float = 600) -> None:
        """Take hidden documents away: what others search and ask must come back as before."""
        until = time.monotonic() + seconds
        for _ in range(rounds):
            if time.monotonic() > until:
                return
            person = self._dice.choice(self.world.people)
            paper = self._hidden_paper(person)
            if paper is None or paper.shelf.tenant != person.tenant:
                continue
            use, word = self._use_case(person), self._dice.choice(paper.secrets)
            query = self._dice.choice((word, f"What is the code word of the {paper.topic}?"))
            asked: list[tuple[str, str, Any]] = [
                ("GET", f"/api/search?q={quote(query)}&use_case={use}&limit=50", None),
                ("POST", "/api/runs", {"question": query, "use_case": use}),
                ("POST", "/v1/chat/completions",
                 {"model": use, "messages": [{"role": "user", "content": query}]}),
                ("GET", "/mistral/v1/libraries", None),
                ("GET", "/api/documents", None),
            ]  # fmt: skip

            def told(asked: list[tuple[str, str, Any]] = asked, person: Person = person) -> Any:
                surface = "disappearance"
                return [settled(self.http(surface, person, *one).plain()) for one in asked]

            before = told()
            chief = next(one for one in self.world.people if one.id == paper.shelf.owner)
            self.world.installation.library.delete(self.world.caller(chief), paper.id)
            self.world.papers.remove(paper)
            for first, second, (method, path, _) in zip(before, told(), asked, strict=True):
                if first != second:
                    self.report.findings.append(
                        f"DIFFERENT without the hidden {paper.id}, to {person.name}, {method} "
                        f"{path[:80]}: {first!r} … {second!r}"[:3000]
                    )
