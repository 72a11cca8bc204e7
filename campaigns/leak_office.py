"""Surfaces of the leak campaign for those who administer, audit and provision."""

from __future__ import annotations

from typing import Any

from leak_asker import Asker
from leak_world import Person, a_secret

_ACTS = (
    *("collection.list", "document.list", "usecase.list", "run.list", "downgrade.list"),
    *("user.list", "key.list", "status", "settings", "perimeter.list", "model.list", "hold.list"),
    *("quota.show", "quota.shares", "policy.list", "label.list", "certificate.list"),
)
_READING_RUNS = frozenset(
    {"explain", "replay", "run.review", "run.receipt", "run.show", "run.list"}
)


async def act(ask: Asker, person: Person) -> None:
    """As a command would that acts as this person."""
    name, arguments = ask.dice.choice(_ACTS), {}
    if ask.dice.random() < 0.6:
        name, arguments = ask.dice.choice(_more(ask, person))
    await ask.act(_surface(name), person, name, arguments)


def _surface(name: str) -> str:
    if name.startswith(("ledger.", "forget.")):
        return f"acts: {name.partition('.')[0]}"
    # Auditors may read runs of their tenant: of those the label alone decides, see ``Asker.look``.
    return "acts: runs" if name in _READING_RUNS else "acts"


def _more(ask: Asker, person: Person) -> list[tuple[str, dict[str, Any]]]:
    paper = ask.hidden_paper(person) or ask.dice.choice(ask.world.papers)
    use = ask.use_case(person)
    thing = ask.thing("run", person)
    run = {"run": thing.id if thing else "r_x"}
    colleague = ask.dice.choice(ask.world.home(person.tenant)).name
    more: list[tuple[str, dict[str, Any]]] = [
        ("document.show", {"document": paper.id}),
        ("label.show", {"document": paper.id}),
        ("label.export", {"collection": paper.shelf.name}),
        ("document.list", {"collection": paper.shelf.name}),
        ("search", {"query": ask.question(), "use_case": use}),
        ("usecase.show", {"id": use}),
        ("usecase.history", {"id": use}),
        ("model.show", {"id": f"model-{ask.dice.randrange(4)}"}),
        ("model.bom", {"id": f"model-{ask.dice.randrange(4)}"}),
        *((name, run) for name in ("explain", "replay", "run.receipt", "run.show")),
        ("run.review", {**run, "decision": "approved", "reason": "Fine."}),
        (
            "downgrade.request",
            {"document": paper.id, "into": ask.dice.choice(ask.world.shelves).name, "reason": "x"},
        ),
        (
            "hold.add",
            {"kind": "collection", "target": paper.shelf.name, "reason": "x", "until": "open"},
        ),
        (
            "usecase.register",
            {
                "id": ask.world.keep(a_secret(ask.dice, "kx"), person.tenant),
                "purpose": "x",
                "legal_basis": "x",
                "risk": "minimal",
                "collections": [paper.shelf.name],
                "oversight": "none",
                "retention_days": 400,
            },
        ),
        ("ledger.search", {"limit": 50}),
        ("ledger.search", {"actor": colleague, "limit": 50}),
        ("ledger.export", {"format": "ocsf"}),
        ("ledger.show", {"number": ask.dice.randrange(200)}),
        ("forget.plan", {"name": colleague, "basis": "gdpr-17-1-a"}),
        (
            "policy.explain",
            {"principal": colleague, "action": "read", "resource": paper.shelf.name},
        ),
    ]
    return more


async def operator(ask: Asker, person: Person) -> None:
    """What is for those who run the installation, and what is open to all."""
    surface, path = ask.dice.choice(
        (
            *(("metrics", "/metrics"), ("metrics", "/healthz"), ("metrics", "/readyz")),
            *(("ledger", "/ledger/checkpoint"), ("ledger", "/ledger/key")),
            *(("ledger", "/ledger/tile/0/000"), ("ledger", "/ledger/tile/entries/000")),
            *(("ledger", "/ledger/tile/entries/001"), ("ledger", "/ledger/tile/entries/000.p/9")),
        )
    )
    headers = {"x-forwarded-for": "192.0.2.1"}
    by = ask.dice.choice(("key", "nobody", "session"))
    came = await ask.http(surface, person, "GET", path, by=by, headers=headers)
    closed = path == "/metrics" or "/tile/" in path
    auditor = any("auditor" in one.roles for one in person.standing.since(came.began))
    if closed and came.status == 200 and (by == "nobody" or not auditor):
        ask.find(f"{surface}: {path} opened to {by} {person.name}")


async def provision(ask: Asker, person: Person) -> None:
    """SCIM, by a directory's service and by people who are none."""
    service = ask.dice.choice(ask.world.services)
    asker = ask.dice.choice((service, service, service, person))
    stranger = ask.dice.choice(ask.world.people)
    named = ask.thing("scim", asker)
    at = "/scim/v2"
    choices: list[tuple[str, str, Any]] = [
        ("GET", f"{at}/Users", None),
        ("GET", f'{at}/Users?filter=userName%20eq%20"{stranger.name}"', None),
        ("GET", f"{at}/Users?filter=id%20pr&sortBy=userName&startIndex=1&count=200", None),
        ("GET", f"{at}/Groups", None),
        ("GET", f"{at}/Users/{stranger.id}", None),
        ("DELETE", f"{at}/Users/{stranger.id}", None),
        ("POST", f"{at}/.search", {"schemas": [_SEARCH], "filter": "id pr"}),
        ("POST", f"{at}/Users/.search", {"schemas": [_SEARCH]}),
        *(("GET", f"{at}/{one}", None) for one in ("ServiceProviderConfig", "Schemas")),
    ]
    if named is not None and named.of is not asker:
        active = {"op": "replace", "path": "active", "value": False}
        patch = {"schemas": [_PATCH], "Operations": [active]}
        choices += [
            ("GET", f"{at}/Users/{named.id}", None),
            ("PATCH", f"{at}/Users/{named.id}", patch),
            ("DELETE", f"{at}/Users/{named.id}", None),
        ]
    if "provisioner" in asker.roles and ask.dice.random() < 0.2:
        name = ask.world.keep(a_secret(ask.dice, "ku"), asker.tenant)
        choices = [("POST", f"{at}/Users", {"schemas": [_USER], "userName": name})]
    method, path, body = ask.dice.choice(choices)
    came = await ask.http("scim", asker, method, path, body)
    if method == "POST" and path.endswith("/Users") and came.status == 201:
        ask.stage.add("scim", dict(came.headers)["location"].rsplit("/", 1)[1], asker)
    elif (
        (stranger.id in path or (named is not None and named.id in path))
        and came.status < 400
        and "filter" not in path
    ):
        ask.find(f"scim: {method} {path} gave {came.status} to {asker.name}")


_SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
_PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_USER = "urn:ietf:params:scim:schemas:core:2.0:User"


async def administer(ask: Asker, person: Person) -> None:
    """Declare and decide what is another's, or above one's office."""
    other = ask.dice.choice(ask.world.people)
    if other.tenant == person.tenant:
        return
    use = ask.use_case(other)
    paper = ask.hidden_paper(person) or ask.dice.choice(ask.world.papers)
    everything = {"clearance": "lu:top-secret+eu+nato", "roles": ["owner", "user"]}
    method, path, body = ask.dice.choice(
        (
            ("PUT", f"/api/principals/{other.name}", everything),
            ("PUT", f"/api/principals/{person.name}", everything),
            ("PUT", f"/api/use-cases/{use}", {"purpose": "x"}),
            *(
                ("POST", f"/api/use-cases/{use}/{verb}", {"reason": "x"})
                for verb in ("approve", "suspend", "retire")
            ),
            ("PUT", "/api/tenants/" + a_secret(ask.dice, "kx"), {}),
            ("GET", "/api/policies", None),
            (
                "PUT",
                "/api/policies",
                {"files": {"a.cedar": "permit (principal, action, resource);"}},
            ),
            ("POST", "/api/policies/approve", {"digest": "0" * 64}),
            ("POST", "/api/apply?dry_run=true", {"collection": [{"name": paper.shelf.name}]}),
            ("POST", "/api/apply?dry_run=true", {"principal": [{"name": other.name}]}),
            ("POST", "/api/apply?dry_run=true", {"use_case": [{"id": use, "purpose": "x"}]}),
        )
    )
    came = await ask.http("administration", person, method, path, body)
    if method != "GET" and came.status < 400 and "dry_run" not in path:
        ask.find(f"administration: {method} {path} gave {came.status} to {person.name}")


SURFACES = (act, act, operator, provision, administer)
