"""A directory: who is who elsewhere, as one file of the data folder declares it.

``directory.toml``: what groups mean here (see ``mapping``) and which LDAP servers know people's
passwords (``[ldap]``, see ``ldap_servers``). Somebody whom the directory lets in becomes a
principal when they first sign in, with the rights that it gives at that moment; each time anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping as Map
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from casemate.errors import CasemateError, Invalid
from casemate.gate import access
from casemate.gate.ldap import Found, Ldap
from casemate.gate.ldap_servers import Servers
from casemate.gate.mapping import (
    FILE,
    Grant,
    Granted,
    GroupGrant,
    Mapping,
    folded,
    known_clearance,
)
from casemate.gate.principal import Principal, Principals, state_digest
from casemate.gate.right import Rights
from casemate.gate.token import Random, identifier
from casemate.store.database import Database
from casemate.store.folder import disk_problem
from casemate.store.tables import principals, provisioned, tenants

if TYPE_CHECKING:
    from casemate.gate.country import Country
    from casemate.gate.label import Label

_LARGEST = 4 << 20


class Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file as somebody wrote it."""

    group: list[GroupGrant] = []
    everybody: Grant | None = None
    ldap: Servers | None = None


def declared(folder: Path) -> Declared:
    """The file in the data folder; nothing is declared where there is none.

    Raises Invalid naming what is wrong, Unavailable if it cannot be read.
    """
    path = folder / FILE
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as problem:
        raise disk_problem(problem) from problem
    if len(content) > _LARGEST:
        raise Invalid(f"{FILE} is larger than {_LARGEST >> 20} MiB.", "Make it smaller.")
    try:
        return msgspec.toml.decode(content, type=Declared)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Invalid(
            f"{FILE} is not usable: {problem}.", f"Correct {FILE} in the data folder."
        ) from None


def meaning(found: Declared, country: Country) -> Mapping:
    """What its groups mean. Raises Invalid naming the rule that is wrong."""
    return Mapping(found.group, found.everybody, country)


@dataclass(frozen=True)
class Refreshed:
    """What asking a directory again has found: how many are known, have other rights, are gone."""

    known: int
    changed: int
    gone: int


_NOTHING = Granted(frozenset(), None)


class Directory:
    """Lets people in whom a directory knows, and gives them what it says."""

    def __init__(
        self,
        ldap: Ldap,
        said: Servers,
        meaning: Mapping,
        country: Country,
        database: Database,
        principals: Principals,
        rights: Rights,
        random: Random,
    ) -> None:
        """Raises Invalid naming a clearance that is none."""
        self._ldap = ldap
        self._said = said
        self._meaning = meaning
        self._clearances: Map[str, Label] = {
            folded(value): known_clearance(text, country, "ldap")
            for value, text in said.clearances.items()
        }
        self._tenants = {folded(value): name for value, name in said.tenants.items()}
        self._database = database
        self._principals = principals
        self._rights = rights
        self._random = random

    def enter(self, name: str, password: str) -> Principal | None:
        """Who that is, with the rights of now; None if the directory does not let them in.

        Also None, after recording why, for somebody without a tenant, a role or a clearance here.
        Raises what ``Ldap.authenticate`` raises.
        """
        found = self._ldap.authenticate(name, password)
        if found is None:
            return None
        tenant = self._tenant(found)
        with self._database.write() as connection:
            query = sa.select(tenants.c.id).where(tenants.c.name == tenant)
            home: str | None = connection.execute(query).scalar()
            if tenant is None or home is None:
                return self._shut("no-tenant")
            granted = self._granted(found, tenant)
            row = connection.execute(
                sa.select(provisioned, principals.c.disabled)
                .join(principals)
                .where(provisioned.c.tenant == home, provisioned.c.name == folded(found.name))
            ).first()
            if row is None:
                return self._admit(connection, found, home, granted)
            return self._readmit(connection, found, row, granted)

    def refresh(self) -> Refreshed:
        """Ask about everybody whom the directory has let in: their rights are then those of now.

        Who is gone, or has no right any more, keeps none, and sessions end; keys stay, and open
        nothing until the directory gives a right again. Raises what ``Ldap.again`` raises, and
        then nothing has changed.
        """
        query = sa.select(provisioned.c.principal, provisioned.c.attributes, tenants.c.name)
        query = query.join(tenants, tenants.c.id == provisioned.c.tenant)
        with self._database.read() as connection:
            rows = connection.execute(query.where(provisioned.c.source == "ldap")).all()
        if not rows:
            return Refreshed(0, 0, 0)
        found = self._ldap.again([json.loads(row.attributes)["unique"] for row in rows])
        changed = gone = 0
        for row, one in zip(rows, found, strict=True):
            granted = _NOTHING
            if one is not None and self._tenant(one) == row.name:
                granted = self._granted(one, row.name)
            entered = granted.clearance is not None and bool(granted.roles)
            gone += not entered
            changed += self._refresh(row.principal, granted if entered else _NOTHING)
        return Refreshed(len(rows), changed, gone)

    def _refresh(self, principal: str, granted: Granted) -> bool:
        with self._database.write() as connection:
            query = sa.select(principals).where(principals.c.id == principal)
            before = self._principals.read(connection.execute(query).one())
            if before.disabled:
                return False
            lowest = before.clearance.policy.lowest()
            after = self._restate(connection, before, granted.roles, granted.clearance or lowest)
            if not granted.roles:
                access.end_sessions(connection, principal)
            return after != before

    def pretend(self, name: str) -> None:
        """As much work as ``enter``, for who is not asked about. Raises like ``enter``."""
        self._ldap.pretend(name)

    def _tenant(self, found: Found) -> str | None:
        if self._said.tenant:
            return self._said.tenant
        values = found.attributes.get(self._said.tenant_attribute, ())
        named = {self._tenants.get(folded(value)) for value in values}
        return named.pop() if len(named) == 1 else None

    def _granted(self, found: Found, tenant: str) -> Granted:
        granted = self._meaning.granted(found.groups, tenant)
        if not self._said.clearance_attribute:
            return granted
        values = found.attributes.get(self._said.clearance_attribute, ())
        # One value and one that is known: anything else is no clearance.
        label = self._clearances.get(folded(values[0])) if len(values) == 1 else None
        return Granted(granted.roles, label)

    def _admit(
        self, connection: sa.Connection, found: Found, home: str, granted: Granted
    ) -> Principal | None:
        if granted.clearance is None or not granted.roles:
            return self._shut("no-right")
        try:
            made = self._principals.insert(
                connection,
                None,
                found.name,
                "person",
                granted.roles,
                granted.clearance,
                tenant=home,
                by="ldap",
            )
        except CasemateError:
            return self._shut("name-taken")  # by somebody made here: never taken over
        now = self._rights.acts.now()
        connection.execute(
            provisioned.insert().values(
                id="s" + identifier(self._random),
                tenant=home,
                principal=made.id,
                source="ldap",
                name=folded(made.name),
                attributes=json.dumps({"unique": found.unique}),
                version=1,
                created=now,
                changed=now,
            )
        )
        return made

    def _readmit(
        self, connection: sa.Connection, found: Found, row: sa.Row[Any], granted: Granted
    ) -> Principal | None:
        query = sa.select(principals).where(principals.c.id == row.principal)
        before = self._principals.read(connection.execute(query).one())
        if before.disabled:
            return None
        if row.source != "ldap":
            return before  # its rights come from who provisions it; only the password from here
        if json.loads(row.attributes)["unique"] != found.unique:
            return self._shut("another-person", before)
        if granted.clearance is None or not granted.roles:
            self._restate(connection, before, frozenset(), before.clearance.policy.lowest())
            return self._shut("no-right", before)
        return self._restate(connection, before, granted.roles, granted.clearance)

    def _restate(
        self, connection: sa.Connection, before: Principal, roles: frozenset[str], label: Label
    ) -> Principal:
        if (before.roles, before.clearance) == (roles, label):
            return before
        after = self._principals.write(connection, before.id, roles=roles, clearance=label)
        self._rights.acts.record(
            "principal.changed",
            None,
            subject=before.pseudonym,
            by="ldap",
            before=state_digest(before),
            after=state_digest(after),
        )
        return after

    def _shut(self, why: str, principal: Principal | None = None) -> Principal | None:
        subject = {} if principal is None else {"subject": principal.pseudonym}
        self._rights.acts.record("sign_in.refused", None, why=why, **subject)
        return None
