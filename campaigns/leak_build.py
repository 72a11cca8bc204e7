"""Building the world of the leak campaign, through the same doors that people use."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

from leak_papers import Written, written
from leak_past import Past
from leak_world import (
    EVERYTHING,
    Mark,
    Paper,
    Person,
    Readers,
    Shelf,
    Standing,
    World,
    a_mark,
    a_secret,
    mark_of,
)

from casemate.gate.caller import Caller
from casemate.installation import Installation
from casemate.library.importing import File
from casemate.models.manifest import Manifest


@dataclass(frozen=True)
class Sizes:
    tenants: int = 50
    people: int = 500
    shelves: int = 200
    papers: int = 20_000


def build(installation: Installation, sizes: Sizes, dice: random.Random) -> World:
    """A world of these sizes, in an empty installation."""
    gate = installation.gate
    world = World(installation, gate.owner())
    name = world.owner.principal.name
    gate.principals.change(world.owner, name, clearance=world.label(EVERYTHING))
    for number in range(4):
        _a_model(world, number, dice)
    for number in range(sizes.tenants):
        _a_tenant(world, f"t{number}", sizes.people // sizes.tenants, dice)
    for number in range(sizes.shelves):
        _a_shelf(world, f"t{number % sizes.tenants}", dice)
    for number, shelf in enumerate(world.shelves):
        share = len(range(number, sizes.papers, len(world.shelves)))
        fill(world, shelf, [written(dice, place) for place in range(share)])
        if dice.random() < 0.3:
            _a_hold(world, shelf, dice)
    return world


def a_person(
    world: World, tenant: str, roles: set[str], clearance: Mark, dice: random.Random
) -> Person:
    """Somebody with a key and a session, whose name is known in their tenant only."""
    gate = world.installation.gate
    name = world.keep(a_secret(dice, "ku"), tenant)
    kind = "service" if "provisioner" in roles else "person"
    made = gate.principals.create(
        world.owner,
        name,
        kind=kind,
        roles=roles,
        clearance=world.label(clearance),
        tenant=tenant,
    )
    person = Person(made.id, name, tenant, Past(Standing(frozenset(roles), clearance)))
    as_they = Caller(made, None, "local")
    person.key = gate.keys.create(as_they, name)[1]
    if kind == "person":
        person.session = gate.sessions.redeem(gate.sessions.link_for(made))
    return person


def fill(world: World, shelf: Shelf, files: list[Written]) -> list[Paper]:
    """Import files into a collection, as its owner."""
    by_name = {one.name: one for one in files}
    chief = next(one for one in world.people if one.id == shelf.owner)
    offered = (File(one.name, len(one.content), lambda one=one: one.content) for one in files)  # type: ignore[misc]
    made = []
    for added in world.installation.library.add_all(world.caller(chief), shelf.name, offered):
        if added.document is None:
            raise RuntimeError(f"the world cannot be built: {added.name}: {added.problem}")
        one = by_name[added.name]
        paper = Paper(added.document, shelf, one.name, one.topic, one.secrets, one.content)
        world.papers.append(paper)
        shelf.papers.append(paper)
        world.ids[paper.id] = Past((shelf,))
        for secret in paper.secrets:
            world.keep(secret, shelf)
        made.append(paper)
    return made


def _a_tenant(world: World, name: str, share: int, dice: random.Random) -> None:
    gate = world.installation.gate
    gate.principals.create_tenant(world.owner, name)
    for place in range(share):
        roles, clearance = {"user"}, a_mark(dice, clearance=True)
        if place < 2:  # the chief, and the second person
            roles, clearance = {"admin", "auditor", "user"}, EVERYTHING
        elif place == 2:
            roles = {"auditor", "user"} if dice.random() < 0.5 else {"auditor"}
        elif dice.random() < 0.1:
            roles = {"admin"} if dice.random() < 0.3 else {"admin", "user"}
        world.people.append(a_person(world, name, roles, clearance, dice))
    service = a_person(world, name, {"provisioner"}, mark_of("lu", "unclassified"), dice)
    world.services.append(service)
    chief, second, *_ = world.home(name)
    world.use_cases[name] = []
    ceilings = [EVERYTHING, mark_of("lu", "restricted"), mark_of("lu", "unclassified")]
    for place, ceiling in enumerate(ceilings):
        purpose = world.keep(a_secret(dice, "kp"), name)
        id = world.keep(a_secret(dice, "kx"), name)
        gate.use_cases.register(
            world.caller(chief),
            id,
            purpose=f"Looking things up for {purpose}.",
            legal_basis="Its own tasks.",
            risk="minimal",
            models=("quote",),
            ceiling=world.label(ceiling),
            oversight="none",
            retention_days=400,
            screening=gate.use_cases.not_prohibited("It is a campaign."),
        )
        if place < 2:
            gate.use_cases.approve(world.caller(second), id)
            world.use_cases[name].append(id)
    for person in world.home(name)[2:]:
        if dice.random() < 0.5:
            use = dice.choice(world.use_cases[name])
            as_they = world.caller(person)
            person.bound[use] = gate.keys.create(as_they, person.name, use_case=use)[1]


def _a_shelf(world: World, tenant: str, dice: random.Random) -> None:
    home = world.home(tenant)
    chief, mark, name = home[0], a_mark(dice), a_secret(dice, "kc")
    names: list[str] | None = None
    if dice.random() < 0.4:
        names = [one.name for one in dice.sample(home[2:], min(3, len(home) - 2))]
        names += ["role:auditor"] if dice.random() < 0.3 else []
        names.append(chief.name)
    made = world.installation.library.create_collection(
        world.caller(chief),
        name,
        label=mark.text,
        readers=None if names is None else tuple(names),
    )
    shelf = Shelf(made.id, name, tenant, chief.id, mark, Past(readers_of(world, tenant, names)))
    world.shelves.append(shelf)
    world.keep(name, shelf)
    world.ids[made.id] = Past((shelf,))


def readers_of(world: World, tenant: str, names: list[str] | None) -> Readers:
    """What the library makes of these readers."""
    ids = {one.name: one.id for one in world.home(tenant)}
    return None if names is None else frozenset(ids.get(one, one) for one in names)


def _a_model(world: World, number: int, dice: random.Random) -> None:
    """A model that was trained on something classified, and whose papers say so."""
    installation, mark, secret = world.installation, a_mark(dice), a_secret(dice, "kp")
    host = f"10.1.0.{number + 1}"
    owner = world.installation.gate.owner()
    installation.gate.perimeter.add(
        owner,
        name=f"rack{number}",
        host=host,
        ports=[8000],
        jurisdiction="LU",
        ceiling=world.label(EVERYTHING),
    )
    manifest = Manifest.new(
        name=f"model-{number}", version="1", engine="remote", architecture="A small one.",
        licence="Apache-2.0", origin="Made here.", intended_use=f"To know {secret}.",
        limits="Many.", label=mark.text, address=f"http://{host}:8000/v1", upstream="m",
        made_from={f"Letters about {secret}": mark.text},
    )  # fmt: skip
    installation.models.propose(owner, manifest)
    world.keep(secret, mark)


def _a_hold(world: World, shelf: Shelf, dice: random.Random) -> None:
    """A legal hold on a collection, whose reason tells something of what is in it."""
    reason = world.keep(a_secret(dice, "kp"), shelf)
    chief = next(one for one in world.people if one.id == shelf.owner)
    world.installation.holds.place(
        world.caller(chief), "collection", shelf.name, f"About {reason}.", "open"
    )


def described(world: World) -> str:
    return json.dumps(
        {
            "tenants": len(world.use_cases),
            "people": len(world.people),
            "collections": len(world.shelves),
            "documents": len(world.papers),
            "secrets": len(world.kept),
        }
    )
