"""Sessions: a person who has signed in, by a one-time link or by password.

Links and session tokens are 256 random bits, kept as hashes. A link works once, even when two
browsers open it at the same moment. Passwords are met with growing pauses (OWASP ASVS 5.0, 6.3.1),
and an unknown name gets the same answer after the same work as a wrong password.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from casemate.errors import Refused, Unauthenticated
from casemate.gate.acts import stamp
from casemate.gate.caller import Caller
from casemate.gate.name import known_name
from casemate.gate.password import Passwords
from casemate.gate.principal import Principal, Principals
from casemate.gate.right import Rights
from casemate.gate.token import Random, fingerprint, secret
from casemate.store.database import Database
from casemate.store.tables import links, principals, sessions

_FREE_ATTEMPTS = 5  # then one minute, two, four, … between attempts
_LONGEST_PAUSE = timedelta(minutes=15)


@dataclass(frozen=True)
class Origin:
    """The identity provider that a session was opened through.

    session: hash of the provider's own name for it. assurance: eIDAS level, if known.
    """

    provider: str
    session: str | None
    assurance: str | None


class Sessions:
    """Opens, recognises and ends sessions."""

    def __init__(
        self,
        database: Database,
        principals: Principals,
        rights: Rights,
        passwords: Passwords,
        random: Random,
        *,
        link_minutes: int,
        session_hours: int,
    ) -> None:
        self._database = database
        self._principals = principals
        self._rights = rights
        self._passwords = passwords
        self._random = random
        self._link_life = timedelta(minutes=link_minutes)
        self._session_life = timedelta(hours=session_hours)

    def link_for(self, principal: Principal, *, actor: Caller | None = None) -> str:
        """A token that signs ``principal`` in once.

        ``actor`` None: the installation itself, which prints one at its start. Raises Refused.
        """
        if actor is not None:
            self._principals.colleague(actor, principal.name)
            self._rights.act_for(actor, principal)
        if principal.disabled or principal.kind != "person":
            raise Refused("Only a person who is not disabled can sign in.", "Choose another.")
        token, now = secret(self._random), self._rights.acts.clock()
        with self._database.write() as connection:
            connection.execute(links.delete().where(links.c.expires <= stamp(now)))
            connection.execute(
                links.insert().values(
                    hash=fingerprint(token),
                    principal=principal.id,
                    expires=stamp(now + self._link_life),
                )
            )
            self._rights.acts.record(
                "link.created",
                None if actor is None else actor.principal,
                subject=principal.pseudonym,
            )
        return token

    def redeem(self, token: str) -> str:
        """A session token for a sign-in link. Raises Unauthenticated if it is used or too old."""
        hash = fingerprint(token)
        with self._database.write() as connection:
            row = connection.execute(sa.select(links).where(links.c.hash == hash)).first()
            # The delete decides: whoever's removes the row has the link, everyone else is late.
            used = connection.execute(links.delete().where(links.c.hash == hash)).rowcount
            if row is not None and used == 1 and row.expires > self._rights.acts.now():
                return self._open(connection, row.principal, "link")
        raise Unauthenticated(
            "This sign-in link was used already, or is too old.",
            "Get a new one: `casemate up` prints one, and administrators can make one for you.",
        )

    def sign_in(self, name: str, password: str) -> str:
        """A session token for a name and its password.

        Raises Unauthenticated, with one message for an unknown name, a wrong password, and a
        name that is closed for a while after failures.
        """
        row, open_now = self._attempt(name)
        usable = row is not None and open_now and row.disabled is None
        right = self._passwords.verify(row.password if usable and row else None, password)
        if row is None or not usable or not right:
            raise Unauthenticated(
                "This name and password do not open a session.",
                "Check both. After several failures a name is closed for some minutes: wait, or "
                "ask an administrator for a sign-in link.",
            )
        with self._database.write() as connection:
            this = sa.and_(principals.c.id == row.id, principals.c.disabled.is_(None))
            connection.execute(
                principals.update().where(this).values(failures=0, locked_until=None)
            )
            return self._open(connection, row.id, "password")

    def caller(self, session_token: str) -> Caller:
        """Who is signed in. Raises Unauthenticated if nobody is."""
        with self._database.read() as connection:
            row = connection.execute(_HOLDER.params(hash=fingerprint(session_token))).first()
        if row is None or row.session_ends <= self._rights.acts.now():
            raise Unauthenticated("You are not signed in, or no longer.", "Sign in again.")
        return Caller(self._principals.read(row), None, "session", row.session_assurance)

    def open_from(self, connection: sa.Connection, principal: str, origin: Origin) -> str:
        """A session token for whom a provider vouches, in the caller's transaction.

        Raises Unauthenticated if the principal is disabled.
        """
        return self._open(connection, principal, "provider", origin)

    def provider_of(self, session_token: str) -> str | None:
        """The provider that a session was opened through; None for another, or none."""
        query = sa.select(sessions.c.provider).where(sessions.c.hash == fingerprint(session_token))
        with self._database.read() as connection:
            name: str | None = connection.execute(query).scalar()
            return name

    def sign_out(self, session_token: str) -> None:
        """End a session; no error if it has ended."""
        with self._database.write() as connection:
            connection.execute(
                sessions.delete().where(sessions.c.hash == fingerprint(session_token))
            )

    def _attempt(self, name: str) -> tuple[sa.Row[Any] | None, bool]:
        """The row of ``name``, and whether it may be tried now.

        The attempt is counted before the password is looked at: guesses sent all at once would
        otherwise all pass under the limit.
        """
        now = self._rights.acts.clock()
        with self._database.write() as connection:
            row = connection.execute(
                sa.select(principals).where(principals.c.name == known_name(name))
            ).first()
            if row is None or (row.locked_until is not None and row.locked_until > stamp(now)):
                # The same kind of write for a name that does not count: a commit that changes
                # nothing would be faster and tell which names exist.
                first = sa.select(sa.func.min(principals.c.id)).scalar_subquery()
                connection.execute(
                    principals.update()
                    .where(principals.c.id == first)
                    .values(failures=principals.c.failures)
                )
                return row, False
            failures = row.failures + 1
            connection.execute(
                principals.update()
                .where(principals.c.id == row.id)
                .values(failures=failures, locked_until=_pause_after(failures, now))
            )
            return row, True

    def _open(
        self, connection: sa.Connection, principal: str, by: str, origin: Origin | None = None
    ) -> str:
        token, now = secret(self._random), self._rights.acts.clock()
        who = self._principals.read(
            connection.execute(sa.select(principals).where(principals.c.id == principal)).one()
        )
        if who.disabled:
            raise Unauthenticated("You are not signed in, or no longer.", "Sign in again.")
        connection.execute(sessions.delete().where(sessions.c.expires <= stamp(now)))
        connection.execute(
            sessions.insert().values(
                hash=fingerprint(token),
                principal=principal,
                created=stamp(now),
                expires=stamp(now + self._session_life),
                provider=origin.provider if origin else None,
                provider_session=origin.session if origin else None,
                assurance=origin.assurance if origin else None,
            )
        )
        through = {"provider": origin.provider} if origin else {}
        if origin and origin.assurance:
            through["assurance"] = origin.assurance
        self._rights.acts.record("session.opened", who, by=by, **through)
        return token


_HOLDER = (
    sa.select(
        principals,
        sessions.c.expires.label("session_ends"),
        sessions.c.assurance.label("session_assurance"),
    )
    .join(sessions, sessions.c.principal == principals.c.id)
    .where(sessions.c.hash == sa.bindparam("hash"), principals.c.disabled.is_(None))
)


def _pause_after(failures: int, now: datetime) -> str | None:
    if failures < _FREE_ATTEMPTS:
        return None
    doublings = min(failures - _FREE_ATTEMPTS, 10)
    return stamp(now + min(timedelta(minutes=2**doublings), _LONGEST_PAUSE))
