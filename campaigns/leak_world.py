"""A generated world for the leak campaign: tenants, people, collections, documents with secrets.

Who may read what is decided here a second time, from the facts the world was made of and by a rule
of its own, so that a mistake at the gate is not believed twice.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from casemate.gate.caller import Caller
from casemate.installation import Installation
from casemate.library.importing import File

# A secret is a word that stands nowhere else: a kind, then sixteen letters.
SECRET = re.compile(r"(?:kw|kn|kt|kc|kp)[g-z]{16}")
LEVELS = {
    "lu": {"unclassified": 0, "restricted": 4, "confidential": 5, "secret": 6, "top-secret": 7},
    "internal": {"public": 0, "internal": 1, "confidential": 2, "strictly-confidential": 3},
    "eu": {"restricted": 4, "confidential": 5, "secret": 6},
    "nato": {"restricted": 4, "confidential": 5, "secret": 6},
}
BINDING = ("eu", "nato")
COMPARTMENTS = ("alpha", "beta", "gamma")
COMMUNITIES = ("LU", "FR", "BE")
TOPICS = ("harbour", "bridge", "vaccine", "satellite", "customs", "forest", "archive", "signal")


@dataclass(frozen=True)
class Mark:
    """A label as this world understands it: height, policies that bind, compartments, people."""

    text: str
    height: int
    needs: frozenset[str]
    parts: frozenset[str]
    people: frozenset[str] | None

    def covers(self, other: Mark) -> bool:
        """The rule of the design, said a second time."""
        if self.height < other.height or other.needs - self.needs or other.parts - self.parts:
            return False
        if other.people is None:
            return True
        return self.people is not None and not self.people - other.people


def a_mark(dice: random.Random, *, clearance: bool = False) -> Mark:
    policy = dice.choice(("lu", "lu", "lu", "internal", "eu", "nato"))
    level = dice.choice(list(LEVELS[policy]))
    also: set[str] = set()
    if clearance:
        policy, level = "lu", dice.choice(list(LEVELS["lu"]))
        also = {one for one in BINDING if dice.random() < 0.5}
    parts = {one for one in COMPARTMENTS if dice.random() < (0.5 if clearance else 0.2)}
    needs = also | ({policy} & set(BINDING))
    parts |= {f"{one}.crypto" for one in needs if dice.random() < 0.3}
    people = None
    if dice.random() < (0.8 if clearance else 0.3):
        chosen = {one for one in COMMUNITIES if dice.random() < 0.5}
        # Everything is releasable to Luxembourg, so that each tenant has somebody who reads all.
        people = frozenset(chosen or {"LU"} if clearance else chosen | {"LU"})
    return mark_of(policy, level, frozenset(also), frozenset(parts), people)


def mark_of(
    policy: str,
    level: str,
    also: frozenset[str] = frozenset(),
    parts: frozenset[str] = frozenset(),
    people: frozenset[str] | None = None,
) -> Mark:
    text = f"{policy}:{level}" + "".join(f"+{one}" for one in sorted(also))
    text += "/" + ",".join(sorted(parts)) if parts else ""
    text += "//rel=" + ",".join(sorted(people)) if people is not None else ""
    needs = also | ({policy} & set(BINDING))
    return Mark(text, LEVELS[policy][level], frozenset(needs), parts, people)


EVERYTHING = mark_of(
    "lu",
    "top-secret",
    frozenset(BINDING),
    frozenset({*COMPARTMENTS, *(f"{one}.crypto" for one in BINDING)}),
    frozenset({"LU"}),
)


@dataclass
class Person:
    id: str
    name: str
    tenant: str
    roles: frozenset[str]
    clearance: Mark
    key: str = ""
    session: str = ""
    runs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Shelf:
    """A collection. Its name is a secret too."""

    id: str
    name: str
    tenant: str
    owner: str  # id
    mark: Mark
    readers: frozenset[str] | None  # ids and "role:…"

    def read_by(self, person: Person, clearance: Mark) -> bool:
        if person.tenant != self.tenant or not clearance.covers(self.mark):
            return False
        if self.owner == person.id:
            return True
        if "user" not in person.roles:
            return False
        roles = {f"role:{one}" for one in person.roles}
        return self.readers is None or bool(self.readers & ({person.id} | roles))


@dataclass(frozen=True)
class Paper:
    id: str
    shelf: Shelf
    name: str
    topic: str
    secrets: tuple[str, ...]


@dataclass
class World:
    installation: Installation
    owner: Caller
    people: list[Person] = field(default_factory=list)
    shelves: list[Shelf] = field(default_factory=list)
    papers: list[Paper] = field(default_factory=list)
    use_cases: dict[str, list[str]] = field(default_factory=dict)  # approved ones, by tenant
    kept: dict[str, Shelf | str] = field(default_factory=dict)  # secret → shelf, or tenant

    def may_know(self, person: Person, secret: str) -> bool:
        """Whether ``person`` may see ``secret`` at this moment."""
        place = self.kept[secret]
        if isinstance(place, str):
            return person.tenant == place
        return place.read_by(person, person.clearance)

    def may_read(self, person: Person, shelf: Shelf) -> bool:
        return shelf.read_by(person, person.clearance)

    def caller(self, person: Person) -> Caller:
        return Caller(self.installation.gate.principals.by_id(person.id), None, "local")


@dataclass(frozen=True)
class Sizes:
    tenants: int = 50
    people: int = 500
    shelves: int = 200
    papers: int = 20_000


def a_secret(dice: random.Random, kind: str) -> str:
    return kind + "".join(dice.choices("ghijklmnopqrstuvwxyz", k=16))


def build(installation: Installation, sizes: Sizes, dice: random.Random) -> World:
    """Make the world, through the same doors that people use."""
    gate = installation.gate
    world = World(installation, gate.owner())
    name = world.owner.principal.name
    gate.principals.change(world.owner, name, clearance=_label(installation, EVERYTHING))
    for number in range(sizes.tenants):
        _a_tenant(world, f"t{number}", number, sizes, dice)
    for number in range(sizes.shelves):
        _a_shelf(world, number % sizes.tenants, dice)
    by_shelf: dict[str, int] = {}
    for number in range(sizes.papers):
        shelf = world.shelves[number % len(world.shelves)]
        by_shelf[shelf.id] = by_shelf.get(shelf.id, 0) + 1
    for shelf in world.shelves:
        _papers(world, shelf, by_shelf.get(shelf.id, 0), dice)
        if dice.random() < 0.3:
            _a_hold(world, shelf, dice)
    return world


def _label(installation: Installation, mark: Mark) -> Any:
    return installation.gate.country.policy.parse(mark.text)


def _a_tenant(world: World, name: str, number: int, sizes: Sizes, dice: random.Random) -> None:
    gate = world.installation.gate
    gate.principals.create_tenant(world.owner, name)
    share = sizes.people // sizes.tenants
    for place in range(share):
        roles, clearance = {"user"}, a_mark(dice, clearance=True)
        if place < 2:  # the chief, and the second person
            roles, clearance = {"admin", "auditor", "user"}, EVERYTHING
        elif place == 2:
            roles = {"auditor", "user"} if dice.random() < 0.5 else {"auditor"}
        elif dice.random() < 0.1:
            roles = {"admin"} if dice.random() < 0.3 else {"admin", "user"}
        made = gate.principals.create(
            world.owner,
            f"{name}-p{place}",
            roles=roles,
            clearance=_label(world.installation, clearance),
            tenant=name,
        )
        person = Person(made.id, made.name, name, frozenset(roles), clearance)
        person.key = gate.keys.create(Caller(made, None, "local"), made.name)[1]
        person.session = gate.sessions.redeem(gate.sessions.link_for(made))
        world.people.append(person)
    chief, second = world.people[-share], world.people[-share + 1]
    world.use_cases[name] = []
    ceilings = [EVERYTHING, mark_of("lu", "restricted"), mark_of("lu", "unclassified")]
    for place, ceiling in enumerate(ceilings):
        purpose = a_secret(dice, "kp")
        world.kept[purpose] = name
        id = f"{name}-use-{place}"
        gate.use_cases.register(
            world.caller(chief),
            id,
            purpose=f"Looking things up for {purpose}.",
            legal_basis="Its own tasks.",
            risk="minimal",
            models=("quote",),
            ceiling=_label(world.installation, ceiling),
            oversight="none",
            retention_days=400,
        )
        if place < 2:
            gate.use_cases.approve(world.caller(second), id)
            world.use_cases[name].append(id)


def _a_shelf(world: World, tenant: int, dice: random.Random) -> None:
    home = [one for one in world.people if one.tenant == f"t{tenant}"]
    chief, mark, name = home[0], a_mark(dice), a_secret(dice, "kc")
    readers: list[str] | None = None
    if dice.random() < 0.4:
        readers = [one.name for one in dice.sample(home[2:], min(3, len(home) - 2))]
        readers += ["role:auditor"] if dice.random() < 0.3 else []
        readers.append(chief.name)
    made = world.installation.library.create_collection(
        world.caller(chief),
        name,
        label=mark.text,
        readers=None if readers is None else tuple(readers),
    )
    ids = {one.name: one.id for one in home}
    known = None if readers is None else frozenset(ids.get(one, one) for one in readers)
    shelf = Shelf(made.id, name, f"t{tenant}", chief.id, mark, known)
    world.shelves.append(shelf)
    world.kept[name] = shelf


def _papers(world: World, shelf: Shelf, number: int, dice: random.Random) -> None:
    """Fill a shelf; every place of a document that can hold text holds a secret."""
    wanted: dict[str, tuple[str, tuple[str, ...]]] = {}

    def files() -> Iterator[File]:
        for place in range(number):
            topic = TOPICS[place % len(TOPICS)]
            word, name, title = (a_secret(dice, kind) for kind in ("kw", "kn", "kt"))
            text = (
                f"# Report {title} on the {topic}\n\n"
                f"## Part {title}\n\nThe code word of the {topic} is {word}. "
                f"The {topic} costs {dice.randrange(10, 99)} euros a month.\n"
            )
            content = text.encode()
            wanted[f"{name}.md"] = (topic, (word, name, title))
            yield File(f"{name}.md", len(content), lambda content=content: content)  # type: ignore[misc]

    chief = next(one for one in world.people if one.id == shelf.owner)
    for added in world.installation.library.add_all(world.caller(chief), shelf.name, files()):
        if added.document is None:
            raise RuntimeError(f"the world cannot be built: {added.problem}")
        topic, secrets = wanted[added.name]
        world.papers.append(Paper(added.document, shelf, added.name, topic, secrets))
        for secret in secrets:
            world.kept[secret] = shelf


def _a_hold(world: World, shelf: Shelf, dice: random.Random) -> None:
    """A legal hold on a collection, whose reason tells something of what is in it."""
    reason = a_secret(dice, "kp")
    chief = next(one for one in world.people if one.id == shelf.owner)
    world.installation.holds.place(
        world.caller(chief), "collection", shelf.name, f"About {reason}.", "open"
    )
    world.kept[reason] = shelf


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
