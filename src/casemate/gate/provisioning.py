"""Provisioning: people and groups that a directory's program makes, changes and ends.

A service account with the role ``provisioner`` does it, for its own tenant and for those people
alone that were provisioned: whoever was created here by hand is out of its reach. What its groups
give is declared in ``mapping``; it can give nobody a clearance above its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from casemate.errors import CasemateError, Conflict, Invalid, NotFound, Refused
from casemate.gate.acts import digest
from casemate.gate.mapping import Mapping as Meaning
from casemate.gate.mapping import folded
from casemate.gate.principal import Principal, Principals, state_digest
from casemate.gate.right import Rights
from casemate.gate.token import Random, identifier
from casemate.store.database import Database
from casemate.store.tables import group_members, groups, principals, provisioned, tenants

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.label import Label

Attributes = Mapping[str, Any]  # JSON


class Changed(CasemateError):
    """Somebody else has changed it in the meantime."""

    status = 412

    def __init__(self) -> None:
        super().__init__("It was changed meanwhile.", "Read it again, then change it.")


@dataclass(frozen=True)
class Person:
    """Somebody whom a directory provisioned. ``attributes``: what it said of them, kept as it is.

    active: None once the directory has taken back what it said; they then stay as they are.
    groups: id and name of each that they are in. id: for the directory's programs; it is not the
    principal's.
    """

    id: str
    name: str
    active: bool | None
    attributes: Attributes
    groups: tuple[tuple[str, str], ...]
    version: int
    created: str
    changed: str


class People:
    """Makes, changes and ends the people that a directory provisions; every change is an entry."""

    def __init__(
        self,
        database: Database,
        principals: Principals,
        rights: Rights,
        meaning: Meaning,
        random: Random,
    ) -> None:
        self._database = database
        self._principals = principals
        self._rights = rights
        self._meaning = meaning
        self._random = random

    def list(
        self, actor: Caller, *, name: str | None = None, skip: int = 0, limit: int | None = None
    ) -> tuple[int, list[Person]]:
        """How many there are (called ``name``), and those of one page, oldest first."""
        self.permit(actor)
        of_tenant = _own(actor)
        wanted = of_tenant if name is None else of_tenant & (provisioned.c.name == folded(name))
        with self._database.read() as connection:
            count = sa.select(sa.func.count()).select_from(provisioned).where(wanted)
            total: int = connection.execute(count).scalar_one()
            query = _PEOPLE.where(wanted).order_by(provisioned.c.created, provisioned.c.id)
            rows = connection.execute(query.offset(skip).limit(limit)).all()
            groups_of = _groups_of(connection, of_tenant if limit is None else _ids(rows))
        return total, [_person(row, groups_of.get(row.id, ())) for row in rows]

    def get(self, actor: Caller, id: str) -> Person:
        """The one with this id. Raises Refused, NotFound."""
        self.permit(actor)
        with self._database.read() as connection:
            return self._person(connection, actor, id)

    def add(self, actor: Caller, name: str, attributes: Attributes, *, active: bool) -> Person:
        """A new principal, a person. Raises Refused, Invalid, Conflict (name)."""
        self.permit(actor)
        with self._database.write() as connection:
            check_free(connection, provisioned, actor, name)
            granted = self._granted(connection, actor, [])
            made = self._principals.insert(
                connection,
                actor.principal,
                name,
                "person",
                *granted,
                tenant=actor.principal.tenant,
                by="scim",
            )
            now, id = self._rights.acts.now(), "s" + identifier(self._random)
            connection.execute(
                provisioned.insert().values(
                    id=id,
                    tenant=made.tenant,
                    principal=made.id,
                    source="scim",
                    name=folded(made.name),
                    attributes=_stored(attributes, True, False),
                    version=1,
                    created=now,
                    changed=now,
                )
            )
            person = self._person(connection, actor, id)
            return person if active else self._change(connection, actor, person, active=False)

    def change(
        self,
        actor: Caller,
        id: str,
        name: str,
        attributes: Attributes,
        *,
        active: bool | None,
        version: int | None = None,
    ) -> Person:
        """Replace what is known of somebody. Inactive: shut out at once, sessions and keys too.

        ``active`` None: not said; who is shut out stays so. ``version``: the one that is being
        changed, if it matters. Raises Refused, NotFound, Invalid, Conflict (name), Changed.
        """
        self.permit(actor)
        with self._database.write() as connection:
            person = self._person(connection, actor, id)
            check_version(person.version, version)
            if folded(name) != folded(person.name):
                check_free(connection, provisioned, actor, name)
            return self._change(
                connection, actor, person, name=name, attributes=attributes, active=active
            )

    def remove(self, actor: Caller, id: str, *, version: int | None = None) -> None:
        """Shut somebody out for good, and give their name back.

        The principal stays, under another name: what they did remains theirs. Raises Refused,
        NotFound, Changed.
        """
        self.permit(actor)
        with self._database.write() as connection:
            person = self._person(connection, actor, id)
            check_version(person.version, version)
            before = self._principal(connection, id)
            connection.execute(group_members.delete().where(group_members.c.member == id))
            connection.execute(provisioned.delete().where(provisioned.c.id == id))
            after = self._principals.write(
                connection,
                before.id,
                name=f"{before.name[:40]} (removed {identifier(self._random, 8)})",
                disabled=True,
            )
            facts = _facts(before, after, person, None)
            self._rights.acts.record("principal.removed", actor.principal, **facts)

    def permit(self, actor: Caller) -> None:
        """Raise Refused, after recording, unless ``actor`` may provision."""
        self._rights.administer(actor, "provision")

    def _change(
        self,
        connection: sa.Connection,
        actor: Caller,
        person: Person,
        *,
        active: bool | None,
        name: str | None = None,
        attributes: Attributes | None = None,
    ) -> Person:
        before = self._principal(connection, person.id)
        kept = json.loads(
            connection.execute(
                sa.select(provisioned.c.attributes).where(provisioned.c.id == person.id)
            ).scalar_one()
        )
        was, ended_here = kept["active"], kept["ended_here"]
        is_now = was if active is None else active
        disabled: bool | None = None
        if was and not is_now:
            # Whom somebody here had disabled before, the directory does not let in again.
            ended_here, disabled = before.disabled, True
        elif is_now and not was:
            disabled = ended_here
        after = self._principals.write(
            connection,
            before.id,
            name=None if name in (None, before.name) else name,
            disabled=disabled,
        )
        given = person.attributes if attributes is None else attributes
        connection.execute(
            provisioned.update()
            .where(provisioned.c.id == person.id)
            .values(
                name=folded(after.name),
                attributes=_stored(given, is_now, ended_here, silent=active is None),
                version=person.version + 1,
                changed=self._rights.acts.now(),
            )
        )
        changed = self._person(connection, actor, person.id)
        ended = after.disabled and not before.disabled
        begun = before.disabled and not after.disabled
        self._rights.acts.record(
            "principal.disabled"
            if ended
            else "principal.enabled"
            if begun
            else "principal.changed",
            actor.principal,
            **_facts(before, after, person, changed),
        )
        return changed

    def regrant(self, connection: sa.Connection, actor: Caller, members: Iterable[str]) -> None:
        """Give people what their groups give now, and no more."""
        for id in sorted(members):
            before = self._principal(connection, id)
            names = [name for _, name in _groups_of(connection, provisioned.c.id == id).get(id, ())]
            roles, clearance = self._granted(connection, actor, names)
            connection.execute(
                provisioned.update()
                .where(provisioned.c.id == id)
                .values(version=provisioned.c.version + 1, changed=self._rights.acts.now())
            )
            if (roles, clearance) == (before.roles, before.clearance):
                continue
            after = self._principals.write(connection, before.id, roles=roles, clearance=clearance)
            self._rights.acts.record(
                "principal.changed",
                actor.principal,
                subject=before.pseudonym,
                by="scim",
                before=state_digest(before),
                after=state_digest(after),
            )

    def _granted(
        self, connection: sa.Connection, actor: Caller, names: Sequence[str]
    ) -> tuple[frozenset[str], Label]:
        """Roles and clearance for members of the groups called ``names``."""
        query = sa.select(tenants.c.name).where(tenants.c.id == actor.principal.tenant)
        granted = self._meaning.granted(names, connection.execute(query).scalar_one())
        if granted.clearance is None:
            # No clearance was given, so no role is: the lowest label is not a right to read.
            return frozenset(), actor.principal.clearance.policy.lowest()
        if not actor.principal.clearance.dominates(granted.clearance):
            raise Refused(
                "A group gives a clearance above the one of the service that provisions.",
                "Give the service account a higher clearance, or the group a lower one.",
            )
        return granted.roles, granted.clearance

    def _person(self, connection: sa.Connection, actor: Caller, id: str) -> Person:
        mine = (provisioned.c.id == id) & _own(actor)
        row = connection.execute(_PEOPLE.where(mine)).first()
        if row is None:
            raise NotFound("There is nobody with this id.", "List them to find the id.")
        return _person(row, _groups_of(connection, provisioned.c.id == id).get(id, ()))

    def _principal(self, connection: sa.Connection, id: str) -> Principal:
        query = sa.select(principals).join(provisioned).where(provisioned.c.id == id)
        return self._principals.read(connection.execute(query).one())


def _facts(
    before: Principal, after: Principal, was: Person, is_now: Person | None
) -> dict[str, object]:
    """What an entry says of a change: who, and digests that nobody can guess at."""
    return {
        "subject": before.pseudonym,
        "by": "scim",
        "before": digest([state_digest(before), _told(was)]),
        "after": digest([state_digest(after), [] if is_now is None else _told(is_now)]),
    }


_PEOPLE = sa.select(provisioned, principals.c.name.label("called"), principals.c.disabled).join(
    principals
)


def _own(actor: Caller) -> sa.ColumnElement[bool]:
    """Those whom a program provisioned; whom an LDAP directory lets in is none of its business."""
    return (provisioned.c.tenant == actor.principal.tenant) & (provisioned.c.source == "scim")


def _person(row: sa.Row[Any], within: Sequence[tuple[str, str]]) -> Person:
    kept = json.loads(row.attributes)
    active = None if kept["silent"] else kept["active"] and row.disabled is None
    return Person(
        row.id,
        row.called,
        active,
        kept["said"],
        tuple(within),
        row.version,
        row.created,
        row.changed,
    )


def _ids(rows: Sequence[sa.Row[Any]]) -> sa.ColumnElement[bool]:
    return provisioned.c.id.in_([row.id for row in rows])


def _groups_of(
    connection: sa.Connection, people: sa.ColumnElement[bool]
) -> dict[str, list[tuple[str, str]]]:
    query = (
        sa.select(group_members.c.member, groups.c.id, groups.c.attributes)
        .join(groups, groups.c.id == group_members.c.group)
        .join(provisioned, provisioned.c.id == group_members.c.member)
        .where(people)
        .order_by(groups.c.id)
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for member, id, attributes in connection.execute(query):
        found.setdefault(member, []).append((id, json.loads(attributes)["displayName"]))
    return found


def check_free(connection: sa.Connection, table: sa.Table, actor: Caller, name: str) -> None:
    """Raise Conflict if the actor's tenant has something of that name in ``table``; or Invalid."""
    if not folded(name):
        raise Invalid("A name is missing.", "Give one.")
    taken = sa.select(table.c.id).where(
        table.c.tenant == actor.principal.tenant, table.c.name == folded(name)
    )
    if connection.execute(taken).first():
        raise Conflict("That name cannot be used: it is taken.", "Choose another.")


def check_version(found: int, version: int | None) -> None:
    """Raise Changed unless ``version``, if one is meant, is the one that was found."""
    if version is not None and version != found:
        raise Changed


def _stored(attributes: Attributes, active: bool, ended_here: bool, *, silent: bool = False) -> str:
    """As JSON. ended_here: somebody here had disabled them before the directory did."""
    return json.dumps(
        {"said": dict(attributes), "active": active, "ended_here": ended_here, "silent": silent}
    )


def _told(person: Person) -> list[object]:
    return [person.id, person.name, str(person.active), json.dumps(dict(person.attributes))]
