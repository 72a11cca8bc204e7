"""Federation: people whom somebody else vouches for, as principals of this installation.

Whoever checks the other's word (``oidc``) hands over an ``Assertion``; here it becomes a principal
and a session, or a refusal. The other's identifier of a person is kept as a hash only, of the
issuer and the identifier together, so that no provider can speak of another's people.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from casemate.errors import Conflict, Invalid
from casemate.gate import access
from casemate.gate.label import Label
from casemate.gate.principal import Principal, Principals
from casemate.gate.right import Rights
from casemate.gate.session import Origin, Sessions
from casemate.gate.sign_in_refusal import Barred, Unentitled
from casemate.store.database import Database
from casemate.store.tables import federated, principals, sessions, tenants


@dataclass(frozen=True)
class Assertion:
    """Who somebody is and may do, in the word of an issuer, already checked and translated.

    tenant: its name or id. assurance: eIDAS level of the means they signed in with, if known.
    session: the issuer's own name of the session there, if it gave one. called: what the issuer
    will call the person when it ends that session, where that is not ``subject``. until: when it
    says that the session ends at the latest.
    """

    provider: str
    issuer: str
    subject: str
    name: str
    tenant: str
    roles: frozenset[str]
    clearance: Label
    assurance: str | None = None
    session: str | None = None
    second_factor: bool = False
    called: str | None = None
    until: datetime | None = None


class Federation:
    """Makes and updates principals on somebody else's word, and opens and ends their sessions."""

    def __init__(
        self, database: Database, principals: Principals, sessions: Sessions, rights: Rights
    ) -> None:
        self._database = database
        self._principals = principals
        self._sessions = sessions
        self._rights = rights

    def sign_in(self, said: Assertion) -> str:
        """A session token for the person ``said`` is about.

        The first time makes the principal; later, roles and clearance follow what is said. The
        role of owner is never given nor taken by a provider. Raises Barred for who was disabled
        here, Unentitled for a tenant that does not exist or is not theirs.
        """
        with self._database.write() as connection:
            tenant = _tenant(connection, said.tenant)
            known = _known(connection, said.issuer, said.subject)
            if known is None:
                holder = self._made(connection, said, tenant)
            else:
                holder = self._updated(connection, self._principals.read(known), said, tenant)
            origin = Origin(
                said.provider,
                _hash(said.issuer, said.session),
                said.assurance,
                _hash(said.issuer, said.called or said.subject),
                said.second_factor,
                said.until,
            )
            return self._sessions.open_from(connection, holder.id, origin)

    def withdraw(self, provider: str, issuer: str, subject: str) -> None:
        """End what a provider no longer stands for: a person's sessions, links and keys.

        Nothing happens if nobody signed in here with that identity.
        """
        with self._database.write() as connection:
            known = _known(connection, issuer, subject)
            if known is None:
                return
            if access.end(connection, str(known.id), self._rights.acts.now()):
                self._rights.acts.record(
                    "access.withdrawn", None, subject=known.pseudonym, provider=provider
                )

    def end(
        self,
        connection: sa.Connection,
        provider: str,
        issuer: str,
        subject: str | None,
        session: str | None,
    ) -> int:
        """End the sessions that a provider says are over; how many there were.

        In the caller's transaction. ``subject``: what the provider calls the person when it says
        so. ``session`` None: all that they opened through this provider. Both: those of that
        session, if they are the subject's.
        """
        which = sessions.c.provider == provider
        if session is not None:
            which = sa.and_(which, sessions.c.provider_session == _hash(issuer, session))
        if subject is not None:
            which = sa.and_(which, sessions.c.provider_subject == _hash(issuer, subject))
        elif session is None:
            return 0
        holders = sa.select(principals.c.pseudonym).join(sessions).where(which).distinct()
        pseudonyms = connection.execute(holders).scalars().all()
        ended = connection.execute(sessions.delete().where(which)).rowcount
        for pseudonym in pseudonyms:
            self._rights.acts.record("session.ended", None, subject=pseudonym, provider=provider)
        return ended

    def _made(self, connection: sa.Connection, said: Assertion, tenant: str) -> Principal:
        made = None
        # A name is not an identity: whoever has it already keeps it.
        for name in (said.name, f"{said.name}@{said.provider}"):
            try:
                made = self._principals.insert(
                    connection, None, name, "person", said.roles, said.clearance, tenant=tenant
                )
                break
            except Conflict:
                continue
            except Invalid as problem:
                raise Unentitled(f"its name cannot be used ({problem.what})") from None
        if made is None:
            raise Unentitled("its name is taken here")
        connection.execute(
            federated.insert().values(
                identity=_hash(said.issuer, said.subject),
                principal=made.id,
                created=self._rights.acts.now(),
            )
        )
        self._rights.acts.record(
            "principal.linked", None, subject=made.pseudonym, provider=said.provider
        )
        return made

    def _updated(
        self, connection: sa.Connection, before: Principal, said: Assertion, tenant: str
    ) -> Principal:
        if before.disabled:
            raise Barred
        if before.tenant != tenant:
            raise Unentitled("it belongs to another tenant than before")
        roles = said.roles | (before.roles & {"owner"})
        if (roles, said.clearance) == (before.roles, before.clearance):
            return before
        return self._principals.restate(
            connection, before, roles=roles, clearance=said.clearance, provider=said.provider
        )


def _tenant(connection: sa.Connection, wanted: str) -> str:
    query = sa.select(tenants.c.id).where(sa.or_(tenants.c.name == wanted, tenants.c.id == wanted))
    found: str | None = connection.execute(query).scalar()
    if found is None:
        raise Unentitled("its tenant does not exist here")
    return found


def _known(
    connection: sa.Connection, issuer: str, subject: str
) -> sa.Row[tuple[object, ...]] | None:
    query = sa.select(principals).join(federated)
    return connection.execute(query.where(federated.c.identity == _hash(issuer, subject))).first()


def _hash(issuer: str, name: str | None) -> str | None:
    # An issuer is a URL, so it holds no line break: the two parts cannot run into each other.
    return None if name is None else hashlib.sha256(f"{issuer}\n{name}".encode()).hexdigest()
