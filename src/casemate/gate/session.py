"""Sessions: a person who has signed in, by a one-time link, a password, or a directory.

Links and session tokens are 256 random bits, kept as hashes. A link works once, even when two
browsers open it at the same moment. An unknown name gets the same answer after the same work as a
wrong password (see ``attempts``). Who has a second factor shows it in a second step.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from casemate.errors import Refused, Unauthenticated
from casemate.gate.acts import stamp
from casemate.gate.attempts import Attempt, Attempts
from casemate.gate.caller import Caller
from casemate.gate.directory import Directory
from casemate.gate.identity import Accounts
from casemate.gate.local_account import LocalAccounts
from casemate.gate.name import known_name
from casemate.gate.password import Passwords
from casemate.gate.principal import Principal, Principals
from casemate.gate.right import Rights
from casemate.gate.second_factor import SecondFactors
from casemate.gate.token import Random, fingerprint, secret
from casemate.gate.uses import Uses
from casemate.store.database import Database
from casemate.store.tables import (
    links,
    principals,
    provisioned,
    session_uses,
    sessions,
    sign_in_steps,
)

_STEP_MINUTES = 5  # between the first factor and the second


class SecondStep(Unauthenticated):
    """The first factor was right, and a second is asked for; ``ticket`` says who that is."""

    def __init__(self, ticket: str) -> None:
        super().__init__(
            "A code is asked for as well.", "Type the code of your app, or a recovery code."
        )
        self.ticket = ticket


@dataclass(frozen=True)
class Origin:
    """The identity provider that a session was opened through.

    session, subject: hashes of the provider's own names for it and for the person. assurance:
    eIDAS level, if known. until: when the provider says that it ends at the latest.
    """

    provider: str
    session: str | None
    assurance: str | None
    subject: str | None = None
    second_factor: bool = False
    until: datetime | None = None


class Sessions:
    """Opens, recognises and ends sessions."""

    def __init__(
        self,
        database: Database,
        principals: Principals,
        rights: Rights,
        passwords: Passwords,
        random: Random,
        factors: SecondFactors,
        *,
        link_minutes: int,
        session_hours: int,
        idle_minutes: int,
    ) -> None:
        self._database = database
        self._principals = principals
        self._rights = rights
        self._random = random
        self._factors = factors
        self._attempts = Attempts(database, rights.acts, random)
        self._link_life = timedelta(minutes=link_minutes)
        self._session_life = timedelta(hours=session_hours)
        self._idle = timedelta(minutes=idle_minutes)
        self._uses = Uses(database, rights.acts, session_uses)
        self._local: Accounts = LocalAccounts(database, principals, passwords)
        self.directory: Directory | None = None  # one that knows people's passwords

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
        """A session token for a sign-in link.

        Raises Unauthenticated if it is used or too old; SecondStep.
        """
        hash, opened = fingerprint(token), None
        with self._database.write() as connection:
            row = connection.execute(sa.select(links).where(links.c.hash == hash)).first()
            # The delete decides: whoever's removes the row has the link, everyone else is late.
            used = connection.execute(links.delete().where(links.c.hash == hash)).rowcount
            if row is not None and used == 1 and row.expires > self._rights.acts.now():
                opened = self._enter(connection, row.principal, "link")
        if opened is not None:
            return _opened(opened)
        raise Unauthenticated(
            "This sign-in link was used already, or is too old.",
            "Get a new one: `casemate up` prints one, and administrators can make one for you.",
        )

    def sign_in(self, name: str, password: str, address: str = "") -> str:
        """A session token for a name and its password. ``address``: the IP that asks, if any.

        Raises Unauthenticated, with one message for an unknown name, a wrong password, and a
        name or an address that is closed for a while after failures; SecondStep; Unavailable if
        a directory is to be asked and is silent.
        """
        attempt = self._attempts.begin(name, address)
        with self._database.read() as connection:
            named = principals.c.name == known_name(name)
            row = connection.execute(sa.select(principals).where(named)).first()
        who, by = self._asked(self._local, attempt, name, password), "password"
        if who is None and self.directory is not None:
            # Nobody's password here is anybody's business there.
            theirs = row is None or not self._made_here(row.id)
            who = self._asked(self.directory if theirs else None, attempt, name, password)
            by = "directory"
        if who is None:
            self._attempts.failed(attempt, None if row is None else row.pseudonym)
            raise _not_opened()
        with self._database.write() as connection:
            if by == "password":
                _check_unchanged(connection, who.id, row)
            opened = self._enter(connection, who.id, by)
            if opened.second:
                # A right password is no reason to forget wrong codes.
                self._attempts.taken_back(connection, attempt)
            else:
                self._attempts.succeeded(connection, attempt)
        return _opened(opened)

    def complete(self, ticket: str, code: str, address: str = "") -> str:
        """A session token for who gave the first factor and now the second.

        Raises Unauthenticated, with one message for a wrong code, a used one, a ticket that is
        too old or none, and a name or address that is closed for a while.
        """
        hash = fingerprint(ticket)
        query = (
            sa.select(sign_in_steps, principals.c.name, principals.c.pseudonym)
            .join(principals)
            .where(sign_in_steps.c.hash == hash, principals.c.disabled.is_(None))
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None or row.expires <= self._rights.acts.now():
            raise _no_step()
        attempt = self._attempts.begin(row.name, address)
        used = self._factors.use(row.principal, code) if attempt.open_now else None
        if used is None:
            self._attempts.failed(attempt, row.pseudonym)
            raise _no_step()
        with self._database.write() as connection:
            # The delete decides, as with a link: one ticket opens one session.
            mine = sign_in_steps.c.hash == hash
            if connection.execute(sign_in_steps.delete().where(mine)).rowcount != 1:
                raise _no_step()
            self._attempts.succeeded(connection, attempt)
            return self._open(connection, row.principal, f"{row.by}+{used}", second_factor=True)

    def caller(self, session_token: str) -> Caller:
        """Who is signed in. Raises Unauthenticated if nobody is, or was idle for too long."""
        hash = fingerprint(session_token)
        row = self._holder(hash)
        idle_since = stamp(self._rights.acts.clock() - self._idle)
        if row is None or (row.session_used or row.session_begun) <= idle_since:
            raise Unauthenticated("You are not signed in, or no longer.", "Sign in again.")
        self._uses.note(hash)
        return Caller(
            self._principals.read(row),
            None,
            "session",
            credential=hash,
            assurance=row.session_assurance,
            second_factor=bool(row.session_factors),
        )

    def stands(self, hash: str) -> bool:
        """Whether the session of this fingerprint is still open: what it has begun is no idling."""
        return self._holder(hash) is not None

    def open_from(self, connection: sa.Connection, principal: str, origin: Origin) -> str:
        """A session token for whom a provider vouches, in the caller's transaction.

        Raises Unauthenticated if the principal is disabled.
        """
        both = origin.second_factor
        return self._open(connection, principal, "provider", origin, second_factor=both)

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

    def _holder(self, hash: str) -> sa.Row[Any] | None:
        with self._database.read() as connection:
            row = connection.execute(_HOLDER.params(hash=hash)).first()
        return None if row is None or row.session_ends <= self._rights.acts.now() else row

    def _asked(
        self, accounts: Accounts | None, attempt: Attempt, name: str, password: str
    ) -> Principal | None:
        """Whom ``accounts`` let in. They are asked as much whoever it is; None: pretend to."""
        if accounts is not None and attempt.open_now:
            return accounts.enter(name, password)
        known = accounts or self.directory
        if known is not None:
            known.pretend(name)
        return None

    def _made_here(self, principal: str) -> bool:
        query = sa.select(provisioned.c.id).where(provisioned.c.principal == principal)
        with self._database.read() as connection:
            return connection.execute(query).first() is None

    def _enter(self, connection: sa.Connection, principal: str, by: str) -> _Entered:
        """A session for who gave the first factor; or, where there is a second, a ticket."""
        if not self._factors.wanted(connection, principal):
            return _Entered(self._open(connection, principal, by), second=False)
        ticket, now = secret(self._random), self._rights.acts.clock()
        old = sign_in_steps.c.expires <= stamp(now)
        connection.execute(sign_in_steps.delete().where(old))
        connection.execute(
            sign_in_steps.insert().values(
                hash=fingerprint(ticket),
                principal=principal,
                by=by,
                expires=stamp(now + timedelta(minutes=_STEP_MINUTES)),
            )
        )
        return _Entered(ticket, second=True)

    def _open(
        self,
        connection: sa.Connection,
        principal: str,
        by: str,
        origin: Origin | None = None,
        *,
        second_factor: bool = False,
    ) -> str:
        token, now = secret(self._random), self._rights.acts.clock()
        who = self._principals.read(
            connection.execute(sa.select(principals).where(principals.c.id == principal)).one()
        )
        if who.disabled:
            raise Unauthenticated("You are not signed in, or no longer.", "Sign in again.")
        connection.execute(sessions.delete().where(sessions.c.expires <= stamp(now)))
        gone = session_uses.c.session.not_in(sa.select(sessions.c.hash))
        connection.execute(session_uses.delete().where(gone))
        ends = now + self._session_life
        if origin and origin.until:
            ends = min(ends, origin.until)
        connection.execute(
            sessions.insert().values(
                hash=fingerprint(token),
                principal=principal,
                created=stamp(now),
                expires=stamp(ends),
                provider=origin.provider if origin else None,
                provider_session=origin.session if origin else None,
                provider_subject=origin.subject if origin else None,
                assurance=origin.assurance if origin else None,
                second_factor=int(second_factor),
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
        sessions.c.created.label("session_begun"),
        sessions.c.assurance.label("session_assurance"),
        sessions.c.second_factor.label("session_factors"),
        session_uses.c.last.label("session_used"),
    )
    .join(sessions, sessions.c.principal == principals.c.id)
    .outerjoin(session_uses, session_uses.c.session == sessions.c.hash)
    .where(sessions.c.hash == sa.bindparam("hash"), principals.c.disabled.is_(None))
)


@dataclass(frozen=True)
class _Entered:
    """A session's token, or a ticket for the second step."""

    token: str
    second: bool


def _check_unchanged(connection: sa.Connection, id: str, before: sa.Row[Any] | None) -> None:
    """Refuse if the password is another by now: to check one takes a while."""
    query = sa.select(principals.c.password).where(principals.c.id == id)
    if before is None or connection.execute(query).scalar() != before.password:
        raise _not_opened()


def _opened(entered: _Entered) -> str:
    # Raised outside the transaction, which would otherwise take the ticket back.
    if entered.second:
        raise SecondStep(entered.token)
    return entered.token


def _not_opened() -> Unauthenticated:
    return Unauthenticated(
        "This name and password do not open a session.",
        "Check both. After several failures a name is closed for some minutes: wait, or ask an "
        "administrator for a sign-in link.",
    )


def _no_step() -> Unauthenticated:
    return Unauthenticated(
        "This code does not open a session.",
        "Each code works once. Wait for the next, or begin again; after several failures a name "
        "is closed for some minutes.",
    )
