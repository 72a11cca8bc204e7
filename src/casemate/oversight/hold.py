"""Legal holds: what must be kept, whoever asks to have it erased, while a hold covers it.

A hold covers a principal, a run or a collection. While it does, neither forgetting nor retention
erases what it covers. Placing and lifting are entries of the ledger; the reason is confidential,
and the entry only commits to it. Holds belong to who may audit, not to who administers: evidence
should not depend on those whom it may concern.

Source: Regulation (EU) 2016/679 (GDPR), Article 17(3)(b) and (e), 18(1)(c).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from casemate.errors import Conflict, Invalid, NotFound
from casemate.gate.right import installation
from casemate.ledger.receipt import NONCE_SIZE, canonical, commit
from casemate.store.database import Database
from casemate.store.keyring import Keyring
from casemate.store.tables import collections, forgettings, holds, principals, runs

if TYPE_CHECKING:
    from casemate.gate.admission import Gate
    from casemate.gate.caller import Caller

KINDS = ("principal", "run", "collection")
OPEN = "open"  # until it is lifted
_LONGEST_REASON = 2_000


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A hold as it is shown. Of what one may not read, neither name nor reasons: then None."""

    id: str
    kind: str
    target: str | None  # a person's or collection's name, or the id of a run
    until: str  # the last day it holds, in UTC, or "open"
    placed: str
    lifted: str | None = None
    reason: str | None = None
    lift_reason: str | None = None


class Holds:
    """Places, lifts and lists holds, and says what they cover.

    ``collections_of``: names of the collections that a run's sources came from.
    """

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        gate: Gate,
        collections_of: Callable[[str], Collection[str]],
        *,
        new_id: Callable[[str], str],
        random: Callable[[int], bytes],
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._gate = gate
        self._collections_of = collections_of
        self._new_id = new_id
        self._random = random

    def place(self, caller: Caller, kind: str, target: str, reason: str, until: str) -> Hold:
        """Hold a principal's (by name), a run's (by id) or a collection's (by name) content.

        ``until``: the last day, YYYY-MM-DD in UTC, or "open". Raises Refused, Invalid for a bad
        reason or day, NotFound if the target is absent or hidden, Conflict if it is being
        forgotten.
        """
        self._gate.require(caller, "audit")
        day = self._day(until)
        target_id, shown, facts = self._target(caller, kind, target)
        id = self._new_id("h")
        sealed, commitment = self._seal(id, "reason", reason)
        now = self._gate.acts.now()
        with self._database.write() as connection:
            self._not_forgotten(connection, kind, target_id)
            connection.execute(
                holds.insert().values(
                    id=id,
                    tenant=caller.principal.tenant,
                    kind=kind,
                    target=target_id,
                    reason=sealed,
                    until=day,
                    placed_by=caller.principal.id,
                    placed=now,
                )
            )
            self._gate.acts.record(
                "hold.placed",
                caller.principal,
                hold=id,
                until=day or OPEN,
                reason=commitment,
                **facts,
            )
        return Hold(
            id=id, kind=kind, target=shown, until=day or OPEN, placed=now, reason=reason.strip()
        )

    def lift(self, caller: Caller, id: str, reason: str) -> Hold:
        """End a hold. Raises Refused, Invalid, NotFound, Conflict if it is lifted already."""
        self._gate.require(caller, "audit")
        if not self._rows(caller, id):
            raise NotFound("There is no such hold.", "`casemate hold list` shows those there are.")
        sealed, commitment = self._seal(id, "lift_reason", reason)
        now = self._gate.acts.now()
        with self._database.write() as connection:
            lifted = connection.execute(
                holds.update()
                .where(holds.c.id == id, holds.c.lifted.is_(None))
                .values(lifted=now, lift_reason=sealed)
            )
            if not lifted.rowcount:
                raise Conflict("This hold is lifted already.", "There is nothing left to do.")
            self._gate.acts.record("hold.lifted", caller.principal, hold=id, reason=commitment)
        return next(one for one in self.list(caller) if one.id == id)

    def list(self, caller: Caller) -> list[Hold]:
        """The tenant's holds, newest first; with their reasons for who may audit.

        That there is a hold is no secret, since it keeps people from erasing; what it holds is one
        to who may not read that. Raises Refused for who may neither audit nor administer.
        """
        office = installation(caller.principal)
        audits = self._gate.rights.decide(caller, "audit", office).allowed
        if not audits:
            self._gate.rights.administer(caller)
        rows = self._rows(caller)
        with self._database.read() as connection:
            names: dict[str, str] = {
                row.id: row.name
                for table in (principals, collections)
                for row in connection.execute(
                    sa.select(table.c.id, table.c.name).where(
                        table.c.id.in_([row.target for row in rows])
                    )
                )
            }
        hidden = self._hidden(caller, rows)
        return [
            Hold(
                id=row.id,
                kind=row.kind,
                target=None if row.id in hidden else names.get(row.target, row.target),
                until=row.until or OPEN,
                placed=row.placed,
                lifted=row.lifted,
                reason=self._text(row, "reason") if audits and row.id not in hidden else None,
                lift_reason=self._text(row, "lift_reason")
                if audits and row.id not in hidden
                else None,
            )
            for row in rows
        ]

    def _hidden(self, caller: Caller, rows: Sequence[sa.Row[Any]]) -> frozenset[str]:
        """Ids of the holds on what ``caller`` may not read."""
        readable = {reach.id for reach in self._gate.collections(caller)}
        query = sa.select(runs.c.id, runs.c.label).where(
            runs.c.id.in_([row.target for row in rows if row.kind == "run"])
        )
        policy, clearance = self._gate.country.policy, caller.principal.clearance
        with self._database.read() as connection:
            readable |= {
                run.id for run in connection.execute(query) if policy.readable(run.label, clearance)
            }
        return frozenset(
            row.id for row in rows if row.kind != "principal" and row.target not in readable
        )

    # What is covered; no rights asked

    def covering(self, connection: sa.Connection, candidates: Iterable[Any]) -> dict[str, str]:
        """Which of the runs in ``candidates`` (rows of ``runs``) a hold covers: run id → hold id.

        A hold on a collection covers the runs whose sources came from it.
        """
        active = self._active(connection)
        of: Mapping[str, Mapping[str, str]] = {
            kind: {row.target: row.id for row in active if row.kind == kind} for kind in KINDS
        }
        held_names = {}
        if of["collection"]:
            query = sa.select(collections.c.tenant, collections.c.name, collections.c.id)
            held_names = {
                (row.tenant, row.name): of["collection"][row.id]
                for row in connection.execute(query.where(collections.c.id.in_(of["collection"])))
            }
        covered = {}
        for run in candidates:
            hold = of["run"].get(run.id) or of["principal"].get(run.principal)
            if hold is None and held_names:
                used = ((run.tenant, name) for name in sorted(self._collections_of(run.id)))
                hold = next((held_names[one] for one in used if one in held_names), None)
            if hold is not None:
                covered[run.id] = hold
        return covered

    def against(
        self, connection: sa.Connection, principal: str, personal: Iterable[str]
    ) -> Sequence[str]:
        """Ids of the holds that forbid to forget ``principal``, who owns the collections
        ``personal`` (ids) alone."""
        targets = {principal, *personal}
        direct = {row.id for row in self._active(connection) if row.target in targets}
        own = connection.execute(sa.select(runs).where(runs.c.principal == principal)).all()
        return sorted(direct | set(self.covering(connection, own).values()))

    def erase_about(
        self, connection: sa.Connection, principal: str, personal: Iterable[str]
    ) -> int:
        """Destroy the reasons of ended holds on a principal and theirs; how many keys that were."""
        own = sa.select(runs.c.id).where(runs.c.principal == principal)
        mine = holds.c.target.in_([principal, *personal]) | holds.c.target.in_(own)
        ids = connection.execute(sa.select(holds.c.id).where(mine)).scalars().all()
        connection.execute(holds.update().where(mine).values(reason=None, lift_reason=None))
        return sum(self._keyring.retire(connection, _subject(id)) for id in ids)

    def _active(self, connection: sa.Connection) -> Sequence[sa.Row[Any]]:
        today = self._gate.acts.now()[:10]
        query = sa.select(holds).where(
            holds.c.lifted.is_(None), holds.c.until.is_(None) | (holds.c.until >= today)
        )
        return connection.execute(query.order_by(holds.c.id)).all()

    def _rows(self, caller: Caller, id: str | None = None) -> Sequence[sa.Row[Any]]:
        query = sa.select(holds).where(holds.c.tenant == caller.principal.tenant)
        if id is not None:
            query = query.where(holds.c.id == id)
        with self._database.read() as connection:
            return connection.execute(query.order_by(holds.c.placed.desc(), holds.c.id)).all()

    def _target(self, caller: Caller, kind: str, target: str) -> tuple[str, str, dict[str, str]]:
        """Its id, how it is shown, and what the ledger may hold of it."""
        if kind == "principal":
            person = self._gate.principals.colleague(caller, target)
            return person.id, person.name, {"subject": person.pseudonym}
        if kind == "collection":
            for reach in self._gate.collections(caller):
                if reach.name == target:
                    return reach.id, reach.name, {"collection": reach.id}
        if kind == "run":
            query = sa.select(runs.c.label).where(
                runs.c.id == target, runs.c.tenant == caller.principal.tenant
            )
            with self._database.read() as connection:
                label = connection.execute(query).scalar()
            if self._gate.country.policy.readable(label, caller.principal.clearance):
                return target, target, {"run": target}
        if kind not in KINDS:
            raise Invalid("That cannot be held.", f"Hold one of: {', '.join(KINDS)}.")
        raise NotFound(f"There is no such {kind} that you may see.", "Check how it is written.")

    def _not_forgotten(self, connection: sa.Connection, kind: str, target: str) -> None:
        asker = sa.select(runs.c.principal).where(runs.c.id == target).scalar_subquery()
        wanted = asker if kind == "run" else target
        query = sa.select(forgettings.c.principal).where(forgettings.c.principal == wanted)
        if kind != "collection" and connection.execute(query).first() is not None:
            raise Conflict("This person is forgotten.", "There is no content left to hold.")

    def _day(self, until: str) -> str | None:
        if until == OPEN:
            return None
        try:
            day = datetime.date.fromisoformat(until).isoformat()
        except ValueError:
            raise Invalid(
                f"{until[:40]!r} is not a day.", "Give YYYY-MM-DD, or “open” for no end."
            ) from None
        if day < self._gate.acts.now()[:10]:
            raise Invalid("That day is over.", "Give today or a later day, or “open”.")
        return day

    def _seal(self, id: str, field: str, reason: str) -> tuple[bytes, str]:
        reason = reason.strip()
        if not reason or len(reason) > _LONGEST_REASON:
            raise Invalid("A hold needs a reason.", f"Write 1 to {_LONGEST_REASON} characters.")
        nonce = self._random(NONCE_SIZE)
        sealed = self._keyring.seal(_subject(id), nonce + canonical(reason), about=f"{id}/{field}")
        return sealed, commit(nonce, reason)

    def _text(self, row: sa.Row[Any], field: str) -> str | None:
        sealed = getattr(row, field)
        if sealed is None:
            return None
        plain = self._keyring.open(_subject(row.id), sealed, about=f"{row.id}/{field}")
        return msgspec.json.decode(plain[NONCE_SIZE:], type=str)


def _subject(id: str) -> str:
    return f"hold/{id}"
