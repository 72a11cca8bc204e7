"""Groups of a directory: who is in them decides what people may do here.

What a group gives is declared in ``mapping``; a change of members counts at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from casemate.errors import Invalid, NotFound
from casemate.gate.acts import digest
from casemate.gate.mapping import folded
from casemate.gate.provisioning import Attributes, People, check_free, check_version
from casemate.gate.right import Rights
from casemate.gate.token import Random, identifier
from casemate.store.database import Database
from casemate.store.tables import group_members, groups, provisioned

if TYPE_CHECKING:
    from casemate.gate.caller import Caller

MOST_MEMBERS = 10_000  # of one group


@dataclass(frozen=True)
class Group:
    """A group of a directory. ``members``: their ids."""

    id: str
    name: str
    attributes: Attributes
    members: tuple[str, ...]
    version: int
    created: str
    changed: str


class Groups:
    """Makes, changes and ends groups; every change is an entry."""

    def __init__(self, database: Database, people: People, rights: Rights, random: Random) -> None:
        self._database = database
        self._people = people
        self._rights = rights
        self._random = random

    def list(
        self, actor: Caller, *, name: str | None = None, skip: int = 0, limit: int | None = None
    ) -> tuple[int, list[Group]]:
        """How many there are (called ``name``), and those of one page, oldest first."""
        self._people.permit(actor)
        of_tenant = groups.c.tenant == actor.principal.tenant
        wanted = of_tenant if name is None else of_tenant & (groups.c.name == folded(name))
        with self._database.read() as connection:
            count = sa.select(sa.func.count()).select_from(groups).where(wanted)
            total: int = connection.execute(count).scalar_one()
            query = sa.select(groups).where(wanted).order_by(groups.c.created, groups.c.id)
            rows = connection.execute(query.offset(skip).limit(limit)).all()
            return total, [_group(row, _members_of(connection, row.id)) for row in rows]

    def get(self, actor: Caller, id: str) -> Group:
        """The one with this id. Raises Refused, NotFound."""
        self._people.permit(actor)
        with self._database.read() as connection:
            return self._group(connection, actor, id)

    def add(
        self, actor: Caller, name: str, attributes: Attributes, members: Sequence[str]
    ) -> Group:
        """A new group with these people. Raises Refused, Invalid, Conflict (name)."""
        self._people.permit(actor)
        now, id = self._rights.acts.now(), "g" + identifier(self._random)
        with self._database.write() as connection:
            check_free(connection, groups, actor, name)
            connection.execute(
                groups.insert().values(
                    id=id,
                    tenant=actor.principal.tenant,
                    name=folded(name),
                    attributes=json.dumps({**attributes, "displayName": _group_name(name)}),
                    version=1,
                    created=now,
                    changed=now,
                )
            )
            self._join(connection, actor, id, members)
            made = self._group(connection, actor, id)
            self._rights.acts.record(
                "group.created", actor.principal, group=digest([id]), after=_group_digest(made)
            )
            self._people.regrant(connection, actor, set(members))
            return made

    def change(
        self,
        actor: Caller,
        id: str,
        name: str,
        attributes: Attributes,
        members: Sequence[str],
        *,
        version: int | None = None,
    ) -> Group:
        """Replace a group; its people's rights follow at once. Raises like ``People.change``."""
        self._people.permit(actor)
        with self._database.write() as connection:
            before = self._group(connection, actor, id)
            check_version(before.version, version)
            if folded(name) != folded(before.name):
                check_free(connection, groups, actor, name)
            connection.execute(group_members.delete().where(group_members.c.group == id))
            self._join(connection, actor, id, members)
            connection.execute(
                groups.update()
                .where(groups.c.id == id)
                .values(
                    name=folded(name),
                    attributes=json.dumps({**attributes, "displayName": _group_name(name)}),
                    version=before.version + 1,
                    changed=self._rights.acts.now(),
                )
            )
            after = self._group(connection, actor, id)
            self._rights.acts.record(
                "group.changed",
                actor.principal,
                group=digest([id]),
                before=_group_digest(before),
                after=_group_digest(after),
            )
            touched = set(before.members).symmetric_difference(members)
            if before.name != after.name:
                touched = set(before.members).union(members)
            self._people.regrant(connection, actor, touched)
            return after

    def remove(self, actor: Caller, id: str, *, version: int | None = None) -> None:
        """End a group; what it gave is taken back at once. Raises Refused, NotFound, Changed."""
        self._people.permit(actor)
        with self._database.write() as connection:
            before = self._group(connection, actor, id)
            check_version(before.version, version)
            connection.execute(group_members.delete().where(group_members.c.group == id))
            connection.execute(groups.delete().where(groups.c.id == id))
            self._rights.acts.record(
                "group.removed",
                actor.principal,
                group=digest([id]),
                before=_group_digest(before),
            )
            self._people.regrant(connection, actor, before.members)

    def _join(
        self, connection: sa.Connection, actor: Caller, group: str, members: Sequence[str]
    ) -> None:
        if len(members) > MOST_MEMBERS:
            raise Invalid(f"A group has at most {MOST_MEMBERS:,} members.", "Make two groups.")
        wanted = dict.fromkeys(members)
        query = sa.select(provisioned.c.id).where(
            provisioned.c.tenant == actor.principal.tenant,
            provisioned.c.source == "scim",
            provisioned.c.id.in_(list(wanted)),
        )
        known = set(connection.execute(query).scalars())
        for member in wanted:
            if member not in known:
                raise Invalid(
                    f"There is nobody with id {member[:40]!r} to be a member.", "Create them first."
                )
        if wanted:
            connection.execute(
                group_members.insert(), [{"group": group, "member": one} for one in wanted]
            )

    def _group(self, connection: sa.Connection, actor: Caller, id: str) -> Group:
        mine = (groups.c.id == id) & (groups.c.tenant == actor.principal.tenant)
        row = connection.execute(sa.select(groups).where(mine)).first()
        if row is None:
            raise NotFound("There is no group with this id.", "List them to find the id.")
        return _group(row, _members_of(connection, id))


def _group(row: sa.Row[Any], members: Sequence[str]) -> Group:
    said = json.loads(row.attributes)
    name = said.pop("displayName")
    return Group(row.id, name, said, tuple(members), row.version, row.created, row.changed)


def _ids(rows: Sequence[sa.Row[Any]]) -> sa.ColumnElement[bool]:
    return provisioned.c.id.in_([row.id for row in rows])


def _members_of(connection: sa.Connection, group: str) -> list[str]:
    query = sa.select(group_members.c.member).where(group_members.c.group == group)
    return list(connection.execute(query.order_by(group_members.c.member)).scalars())


def _group_name(name: str) -> str:
    if not name.isprintable() or len(name) > 256:
        raise Invalid("That cannot be a group's name.", "Give 1 to 256 printable characters.")
    return name


def _group_digest(group: Group) -> str:
    said = json.dumps(dict(group.attributes))
    return digest([group.id, group.name, said, list(group.members)])
