"""A generated world for the leak campaign: tenants, people, collections, documents with secrets.

Who may read what is decided here a second time, from the facts the world was made of and by a rule
of its own, so that a mistake at the gate is not believed twice.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from leak_past import EVER, Past

from casemate.gate.caller import Caller
from casemate.installation import Installation

# A secret is a word that stands nowhere else: what it stands in, then sixteen letters. A word of a
# text, the name of a file, a title, a heading, what a file says of its author, a collection, a
# purpose or reason, a principal, a use case, what somebody keeps.
KINDS = ("kw", "kn", "kt", "kh", "ka", "kc", "kp", "ku", "kx", "kf")
SECRET = re.compile(rf"(?:{'|'.join(KINDS)})[g-z]{{16}}")
# What things are called that are not to be known of: documents, collections, what is kept.
ID = re.compile(r"[a-z]{1,6}_[0-9a-f]{20}")
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


@dataclass(frozen=True)
class Standing:
    """What somebody is at a moment. ``active``: not shut out."""

    roles: frozenset[str]
    clearance: Mark
    active: bool = True


class Changing:
    """What is changed by one at a time."""

    changing: bool = False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this lasts, nobody else changes it."""
        self.changing = True
        try:
            yield
        finally:
            self.changing = False


@dataclass(eq=False)
class Person(Changing):
    id: str
    name: str
    tenant: str
    standing: Past[Standing]
    key: str = ""
    session: str = ""
    bound: dict[str, str] = field(default_factory=dict)  # keys that are good for one use case
    dead: list[str] = field(default_factory=list)  # keys that were revoked
    said: set[str] = field(default_factory=set)  # secrets that they wrote themselves

    @property
    def roles(self) -> frozenset[str]:
        return self.standing.now.roles

    @property
    def clearance(self) -> Mark:
        return self.standing.now.clearance


Readers = frozenset[str] | None  # ids and "role:…"; None is the whole tenant


@dataclass(eq=False)
class Shelf(Changing):
    """A collection. Its name is a secret too."""

    id: str
    name: str
    tenant: str
    owner: str  # id
    mark: Mark
    readers: Past[Readers]
    papers: list[Paper] = field(default_factory=list)

    def read_by(self, person: Person, standing: Standing, readers: Readers) -> bool:
        """The rule of the design, said a second time."""
        if person.tenant != self.tenant or not standing.active:
            return False
        if not standing.clearance.covers(self.mark):
            return False
        if self.owner == person.id:
            return True
        if "user" not in standing.roles:
            return False
        roles = {f"role:{one}" for one in standing.roles}
        return readers is None or bool(readers & ({person.id} | roles))


@dataclass(frozen=True)
class Mine:
    """Where somebody keeps what is theirs alone."""

    person: str  # id


@dataclass(eq=False)
class Paper(Changing):
    id: str
    shelf: Shelf
    name: str
    topic: str
    secrets: tuple[str, ...]
    content: bytes


Place = Shelf | Mark | Mine | str  # str: a tenant, all of which may know


@dataclass
class World:
    installation: Installation
    owner: Caller
    people: list[Person] = field(default_factory=list)
    gone: list[Person] = field(default_factory=list)  # who was shut out
    services: list[Person] = field(default_factory=list)  # a directory's, one for each tenant
    shelves: list[Shelf] = field(default_factory=list)
    papers: list[Paper] = field(default_factory=list)
    use_cases: dict[str, list[str]] = field(default_factory=dict)  # approved ones, by tenant
    # Where each secret is.
    kept: dict[str, Past[tuple[Place, ...]]] = field(default_factory=dict)
    ids: dict[str, Past[tuple[Place, ...]]] = field(default_factory=dict)

    def may_know(
        self, person: Person, secret: str, began: float, *, recalled: bool = False
    ) -> bool:
        """Whether a call of ``person`` that began then may have been told ``secret``.

        ``recalled``: it shows what they were told before. Then it is enough that they might read
        it once, as long as their clearance covers it still.
        """
        if recalled and secret in person.said:
            return True
        places = self.kept.get(secret) or self.ids[secret]
        since = EVER if recalled else began
        return any(
            self._open(person, place, began, since)
            for some in places.since(since)
            for place in some
        )

    def may_audit(self, person: Person, secret: str, began: float) -> bool:
        """Whether an auditor may have been told ``secret`` as part of a run of their tenant."""
        return any(
            isinstance(place, Shelf)
            and place.tenant == person.tenant
            and "auditor" in standing.roles
            and standing.clearance.covers(place.mark)
            for standing in person.standing.since(began)
            for some in (self.kept.get(secret) or self.ids[secret]).since(EVER)
            for place in some
        )

    def _open(self, person: Person, place: Place, began: float, since: float) -> bool:
        clear = list(person.standing.since(began))
        if isinstance(place, str):
            return person.tenant == place and any(one.active for one in clear)
        if isinstance(place, Mine):
            return person.id == place.person
        if isinstance(place, Mark):
            return any(one.clearance.covers(place) for one in clear)
        return any(one.clearance.covers(place.mark) for one in clear) and any(
            place.read_by(person, standing, readers)
            for standing, readers in product(
                person.standing.since(since), place.readers.since(since)
            )
        )

    def may_read(self, person: Person, shelf: Shelf) -> bool:
        """Whether they may at this moment."""
        return shelf.read_by(person, person.standing.now, shelf.readers.now)

    def unclear(self, person: Person, shelf: Shelf, began: float) -> bool:
        """Whether it changed since then."""
        return not (person.standing.settled(began) and shelf.readers.settled(began))

    def caller(self, person: Person) -> Caller:
        return Caller(self.installation.gate.principals.by_id(person.id), None, "local")

    def home(self, tenant: str) -> list[Person]:
        """Everybody of a tenant; the first is its chief, the second approves."""
        return [one for one in self.people if one.tenant == tenant]

    def shelves_of(self, tenant: str) -> list[Shelf]:
        """The collections of a tenant."""
        return [one for one in self.shelves if one.tenant == tenant]

    def keep(self, secret: str, *places: Place) -> str:
        """Note where a secret is."""
        self.kept[secret] = Past(places)
        return secret

    def label(self, mark: Mark) -> Any:
        return self.installation.gate.country.policy.parse(mark.text)


def a_secret(dice: random.Random, kind: str) -> str:
    return kind + "".join(dice.choices("ghijklmnopqrstuvwxyz", k=16))
