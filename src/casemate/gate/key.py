"""API keys: ``cm_<id>_<secret>``, shown once, kept as a hash, expiring, revocable.

The prefix lets scanners recognise a leaked key; the id finds the row, so that the secret is only
ever compared, in constant time, and never searched for.
"""

from __future__ import annotations

import hmac
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from casemate.at_hand import waits
from casemate.errors import Invalid, NotFound, Refused, Unauthenticated, Unavailable
from casemate.gate.acts import stamp
from casemate.gate.caller import Caller
from casemate.gate.memory import Memory
from casemate.gate.principal import Principal, Principals
from casemate.gate.right import Rights, installation
from casemate.gate.token import Random, fingerprint, identifier, secret
from casemate.store.database import Database
from casemate.store.tables import key_uses, keys, principals, use_cases

_FORM = re.compile(r"cm_([a-z2-7]{10})_([A-Za-z0-9_-]{43})")
_ABSENT = fingerprint("")  # compared with when there is no such key, so that the work is the same
_LONGEST_DAYS = 3660
_MOST_NOTED = 10_000


@dataclass(frozen=True)
class Key:
    """A key as it is listed: never its secret."""

    id: str
    principal: str  # name
    use_case: str | None
    created: str
    expires: str | None
    revoked: str | None
    last_used: str | None  # to within a minute


class Keys:
    """Makes, revokes and recognises API keys."""

    def __init__(
        self,
        database: Database,
        principals: Principals,
        rights: Rights,
        random: Random,
        memory: Memory,
    ) -> None:
        self._database = database
        self._principals = principals
        self._rights = rights
        self._random = random
        self._memory = memory
        self._noted: dict[str, datetime] = {}  # id → when its use was written last, by this process

    def create(
        self,
        actor: Caller,
        principal_name: str,
        *,
        use_case: str | None = None,
        days: int | None = None,
    ) -> tuple[str, str]:
        """A key's id and its text, which cannot be had again.

        For oneself, or by an administrator for somebody of the tenant with no higher rights.
        Raises Invalid, Refused, NotFound (principal or use case).
        """
        target = self._principals.colleague(actor, principal_name)
        self._rights.act_for(actor, target)
        if target.disabled:
            raise Refused("That principal is disabled.", "Create a key for another.")
        if days is not None and not 1 <= days <= _LONGEST_DAYS:
            raise Invalid(f"A key lives 1 to {_LONGEST_DAYS} days.", "Give fewer days, or none.")
        id, hidden = identifier(self._random, 10), secret(self._random)
        now = self._rights.acts.clock()
        with self._database.write() as connection:
            if use_case is not None:
                check_use_case(connection, use_case, target.tenant)
            connection.execute(
                keys.insert().values(
                    id=id,
                    principal=target.id,
                    use_case=use_case,
                    hash=fingerprint(hidden),
                    created=stamp(now),
                    expires=None if days is None else stamp(now + timedelta(days=days)),
                )
            )
            self._rights.acts.record(
                "key.created", actor.principal, key=id, subject=target.pseudonym
            )
        return id, f"cm_{id}_{hidden}"

    def revoke(self, actor: Caller, id: str) -> None:
        """End a key now. Revoking twice is no error. Raises Refused, NotFound."""
        holder = self._holder(id)
        target = None if holder is None else self._principals.by_id(holder)
        if target is None or target.tenant != actor.principal.tenant:
            raise _no_key()
        if actor.principal.id != target.id:
            # Ending access needs no more than the office: nobody gains by it.
            self._rights.administer(actor)
        with self._database.write() as connection:
            connection.execute(
                keys.update()
                .where(keys.c.id == id, keys.c.revoked.is_(None))
                .values(revoked=self._rights.acts.now())
            )
            self._rights.acts.record(
                "key.revoked", actor.principal, key=id, subject=target.pseudonym
            )

    def list(self, actor: Caller) -> list[Key]:
        """The tenant's keys for who administers it, one's own for others; newest first."""
        query = (
            sa.select(keys, principals.c.name, key_uses.c.last)
            .join(principals)
            .outerjoin(key_uses, key_uses.c.key == keys.c.id)
        )
        office = installation(actor.principal)
        if self._rights.decide(actor, "administer", office).allowed:
            query = query.where(principals.c.tenant == actor.principal.tenant)
        else:
            query = query.where(principals.c.id == actor.principal.id)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(keys.c.created.desc(), keys.c.id)).all()
        return [
            Key(r.id, r.name, r.use_case, r.created, r.expires, r.revoked, r.last) for r in rows
        ]

    def caller(self, text: str) -> Caller:
        """Who holds the key ``text``.

        Raises Unauthenticated, with one message for a key that is malformed, unknown, wrong,
        expired, revoked, or of a disabled principal.
        """
        form = _FORM.fullmatch(text)
        id, hidden = form.groups() if form else ("", "")
        held = self._held(id)
        stored = _ABSENT if held is None else held.hash
        right = hmac.compare_digest(fingerprint(hidden), stored)
        if form is None or held is None or not right:
            raise _unknown()
        if self._ended(held):
            raise _unknown()
        self._note(id)
        return Caller(held.holder, held.use_case, "key", credential=id)

    def stands(self, id: str) -> bool:
        """Whether the key of this id still opens anything."""
        held = self._held(id)
        return held is not None and not self._ended(held)

    def _ended(self, held: _Held) -> bool:
        # The clock is asked each time: a key expires without anybody changing anything.
        expired = held.expires is not None and held.expires <= self._rights.acts.now()
        return expired or held.revoked or held.holder.disabled

    def _held(self, id: str) -> _Held | None:
        try:
            return self._memory.recall(("key", id), lambda: self._read(id))
        except NotFound:
            # Not remembered, so that guesses do not push out what is. That a key is there shows in
            # the time then; its id is 50 random bits, which nobody tries out.
            return None

    def _read(self, id: str) -> _Held:
        with self._database.read() as connection:
            row = connection.execute(_HOLDER.params(id=id)).first()
        if row is None:
            raise _no_key()
        return _Held(
            row.key_hash,
            row.key_expires,
            row.key_revoked is not None,
            row.key_use_case,
            self._principals.read(row),
        )

    def _note(self, id: str) -> None:
        """Keep when a key was used: to the minute, so that a busy one costs a write a minute."""
        moment = self._rights.acts.clock()
        minute = moment.replace(second=0, microsecond=0)
        if self._noted.get(id) == minute:
            return
        now = stamp(moment)
        waits()
        if len(self._noted) > _MOST_NOTED:
            self._noted.clear()
        self._noted[id] = minute
        with suppress(Unavailable), self._database.write() as connection:
            # A disk that is full refuses what matters; when a key was used is not that.
            mine = key_uses.c.key == id
            if not connection.execute(key_uses.update().where(mine).values(last=now)).rowcount:
                connection.execute(key_uses.insert().values(key=id, last=now))

    def _holder(self, id: str) -> str | None:
        with self._database.read() as connection:
            query = sa.select(keys.c.principal).where(keys.c.id == id)
            holder: str | None = connection.execute(query).scalar()
            return holder


@dataclass(frozen=True)
class _Held:
    """A stored key with its holder: never the secret."""

    hash: str
    expires: str | None
    revoked: bool
    use_case: str | None
    holder: Principal


_HOLDER = (
    sa.select(
        principals,
        keys.c.hash.label("key_hash"),
        keys.c.expires.label("key_expires"),
        keys.c.revoked.label("key_revoked"),
        keys.c.use_case.label("key_use_case"),
    )
    .join(keys, keys.c.principal == principals.c.id)
    .where(keys.c.id == sa.bindparam("id"))
)


def check_use_case(connection: sa.Connection, use_case: str, tenant: str) -> None:
    """Raise NotFound unless ``tenant`` has the use case that something is to be bound to."""
    query = sa.select(use_cases.c.id).where(
        use_cases.c.id == use_case, use_cases.c.tenant == tenant
    )
    if connection.execute(query).first() is None:
        raise NotFound(
            "There is no use case of that name.", "`casemate usecase list` shows those there are."
        )


def _no_key() -> NotFound:
    return NotFound("There is no key of that id.", "`casemate key list` shows those there are.")


def _unknown() -> Unauthenticated:
    return Unauthenticated(
        "This API key is not valid here.",
        "Check that it is complete; if it is, ask for a new one: `casemate key create`.",
    )
