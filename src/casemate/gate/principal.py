"""Principals: the people and services who act, each of one tenant, each with a clearance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from casemate.errors import Conflict, Invalid, NotFound, Refused
from casemate.gate.acts import digest
from casemate.gate.attempts import account
from casemate.gate.label import Label, clearance
from casemate.gate.memory import Memory
from casemate.gate.name import checked_name, known_name
from casemate.gate.password import Passwords, check_strength
from casemate.gate.token import Random, identifier
from casemate.store.database import Database
from casemate.store.tables import (
    attempts,
    certificates,
    federated,
    group_members,
    key_uses,
    keys,
    links,
    principals,
    provisioned,
    recovery_codes,
    second_factors,
    sessions,
    sign_in_steps,
    tenants,
)

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.country import Country
    from casemate.gate.right import Rights

ROLES = frozenset({"owner", "admin", "auditor", "user", "provisioner"})
KINDS = frozenset({"person", "service"})


@dataclass(frozen=True)
class Principal:
    """Who acts. ``pseudonym`` stands for it in the ledger."""

    id: str
    tenant: str
    name: str
    kind: str
    roles: frozenset[str]
    clearance: Label
    pseudonym: str
    disabled: bool = False


class Principals:
    """Creates and changes principals; every change is an entry of the ledger."""

    def __init__(
        self,
        database: Database,
        country: Country,
        rights: Rights,
        passwords: Passwords,
        random: Random,
        memory: Memory,
    ) -> None:
        self._database = database
        self._country = country
        self._rights = rights
        self._passwords = passwords
        self._random = random
        self._memory = memory

    def create(
        self,
        actor: Caller,
        name: str,
        *,
        kind: str = "person",
        roles: Iterable[str] = ("user",),
        clearance: Label,
        tenant: str | None = None,
    ) -> Principal:
        """A new principal in the actor's tenant, or, for the owner, in the one called ``tenant``.

        Raises Invalid, Refused, NotFound (tenant), Conflict (name).
        """
        self._rights.administer(actor)
        kind, wanted = _known(kind, KINDS, "kind"), _roles(roles)
        self._may_grant(actor, wanted, clearance)
        with self._database.write() as connection:
            home = actor.principal.tenant
            if tenant is not None:
                home = self._tenant(connection, actor, tenant)
            return self.insert(
                connection, actor.principal, name, kind, wanted, clearance, tenant=home
            )

    def create_tenant(self, actor: Caller, name: str) -> str:
        """A new tenant; its id. For the owner only. Raises Invalid, Refused, Conflict."""
        self._rights.administer(actor)
        _owner_only(actor)
        with self._database.write() as connection:
            return self.insert_tenant(connection, actor.principal, name)

    def tenants(self, actor: Caller) -> dict[str, str]:
        """Ids of the tenants that ``actor`` may act for, by name: all for the owner, else one.

        Raises Refused.
        """
        self._rights.administer(actor)
        query = sa.select(tenants.c.name, tenants.c.id)
        if "owner" not in actor.principal.roles:
            query = query.where(tenants.c.id == actor.principal.tenant)
        with self._database.read() as connection:
            return {row.name: row.id for row in connection.execute(query)}

    def change(
        self,
        actor: Caller,
        name: str,
        *,
        clearance: Label | None = None,
        roles: Iterable[str] | None = None,
    ) -> Principal:
        """Give another clearance or other roles; they count from the next call on.

        Nobody changes their own rights but the owner. Raises Invalid, Refused, NotFound.
        """
        self._rights.administer(actor)
        before = self.colleague(actor, name)
        if before.id == actor.principal.id:
            _owner_only(actor)
        self._rights.act_for(actor, before)
        wanted = before.roles if roles is None else _roles(roles)
        label = before.clearance if clearance is None else clearance
        self._may_grant(actor, wanted, label)
        if before.id == actor.principal.id and "owner" not in wanted:
            raise Refused("The owner cannot give up being the owner.", "Make another owner first.")
        return self._update(actor, before, "principal.changed", roles=wanted, clearance=label)

    def disable(self, actor: Caller, name: str) -> None:
        """Shut a principal out: sessions, links and keys die at once. Refused for oneself."""
        self._rights.administer(actor)
        before = self.colleague(actor, name)
        if before.id == actor.principal.id:
            raise Refused("You cannot disable yourself.", "Ask another administrator.")
        self._rights.act_for(actor, before)
        if not before.disabled:
            self._update(actor, before, "principal.disabled", disabled=True)

    def forgettable(self, actor: Caller, name: str) -> Principal:
        """Who is to be forgotten: the colleague called ``name``, if ``actor`` may have it done.

        Also oneself, for who has the right to administer; never the last owner, without whom
        nobody could act. Raises Refused, NotFound.
        """
        self._rights.administer(actor)
        found = self.colleague(actor, name)
        self._rights.act_for(actor, found)
        if "owner" in found.roles and not found.disabled:
            query = sa.select(principals.c.roles).where(
                principals.c.id != found.id, principals.c.disabled.is_(None)
            )
            with self._database.read() as connection:
                others = connection.execute(query).scalars().all()
            if not any("owner" in roles.split() for roles in others):
                raise Refused("The last owner cannot be forgotten.", "Make another owner first.")
        return found

    def shut_out(self, connection: sa.Connection, id: str) -> None:
        """Disable a principal, in the caller's transaction, which records why."""
        now = self._rights.acts.now()
        mine = sa.and_(principals.c.id == id, principals.c.disabled.is_(None))
        connection.execute(principals.update().where(mine).values(disabled=now))
        _end_access(connection, id, now)

    def write(
        self,
        connection: sa.Connection,
        id: str,
        *,
        name: str | None = None,
        roles: frozenset[str] | None = None,
        clearance: Label | None = None,
        disabled: bool | None = None,
    ) -> Principal:
        """Change a principal without asking for rights or recording: for the gate itself.

        Who is disabled loses every way in. Raises Invalid or Conflict for a name.
        """
        now = self._rights.acts.now()
        values: dict[str, str | None] = {}
        if name is not None:
            values["name"] = self._free_name(connection, name)
        if roles is not None:
            values["roles"] = " ".join(sorted(roles))
        if clearance is not None:
            self._check_label(clearance)
            values["clearance"] = str(clearance)
        if disabled is not None:
            values["disabled"] = now if disabled else None
        this = principals.c.id == id
        if values:
            connection.execute(principals.update().where(this).values(**values))
        if disabled:
            _end_access(connection, id, now)
        return self.read(connection.execute(sa.select(principals).where(this)).one())

    def strip(self, connection: sa.Connection, id: str) -> None:
        """Leave nothing of a principal but id, pseudonym, roles and clearance: for forgetting."""
        connection.execute(
            principals.update()
            .where(principals.c.id == id)
            .values(
                name="forgotten-" + identifier(self._random),
                password=None,
            )
        )
        mine = sa.select(keys.c.id).where(keys.c.principal == id)
        connection.execute(key_uses.delete().where(key_uses.c.key.in_(mine)))
        member = sa.select(provisioned.c.id).where(provisioned.c.principal == id)
        connection.execute(group_members.delete().where(group_members.c.member.in_(member)))
        for table in (
            *(keys, certificates, federated),
            *(provisioned, recovery_codes, second_factors),
        ):
            connection.execute(table.delete().where(table.c.principal == id))

    @staticmethod
    def end_sessions(connection: sa.Connection, id: str) -> None:
        """End what is open and half open of a principal, in the caller's transaction."""
        for table in (sessions, sign_in_steps):
            connection.execute(table.delete().where(table.c.principal == id))

    def set_password(self, actor: Caller, name: str, password: str) -> None:
        """Set or replace a password; open sessions end. Raises Invalid, Refused, NotFound."""
        target = self.colleague(actor, name)
        self._rights.act_for(actor, target)
        if target.kind != "person":
            raise Refused("A service has no password.", "Create a key for it.")
        check_strength(password, target.name)
        stored = self._passwords.hash(password)
        with self._database.write() as connection:
            connection.execute(
                principals.update().where(principals.c.id == target.id).values(password=stored)
            )
            connection.execute(attempts.delete().where(attempts.c.subject == account(target.name)))
            self.end_sessions(connection, target.id)
            self._rights.acts.record(
                "principal.password_set", actor.principal, subject=target.pseudonym
            )

    def list(self, actor: Caller) -> list[Principal]:
        """Everybody of the actor's tenant, by name. Raises Refused."""
        self._rights.administer(actor)
        query = sa.select(principals).where(principals.c.tenant == actor.principal.tenant)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(principals.c.name)).all()
        return [self.read(row) for row in rows]

    def named(self, name: str) -> Principal:
        """The principal called ``name``, of any tenant: for the local command line. NotFound."""
        return self._one(principals.c.name == known_name(name))

    def by_id(self, id: str) -> Principal:
        """The principal with this id, disabled or not, as of now. Raises NotFound."""
        return self._memory.recall(("principal", id), lambda: self._one(principals.c.id == id))

    def owner(self) -> Principal:
        """The first owner who is not disabled. Raises NotFound."""
        query = sa.select(principals).where(principals.c.disabled.is_(None))
        with self._database.read() as connection:
            # Two may be created in one second: then the one that was written first.
            written: sa.ColumnElement[int] = sa.literal_column("principals.rowid")
            rows = connection.execute(query.order_by(principals.c.created, written)).all()
        for row in rows:
            if "owner" in row.roles.split():
                return self.read(row)
        raise _nobody()

    def read(self, row: sa.Row[Any]) -> Principal:
        """A row of the table as a value. Raises Invalid if its clearance has no meaning here."""
        return Principal(
            row.id,
            row.tenant,
            row.name,
            row.kind,
            frozenset(row.roles.split()),
            clearance(self._country.policy.parse(row.clearance)),
            row.pseudonym,
            row.disabled is not None,
        )

    def insert(
        self,
        connection: sa.Connection,
        actor: Principal | None,
        name: str,
        kind: str,
        roles: frozenset[str],
        label: Label,
        *,
        tenant: str,
        **facts: object,
    ) -> Principal:
        """Write and record a new principal without asking for rights: for the gate itself.

        ``facts`` stand in the entry too.
        """
        name = self._free_name(connection, name)
        self._check_label(label)
        made = Principal(
            "u" + identifier(self._random),
            tenant,
            name,
            kind,
            roles,
            label,
            "p" + identifier(self._random),
        )
        connection.execute(
            principals.insert().values(
                id=made.id,
                tenant=tenant,
                name=name,
                kind=kind,
                roles=" ".join(sorted(roles)),
                clearance=str(label),
                pseudonym=made.pseudonym,
                created=self._rights.acts.now(),
            )
        )
        self._rights.acts.record(
            "principal.created", actor, subject=made.pseudonym, after=state_digest(made), **facts
        )
        return made

    def restate(
        self,
        connection: sa.Connection,
        before: Principal,
        *,
        roles: frozenset[str],
        clearance: Label,
        provider: str,
    ) -> Principal:
        """Write and record the rights that an identity provider gives somebody now."""
        self._check_label(clearance)
        after = replace(before, roles=roles, clearance=clearance)
        values = {"roles": " ".join(sorted(roles)), "clearance": str(clearance)}
        connection.execute(principals.update().where(principals.c.id == before.id).values(values))
        self._rights.acts.record(
            "principal.changed",
            None,
            subject=before.pseudonym,
            before=state_digest(before),
            after=state_digest(after),
            provider=provider,
        )
        return after

    def insert_tenant(self, connection: sa.Connection, actor: Principal | None, name: str) -> str:
        """Write and record a new tenant without asking for rights; its id. Raises Conflict."""
        name = checked_name(name)
        if connection.execute(sa.select(tenants.c.id).where(tenants.c.name == name)).first():
            raise Conflict("There is a tenant of that name.", "Choose another.")
        id = "t" + identifier(self._random)
        connection.execute(tenants.insert().values(id=id, name=name))
        self._rights.acts.record("tenant.created", actor, tenant=id)
        return id

    def _update(
        self,
        actor: Caller,
        before: Principal,
        act: str,
        *,
        roles: frozenset[str] | None = None,
        clearance: Label | None = None,
        disabled: bool = False,
    ) -> Principal:
        with self._database.write() as connection:
            after = self.write(
                connection,
                before.id,
                roles=roles,
                clearance=clearance,
                disabled=disabled or None,
            )
            self._rights.acts.record(
                act,
                actor.principal,
                subject=before.pseudonym,
                before=state_digest(before),
                after=state_digest(after),
            )
        return after

    def _free_name(self, connection: sa.Connection, name: str) -> str:
        name = checked_name(name)
        if connection.execute(sa.select(principals.c.id).where(principals.c.name == name)).first():
            raise Conflict("That name cannot be used: it is taken.", "Choose another.")
        return name

    def _one(self, condition: sa.ColumnElement[bool]) -> Principal:
        with self._database.read() as connection:
            row = connection.execute(sa.select(principals).where(condition)).first()
        if row is None:
            raise _nobody()
        return self.read(row)

    def colleague(self, actor: Caller, name: str) -> Principal:
        """The principal of the actor's own tenant called ``name``. Raises NotFound."""
        found = self.named(name)
        if found.tenant != actor.principal.tenant:
            raise _nobody()
        return found

    def tenant(self, actor: Caller, name: str) -> str:
        """The id of the tenant called ``name``. For the owner only. Raises Refused, NotFound."""
        with self._database.read() as connection:
            return self._tenant(connection, actor, name)

    def tenant_name(self, id: str) -> str:
        """What people call a tenant. Raises NotFound."""
        with self._database.read() as connection:
            query = sa.select(tenants.c.name).where(tenants.c.id == id)
            name: str | None = connection.execute(query).scalar()
        if name is None:
            raise NotFound("There is no such tenant.", "Create it first.")
        return name

    def _tenant(self, connection: sa.Connection, actor: Caller, name: str) -> str:
        _owner_only(actor)
        name = known_name(name)
        query = sa.select(tenants.c.id).where(sa.or_(tenants.c.name == name, tenants.c.id == name))
        id: str | None = connection.execute(query).scalar()
        if id is None:
            raise NotFound("There is no tenant of that name.", "Create it first.")
        return id

    def _may_grant(self, actor: Caller, roles: frozenset[str], label: Label) -> None:
        self._check_label(label)
        if "owner" in actor.principal.roles:
            return
        if "owner" in roles or not actor.principal.clearance.dominates(label):
            raise Refused(
                "You cannot give rights that you do not have yourself.",
                "Ask the owner of the installation.",
            )

    def _check_label(self, label: Label) -> None:
        clearance(label)
        if label.policy.scale != self._country.policy.scale:
            raise Invalid(
                f"A clearance here is of a label policy of country pack {self._country.id}.",
                "Give one of its levels.",
            )


def _end_access(connection: sa.Connection, id: str, now: str) -> None:
    for table in (sessions, links, sign_in_steps):
        connection.execute(table.delete().where(table.c.principal == id))
    for table in (keys, certificates):
        mine = sa.and_(table.c.principal == id, table.c.revoked.is_(None))
        connection.execute(table.update().where(mine).values(revoked=now))


def state_digest(principal: Principal) -> str:
    """What the ledger says of a principal's rights, before or after a change."""
    # The random id, which the ledger never shows, keeps anyone from guessing what this hides.
    return digest(
        {
            "id": principal.id,
            "tenant": principal.tenant,
            "kind": principal.kind,
            "roles": sorted(principal.roles),
            "clearance": str(principal.clearance),
            "disabled": int(principal.disabled),
        }
    )


def _roles(roles: Iterable[str]) -> frozenset[str]:
    wanted = frozenset(_known(role, ROLES, "role") for role in roles)
    if not wanted:
        raise Invalid("A principal needs a role.", f"Roles: {', '.join(sorted(ROLES))}.")
    return wanted


def _known(word: str, words: frozenset[str], what: str) -> str:
    if word not in words:
        raise Invalid(
            f"There is no {what} {word[:40]!r}.", f"There are: {', '.join(sorted(words))}."
        )
    return word


def _owner_only(actor: Caller) -> None:
    if "owner" not in actor.principal.roles:
        raise Refused("Only the owner of the installation may do this.", "Ask the owner.")


def _nobody() -> NotFound:
    return NotFound("There is nobody of that name.", "`casemate user list` shows who there is.")
