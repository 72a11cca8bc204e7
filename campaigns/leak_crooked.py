"""Adversarial calls of the leak campaign: guessed ids, crooked addresses, keys that are dead."""

from __future__ import annotations

from typing import Any

from leak_asker import Asker
from leak_world import Person


async def crooked(ask: Asker, person: Person) -> None:
    """Addresses and headers that mean to be taken for something else."""
    paper = ask.hidden_paper(person) or ask.dice.choice(ask.world.papers)
    other = ask.dice.choice(ask.world.people)
    run = ask.thing("run", other)
    name, use = paper.shelf.name, ask.use_case(other)
    path, headers = ask.dice.choice(
        (
            (f"/api/documents/{paper.id}%00", {}),
            (f"/api/documents/{paper.id.upper()}", {}),
            (f"/api/documents/{paper.id}/../{paper.id}/text", {}),
            (f"/api/documents/%2e%2e/{paper.id}", {}),
            (f"/api/documents/..%2f..%2fdocuments%2f{paper.id}", {}),
            (f"/api//documents/{paper.id}", {}),
            (f"/api/documents/{paper.id};a=b", {}),
            (f"/api/documents/{paper.id}?_method=GET&id={paper.id}", {}),
            (f"/static/..%2f..%2fcasemate.sqlite/{paper.id}", {}),
            (f"/ledger/tile/..%2f..%2fblobs/{paper.id}", {}),
            ("/api/documents?collection=' OR 1=1 --", {}),
            ("/api/documents?collection=%25", {}),
            (f"/api/documents?collection={name[:8]}", {}),
            (f"/api/documents?collection={name[:-1]}%3f", {}),
            (f"/api/documents?collection={name}&collection=", {}),
            (f"/api/documents?collection=%20{name}%20", {}),
            (f"/api/search?q=code&collection={name}&collection=", {}),
            (f"/api/search?q=collection%3A{paper.shelf.id}%20OR%20label%3Asecret", {}),
            (f"/api/search?q=code&use_case={use}", {}),
            ("/api/search?q=*&limit=-1", {}),
            ("/api/search?q=" + "%F0%9F%94%91" * 20, {}),
            ("/api/search?q=%00%ff%fe", {}),
            (f"/api/search?q={paper.secrets[0][:8]}", {}),
            ("/api/documents", {"x-casemate-principal": other.name}),
            ("/api/documents", {"x-forwarded-user": other.name, "x-remote-user": "root"}),
            ("/api/documents", {"cookie": f"casemate_session={'0' * 43}"}),
            ("/api/documents", {"x-original-url": f"/api/documents/{paper.id}"}),
            (f"/api/documents/{paper.id}", {"x-http-method-override": "GET", "range": "bytes=0-9"}),
            (f"/api/documents/{paper.id}/original", {"if-none-match": "*"}),
            (f"/api/runs?before={run.id if run else 'r_x'}", {}),
            (f"/mistral/v1/libraries?search={name[:6]}", {}),
            (f"/mistral/v1/libraries/{paper.shelf.id}/documents?search={paper.name[:6]}", {}),
            (f"/v1/vector_stores?after={paper.shelf.id}&order=asc", {}),
            (f"/v1/vector_stores/{paper.shelf.id}/files?before={paper.id}", {}),
            (f"/v1/files?after={paper.id}", {}),
            (f"/v1/models/{use}", {}),
            (f"/v1/models/{use}%2f..", {}),
            (f"/mistral/v1/models/{use}", {}),
        )
    )
    surface = "crooked: runs" if path.startswith("/api/runs") else "crooked"
    await ask.http(surface, person, ask.dice.choice(("GET", "GET", "HEAD")), path, headers=headers)


async def guess(ask: Asker, person: Person) -> None:
    """Write to, or ask about, what one may not even know of."""
    shelf, paper = ask.hidden_shelf(person), ask.hidden_paper(person)
    if shelf is None or paper is None:
        return
    use, theirs = ask.use_case(person), ask.dice.choice(ask.world.use_cases[shelf.tenant])
    runs, chat = "/api/runs", "/v1/chat/completions"
    method, path, body = ask.dice.choice(
        (
            ("DELETE", f"/api/documents/{paper.id}", None),
            ("DELETE", f"/v1/vector_stores/{paper.shelf.id}/files/{paper.id}", None),
            ("DELETE", f"/mistral/v1/libraries/{paper.shelf.id}/documents/{paper.id}", None),
            ("POST", f"/api/collections/{shelf.name}/documents?name=a.md", b"# a"),
            ("POST", f"/v1/vector_stores/{shelf.id}/files", {"file_id": paper.id}),
            ("POST", runs, {"question": "code", "collections": [shelf.name], "use_case": use}),
            ("POST", runs, {"question": "code", "label": shelf.mark.text, "use_case": use}),
            ("POST", runs, {"question": "code", "use_case": theirs}),
            ("POST", runs, {"question": "code", "model": f"model-{ask.dice.randrange(4)}",
                            "use_case": use}),
            ("POST", chat, {"model": theirs, "messages": [
                {"role": "user", "content": "code word"}]}),
        )
    )  # fmt: skip
    came = await ask.http("guess", person, method, path, body)
    changed = method == "DELETE" or path.endswith(("a.md", "/files"))
    if changed and came.status < 400 and not ask.world.unclear(person, shelf, came.began):
        ask.find(f"guess: {method} {path} gave {came.status} to {person.name}")


async def dead(ask: Asker, person: Person) -> None:
    """Keys that were revoked, people who were shut out, keys that are good for another use case."""
    if ask.world.gone and ask.dice.random() < 0.6:
        person = ask.dice.choice(ask.world.gone)
    path = ask.dice.choice(
        ("/api/documents", "/api/runs", "/v1/files", "/mistral/v1/libraries", "/api/whoami")
    )
    by = ask.dice.choice(person.dead) if person.dead else "key"
    gone = not person.standing.now.active
    if gone or person.dead:
        by = ask.dice.choice((by, "session")) if gone else by
        came = await ask.http("dead", person, "GET", path, by=by)
        if came.status != 401 and person.standing.settled(came.began):
            ask.find(f"dead: {path} gave {came.status} to {person.name} by {by[:14]}")
        return
    if not person.bound:
        return
    use, key = ask.dice.choice(list(person.bound.items()))
    others = [one for one in ask.world.use_cases[person.tenant] if one != use]
    body: dict[str, Any] = {"question": ask.question(), "use_case": ask.dice.choice(others)}
    came = await ask.http("dead", person, "POST", "/api/runs", body, by=key)
    if came.status < 400:
        ask.find(f"dead: a key for {use} asked under {body['use_case']}")


async def anywhere(ask: Asker, person: Person) -> None:
    """Any address that there is, with a method that it may not have, about what is hidden."""
    path, methods = ask.dice.choice(ask.stage.routes())
    paper = ask.hidden_paper(person)
    other = ask.dice.choice(ask.world.people)
    if paper is None or other.tenant == person.tenant:
        return
    thing = ask.dice.choice([some for some in ask.stage.things.values() if some] or [[]])
    theirs = [one.id for one in thing if one.of is other]
    words = {
        "store": paper.shelf.id, "library": paper.shelf.id, "document": paper.id,
        "file": paper.id, "name": other.name, "path:path": paper.id, "id:path": paper.id,
        "token": "0" * 43, "digest": "0" * 16, "agent": "agent_x",
    }  # fmt: skip
    hidden = (*theirs, paper.id, paper.shelf.id, other.id, ask.use_case(other))
    while "{" in path:
        before, _, rest = path.partition("{")
        word, _, after = rest.partition("}")
        path = f"{before}{words.get(word) or ask.dice.choice(hidden)}{after}"
    method = ask.dice.choice((*methods, "GET", "HEAD", "OPTIONS", "PATCH", "TRACE"))
    if method == "DELETE" or path in (
        "/sign-out",
        "/collections",
        "/api/collections",
        "/documents",
    ):
        method = "GET"  # nothing of one's own is to go, or to come
    body = None if method in ("GET", "HEAD", "OPTIONS", "TRACE") else {"reason": "x", "input": "x"}
    by = ask.dice.choice(("key", "session", "nobody"))
    await ask.http(_kind(path), person, method, path, body, by=by)


def _kind(path: str) -> str:
    """Whether it may show what was told before."""
    recalled = (
        *("/api/runs", "/runs", "/v1/files", "/v1/responses", "/v1/batches"),
        *("/mistral/v1/files", "/mistral/v1/responses", "/mistral/v1/batch"),
        *("/mistral/v1/conversations", "/mistral/v1/agents"),
    )
    bare = ("/metrics", "/ledger")
    if path.startswith(bare):
        return "ledger"
    return "anywhere: runs" if path.startswith(recalled) else "anywhere"


SURFACES = (crooked, guess, dead, anywhere)
