"""One's own account: which sessions are open, ending them, and changing one's password.

Ending those of others, for who administers, is here too.

Who changes a password shows the one of before, so that a browser left open gives nobody a way in
that lasts; guesses at it are counted like those at the sign-in page. OWASP ASVS 5.0, 6.2.3, 7.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from casemate.errors import Refused, Unauthenticated
from casemate.store.tables import principals, session_uses, sessions, sign_in_steps

if TYPE_CHECKING:
    from casemate.gate.attempts import Attempts
    from casemate.gate.caller import Caller
    from casemate.gate.password import Passwords
    from casemate.gate.principal import Principals
    from casemate.gate.right import Rights
    from casemate.store.database import Database


@dataclass(frozen=True)
class OpenSession:
    """A session of one's own. provider: it was opened through. this: it is the one that asks."""

    begun: str
    used: str
    ends: str
    provider: str | None
    second_factor: bool
    this: bool


class WrongPassword(Unauthenticated):
    """The password of before was not right, or its name is closed for a while."""

    def __init__(self) -> None:
        super().__init__(
            "That is not your present password.",
            "Type it again. After several failures it is not looked at for some minutes.",
        )


class OwnAccounts:
    """What people do with their own account."""

    def __init__(
        self,
        database: Database,
        principals: Principals,
        rights: Rights,
        passwords: Passwords,
        attempts: Attempts,
    ) -> None:
        self._database = database
        self._principals = principals
        self._rights = rights
        self._passwords = passwords
        self._attempts = attempts

    def sessions(self, caller: Caller) -> list[OpenSession]:
        """Those of the caller that are open, the one used last first."""
        query = (
            sa.select(sessions, session_uses.c.last)
            .outerjoin(session_uses, session_uses.c.session == sessions.c.hash)
            .where(
                sessions.c.principal == caller.principal.id,
                sessions.c.expires > self._rights.acts.now(),
            )
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        found = [
            OpenSession(
                row.created,
                row.last or row.created,
                row.expires,
                row.provider,
                bool(row.second_factor),
                row.hash == caller.credential,
            )
            for row in rows
        ]
        return sorted(found, key=lambda one: (one.used, one.begun), reverse=True)

    def end_others(self, caller: Caller) -> int:
        """End every session of the caller but the one that asks; how many there were.

        Raises Refused if the caller is in no session.
        """
        self._require_session(caller)
        others = sa.and_(
            sessions.c.principal == caller.principal.id, sessions.c.hash != caller.credential
        )
        with self._database.write() as connection:
            ended = connection.execute(sessions.delete().where(others)).rowcount
            if ended:
                self._rights.acts.record(
                    "session.ended", caller.principal, subject=caller.principal.pseudonym
                )
        return ended

    def sign_out(self, actor: Caller, name: str | None) -> int:
        """End every session of the colleague called ``name``, or of everybody in the tenant.

        For who administers; how many there were. What is half open ends too. Raises Refused,
        NotFound.
        """
        self._rights.administer(actor)
        whose = sa.select(principals.c.id).where(principals.c.tenant == actor.principal.tenant)
        if name is not None:
            target = self._principals.colleague(actor, name)
            whose = whose.where(principals.c.id == target.id)
        with self._database.write() as connection:
            theirs = (
                sa.select(principals.c.pseudonym)
                .join(sessions)
                .where(sessions.c.principal.in_(whose))
            )
            pseudonyms = connection.execute(theirs.distinct()).scalars().all()
            ended = connection.execute(
                sessions.delete().where(sessions.c.principal.in_(whose))
            ).rowcount
            connection.execute(sign_in_steps.delete().where(sign_in_steps.c.principal.in_(whose)))
            for pseudonym in pseudonyms:
                self._rights.acts.record("session.ended", actor.principal, subject=pseudonym)
        return ended

    def change_password(self, caller: Caller, before: str, after: str, address: str = "") -> None:
        """Set another password; every session ends, this one too.

        Raises WrongPassword; Invalid for one that is easy to guess; Refused for who has none, or
        is in no session.
        """
        self._require_session(caller)
        who = caller.principal
        with self._database.read() as connection:
            query = sa.select(principals.c.password).where(principals.c.id == who.id)
            stored: str | None = connection.execute(query).scalar()
        if stored is None:
            raise Refused(
                "This account has no password to change.",
                "Sign in as you did, or ask an administrator for a password.",
            )
        attempt = self._attempts.begin(who.name, address)
        if not self._passwords.verify(stored if attempt.open_now else None, before):
            self._attempts.failed(attempt, who.pseudonym)
            raise WrongPassword
        self._principals.set_password(caller, who.name, after)
        with self._database.write() as connection:
            self._attempts.taken_back(connection, attempt)

    @staticmethod
    def _require_session(caller: Caller) -> None:
        if caller.via != "session":
            raise Refused("This is for people who have signed in.", "Sign in to do it.")
