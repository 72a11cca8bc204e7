"""Second factors: what somebody has, beside what they know: an app with codes, or codes on paper.

The secret is sealed under its holder's data key; a code works once (RFC 6238, section 5.2), and a
recovery code too, of which only a hash is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from casemate.errors import NotFound, Refused, Unavailable
from casemate.gate import access, totp
from casemate.gate.principal import Principals
from casemate.gate.right import Rights
from casemate.gate.token import Random, fingerprint, identifier
from casemate.store.database import Database
from casemate.store.tables import recovery_codes, second_factors

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.store.keyring import Keyring

ISSUER = "Casemate"
_CODES = 10
_CODE_LENGTH = 25  # characters of five bits each: a plain hash keeps 112 bits or more (ASVS 6.5.2)


@dataclass(frozen=True)
class Enrolment:
    """What is shown once: the address for the app, and codes for the day it is lost."""

    address: str
    recovery_codes: tuple[str, ...]


class SecondFactors:
    """Enrols people, and checks their codes."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring | None,
        principals: Principals,
        rights: Rights,
        random: Random,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._principals = principals
        self._rights = rights
        self._random = random

    def enrol(self, actor: Caller, name: str) -> Enrolment:
        """Ask ``name`` for codes of a new secret from now on; sessions end, old codes too.

        For oneself, or by an administrator for somebody with no higher rights. Raises Refused,
        NotFound.
        """
        target = self._principals.colleague(actor, name)
        self._rights.act_for(actor, target)
        if target.kind != "person":
            raise Refused("A service does not sign in.", "Create a key for it.")
        secret = self._random(totp.SECRET_BYTES)
        codes = tuple(identifier(self._random, _CODE_LENGTH) for _ in range(_CODES))
        sealed = self._keys().seal(target.id, secret, about=_about(target.id))
        with self._database.write() as connection:
            self._forget(connection, target.id)
            connection.execute(
                second_factors.insert().values(
                    principal=target.id,
                    sealed=sealed,
                    last_step=0,
                    created=self._rights.acts.now(),
                )
            )
            connection.execute(
                recovery_codes.insert(),
                [{"hash": _kept(code), "principal": target.id} for code in codes],
            )
            access.end_sessions(connection, target.id)
            self._rights.acts.record(
                "second_factor.enrolled", actor.principal, subject=target.pseudonym
            )
        return Enrolment(totp.address(secret, ISSUER, target.name), tuple(map(_shown, codes)))

    def remove(self, actor: Caller, name: str) -> None:
        """Ask ``name`` for no second factor any more; sessions end. Raises Refused, NotFound."""
        target = self._principals.colleague(actor, name)
        self._rights.act_for(actor, target)
        with self._database.write() as connection:
            if not self._forget(connection, target.id):
                raise NotFound("There is no second factor to remove.", "Nothing has to be done.")
            access.end_sessions(connection, target.id)
            self._rights.acts.record(
                "second_factor.removed", actor.principal, subject=target.pseudonym
            )

    def wanted(self, connection: sa.Connection, principal: str) -> bool:
        """Whether this principal has one, and so has to show it."""
        query = sa.select(second_factors.c.principal).where(second_factors.c.principal == principal)
        return connection.execute(query).first() is not None

    def use(self, principal: str, typed: str) -> str | None:
        """Use up what was typed: "totp" or "recovery" if it is right and new; None if not."""
        plain = "".join(sign for sign in typed.lower() if sign.isalnum())
        with self._database.read() as connection:
            query = sa.select(second_factors.c.sealed).where(
                second_factors.c.principal == principal
            )
            sealed = connection.execute(query).scalar()
        if sealed is None:
            return None
        secret = self._keys().open(principal, sealed, about=_about(principal))
        step = totp.step_of(secret, plain, self._rights.acts.clock().timestamp())
        with self._database.write() as connection:
            mine = second_factors.c.principal == principal
            if step is not None:
                # Only forward: a code that was used, or one from before it, is of no use again.
                used = connection.execute(
                    second_factors.update()
                    .where(
                        mine, second_factors.c.last_step < step, second_factors.c.sealed == sealed
                    )
                    .values(last_step=step)
                )
                return "totp" if used.rowcount == 1 else None
            gone = connection.execute(
                recovery_codes.delete().where(
                    recovery_codes.c.principal == principal, recovery_codes.c.hash == _kept(plain)
                )
            )
            return "recovery" if gone.rowcount == 1 else None

    @staticmethod
    def _forget(connection: sa.Connection, principal: str) -> bool:
        connection.execute(recovery_codes.delete().where(recovery_codes.c.principal == principal))
        gone = connection.execute(
            second_factors.delete().where(second_factors.c.principal == principal)
        )
        return gone.rowcount > 0

    def _keys(self) -> Keyring:
        if self._keyring is None:
            raise Unavailable("This gate was opened without its keys.", "Open the installation.")
        return self._keyring


def _about(principal: str) -> str:
    return f"totp:{principal}"


def _kept(code: str) -> str:
    return fingerprint(code)  # 125 random bits: see ``token``


def _shown(code: str) -> str:
    return "-".join(code[start : start + 5] for start in range(0, len(code), 5))
