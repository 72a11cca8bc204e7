"""Pairs of the leak campaign: what is hidden and what is not there must be the same."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from leak_asker import Asker
from leak_http import Came, settled
from leak_world import Paper, Person, Shelf, a_secret

_BY_WORDS = ("search for", "ask", "chat")


@dataclass(frozen=True)
class Kind:
    """A call that can be made about either of two names, at "{}" in its address or body."""

    method: str
    path: str
    hidden: str
    absent: str
    body: Any = None
    by: str = "key"

    def about(self, name: str) -> tuple[str, str, Any]:
        """Method, address and body of the call about ``name``."""
        body = self.body
        if isinstance(body, dict):
            body = json.loads(json.dumps(body).replace("{}", name))
        return self.method, self.path.format(name), body


def kinds(ask: Asker, person: Person, paper: Paper, shelf: Shelf) -> dict[str, Kind]:
    """Every kind of pair, about what is hidden from ``person``."""
    use = ask.use_case(person)
    absent = a_secret(ask.dice, "kc")
    nothing = "".join(ask.dice.choices("0123456789abcdef", k=20))
    no_paper, library = f"d_{nothing}", f"c_{nothing}"
    word, other = paper.secrets[0], a_secret(ask.dice, "kw")
    search, chat = f"/api/search?use_case={use}&q=", "/v1/chat/completions"
    store = "/v1/vector_stores/{}"
    found = {
        "document": Kind("GET", "/api/documents/{}", paper.id, no_paper),
        "text": Kind("GET", "/api/documents/{}/text", paper.id, no_paper),
        "original": Kind("GET", "/api/documents/{}/original", paper.id, no_paper),
        "label": Kind("GET", "/api/documents/{}/label", paper.id, no_paper),
        "page": Kind("GET", "/documents/{}", paper.id, no_paper, by="session"),
        "page original": Kind("GET", "/documents/{}/original", paper.id, no_paper, by="session"),
        "delete": Kind("DELETE", "/api/documents/{}", paper.id, no_paper),
        "file": Kind("GET", "/v1/files/{}/content", paper.id, no_paper),
        "library": Kind("GET", "/mistral/v1/libraries/{}", shelf.id, library),
        "store": Kind("GET", store, shelf.id, library),
        "store search": Kind("POST", store + "/search", shelf.id, library, {"query": "code"}),
        "collection": Kind("GET", "/api/documents?collection={}", shelf.name, absent),
        "search in": Kind("GET", search + "code&collection={}", shelf.name, absent),
        "search for": Kind("GET", search + "{}", word, other),
        "add": Kind("POST", "/api/collections/{}/documents?name=a.md", shelf.name, absent, b"# a"),
        "ask in": Kind("POST", "/api/runs", shelf.name, absent,
                       {"question": "code", "use_case": use, "collections": ["{}"]}),
        "ask": Kind("POST", "/api/runs", word, other,
                    {"question": "What is {}?", "use_case": use}),
        "chat": Kind("POST", chat, word, other,
                     {"model": use, "messages": [{"role": "user", "content": "Say {}"}]}),
    }  # fmt: skip
    for kind, path, name in (
        ("run", "/api/runs/{}", "r_"),
        ("receipt", "/api/runs/{}/receipt", "r_"),
        ("kept file", "/v1/files/{}", "f_"),
        ("response", "/v1/responses/{}", "resp_"),
        ("batch", "/v1/batches/{}", "batch_"),
        ("conversation", "/mistral/v1/conversations/{}", "conv_"),
    ):
        pool = {"receipt": "run", "kept file": "file"}.get(kind, kind)
        thing = ask.thing(pool, person)
        if thing is not None and thing.of is not person:
            none = thing.id.rsplit("_", 1)[0] + "_" + nothing
            found[kind] = Kind("GET", path, thing.id, none or name)
    stranger = ask.dice.choice(ask.world.people)
    if stranger.tenant != person.tenant:
        no_use, theirs = a_secret(ask.dice, "kx"), ask.use_case(stranger)
        found["model"] = Kind("GET", "/v1/models/{}", theirs, no_use)
        found["use case"] = Kind("POST", "/api/runs", theirs, no_use,
                                 {"question": "code", "use_case": "{}"})  # fmt: skip
        found["person"] = Kind(
            "PUT", "/api/principals/{}", stranger.name, a_secret(ask.dice, "ku"), {"roles": ["x"]}
        )
    return found


async def made(
    ask: Asker, person: Person, name: str, kind: Kind, surface: str = "pairs"
) -> tuple[Came, Came]:
    """Both calls of a pair, in either order, the same way: about the hidden, about the absent."""
    came: dict[str, Came] = {}
    way = ask.way()
    for about in ask.dice.sample((kind.hidden, kind.absent), 2):  # neither is always the first
        method, path, body = kind.about(about)
        came[about] = await ask.http(
            f"{surface}: {name}", person, method, path, body, by=kind.by, way=way
        )
    return came[kind.hidden], came[kind.absent]


async def pair(ask: Asker, person: Person) -> None:
    """The same call about what is hidden and about what is not there, compared to the byte."""
    began = time.monotonic()
    paper, shelf = ask.hidden_paper(person), ask.hidden_shelf(person)
    if paper is None or shelf is None:
        return
    some = kinds(ask, person, paper, shelf)
    name = ask.dice.choice(list(some))
    kind = some[name]
    hidden, absent = await made(ask, person, name, kind)
    if name in _BY_WORDS or any(
        ask.world.unclear(person, one, began) for one in (paper.shelf, shelf)
    ):
        return  # two words are like different others; ``disappearance`` compares these
    first, second = (one.plain(kind.hidden, kind.absent) for one in (hidden, absent))
    if settled(first) != settled(second):
        ask.find(
            f"DIFFERENT for hidden and absent ({name}), to {person.name}: "
            f"{settled(first)!r} … {settled(second)!r}"[:1500]
        )


def _looks(ask: Asker, person: Person, paper: Paper) -> Iterator[tuple[str, str, Any]]:
    """What somebody may ask that a hidden document must not change."""
    use, word = ask.use_case(person), ask.dice.choice(paper.secrets)
    query = ask.dice.choice((word, f"What is the code word of the {paper.topic}?"))
    yield "GET", f"/api/search?q={quote(query)}&use_case={use}&limit=50", None
    yield "POST", "/api/runs", {"question": query, "use_case": use}
    messages = [{"role": "user", "content": query}]
    yield "POST", "/v1/chat/completions", {"model": use, "messages": messages}
    for path in (
        "/mistral/v1/libraries",
        "/api/documents",
        "/api/collections",
        "/v1/vector_stores",
    ):
        yield "GET", path, None


async def disappearance(ask: Asker, rounds: int, seconds: float) -> int:
    """Take hidden documents away: what others search and ask must come back as before.

    To be done while nothing else changes. Returns how many documents were taken away.
    """
    until, taken = time.monotonic() + seconds, 0
    for _ in range(rounds):
        if time.monotonic() > until:
            break
        person = ask.dice.choice(ask.world.people)
        paper = ask.hidden_paper(person)
        if paper is None or paper.shelf.tenant != person.tenant:
            continue
        looks = list(_looks(ask, person, paper))
        before = [settled((await ask.http("gone", person, *one)).plain()) for one in looks]
        chief = next(one for one in ask.world.people if one.id == paper.shelf.owner)
        ask.world.installation.library.delete(ask.world.caller(chief), paper.id)
        ask.world.papers.remove(paper)
        paper.shelf.papers.remove(paper)
        taken += 1
        for first, (method, path, body) in zip(before, looks, strict=True):
            came = await ask.http("gone", person, method, path, body)
            if first != settled(came.plain()):
                ask.find(
                    f"DIFFERENT without the hidden {paper.id}, to {person.name}, {method} "
                    f"{path[:80]}: {first!r} … {settled(came.plain())!r}"[:3000]
                )
    return taken
