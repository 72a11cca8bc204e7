"""Use cases: the registered purposes for which AI may be used. No use case, no inference.

A use case is an AI system in the sense of Regulation (EU) 2024/1689 (AI Act): it has a purpose, a
legal basis, a risk class and human oversight. Its life: draft → approved ⇄ suspended → retired;
a second person approves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from casemate.errors import Conflict, Invalid, NotFound, Refused, Unsupported
from casemate.gate.acts import digest
from casemate.gate.country import RETENTION_FLOOR_DAYS
from casemate.gate.label import Label
from casemate.gate.policy import Decision, Resource
from casemate.gate.principal import Principal
from casemate.gate.right import Rights, installation
from casemate.store.database import Database
from casemate.store.tables import collections, use_cases

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.country import Country
    from casemate.gate.reach import Reaches

RISKS = ("minimal", "limited", "high")
OVERSIGHT = ("none", "after")
_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_LONGEST_RETENTION = 36_525  # days, a century
_FROM = {"approved": ("draft", "suspended"), "suspended": ("approved",)}


@dataclass(frozen=True)
class UseCase:
    """One registered purpose."""

    id: str
    tenant: str
    owner: str  # id of the principal who registered it
    purpose: str
    legal_basis: str
    risk: str
    models: tuple[str, ...]
    collections: tuple[str, ...] | None  # ids; None: every collection the asker may read
    ceiling: Label
    oversight: str
    retention_days: int
    state: str

    def resource(self) -> Resource:
        """What policies see of it."""
        return Resource("UseCase", self.id, self.tenant, self.owner)


class UseCases:
    """Registers use cases and moves them through their life; each move is recorded."""

    def __init__(
        self, database: Database, country: Country, rights: Rights, reaches: Reaches
    ) -> None:
        self._database = database
        self._country = country
        self._rights = rights
        self._reaches = reaches

    def register(
        self,
        actor: Caller,
        id: str,
        *,
        purpose: str,
        legal_basis: str,
        risk: str,
        models: Iterable[str],
        ceiling: Label,
        oversight: str,
        retention_days: int,
        collections: Iterable[str] | None = None,
    ) -> UseCase:
        """A draft, for a second person to approve. ``collections`` are ids of the tenant's.

        Oversight "after" means that reviews can be recorded; nothing is held back for one.
        Raises Invalid, Refused (also for a practice that AI Act Article 5 prohibits), NotFound
        (collection), Conflict (id), Unsupported (oversight "before").
        """
        self._rights.administer(actor)
        draft = UseCase(
            id,
            actor.principal.tenant,
            actor.principal.id,
            purpose.strip(),
            legal_basis.strip(),
            risk,
            tuple(models),
            None if collections is None else tuple(collections),
            ceiling,
            oversight,
            retention_days,
            "draft",
        )
        self._check(draft)
        with self._database.write() as connection:
            self.insert(connection, actor.principal, draft)
        return draft

    def approve(self, actor: Caller, id: str) -> UseCase:
        """Let people use it. By a second person, who may read every collection it names.

        Raises Refused, NotFound, Conflict.
        """
        with self._database.write() as connection:
            found = self._of(connection, actor.principal.tenant, id)
            self._rights.require(actor, "approve", found.resource())
            self._rights.second_person(connection, actor, found.owner)
            self._seen(connection, actor, found)
            return self._move(connection, actor, found, "approved")

    def suspend(self, actor: Caller, id: str) -> UseCase:
        """Stop its use until it is approved again. Raises Refused, NotFound, Conflict."""
        return self._end(actor, id, "suspended")

    def retire(self, actor: Caller, id: str) -> UseCase:
        """Stop its use for good. Raises Refused, NotFound, Conflict."""
        return self._end(actor, id, "retired")

    def list(self, actor: Caller) -> list[UseCase]:
        """Those of the actor's tenant, by id; for a bound key, its own. Raises Refused."""
        self._rights.require(actor, "read", installation(actor.principal))
        query = sa.select(use_cases).where(use_cases.c.tenant == actor.principal.tenant)
        if actor.use_case is not None:
            query = query.where(use_cases.c.id == actor.use_case)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(use_cases.c.id)).all()
        return [self._value(row) for row in rows]

    def get(self, actor: Caller, id: str) -> UseCase:
        """One of the actor's tenant. Raises Refused, NotFound (also if it is another tenant's)."""
        if actor.use_case not in (None, id):
            raise _absent()
        found = self.of_tenant(actor.principal.tenant, id)
        self._rights.require(actor, "read", found.resource())
        return found

    def of_tenant(self, tenant: str, id: str) -> UseCase:
        """For the gate itself: no rights asked. Raises NotFound."""
        with self._database.read() as connection:
            return self._of(connection, tenant, id)

    def insert(self, connection: sa.Connection, actor: Principal | None, draft: UseCase) -> None:
        """Write and record it as it is, without asking for rights: for the gate itself."""
        if connection.execute(sa.select(use_cases.c.id).where(use_cases.c.id == draft.id)).first():
            raise Conflict("That use case id cannot be used: it is taken.", "Choose another.")
        _check_collections(connection, draft)
        connection.execute(
            use_cases.insert().values(
                id=draft.id,
                tenant=draft.tenant,
                owner=draft.owner,
                purpose=draft.purpose,
                legal_basis=draft.legal_basis,
                risk=draft.risk,
                models=json.dumps(draft.models),
                collections=None if draft.collections is None else json.dumps(draft.collections),
                ceiling=str(draft.ceiling),
                oversight=draft.oversight,
                retention_days=draft.retention_days,
                state=draft.state,
                created=self._rights.acts.now(),
            )
        )
        self._rights.acts.record(
            "use_case.registered", actor, use_case=draft.id, after=_digest(draft)
        )

    def _seen(self, connection: sa.Connection, actor: Caller, found: UseCase) -> None:
        hidden = self._reaches.unreadable(connection, actor, found.collections or ())
        if not hidden:
            return
        decision = Decision(False, ("collections-you-may-not-read",), self._rights.policies.digest)
        try:
            self._rights.refuse(actor, "approve", found.resource(), decision)
        except Refused as refusal:
            number = "a collection" if hidden == 1 else f"{hidden} collections"
            raise Refused(
                f"You cannot approve what you may not see: use case {found.id} names {number} "
                "that you may not read.",
                "Ask somebody whose clearance covers all that it names, and who may read it.",
            ) from refusal

    def _end(self, actor: Caller, id: str, state: str) -> UseCase:
        with self._database.write() as connection:
            found = self._of(connection, actor.principal.tenant, id)
            self._rights.require(actor, "administer", found.resource())
            return self._move(connection, actor, found, state)

    def _move(
        self, connection: sa.Connection, actor: Caller, found: UseCase, state: str
    ) -> UseCase:
        if found.state == "retired" or found.state not in _FROM.get(state, (found.state,)):
            raise Conflict(
                f"A use case that is {found.state} cannot become {state}.",
                "Register a new one." if found.state == "retired" else "Look at its state first.",
            )
        change = {"state": state}
        if state == "approved":
            change["approved_by"] = actor.principal.id
        connection.execute(use_cases.update().where(use_cases.c.id == found.id).values(**change))
        moved = self._of(connection, found.tenant, found.id)
        self._rights.acts.record(
            f"use_case.{state}",
            actor.principal,
            use_case=found.id,
            before=_digest(found),
            after=_digest(moved),
        )
        return moved

    def _of(self, connection: sa.Connection, tenant: str, id: str) -> UseCase:
        # What cannot be an id is not looked up: a database driver chokes on broken Unicode.
        known = _ID.fullmatch(id) is not None
        row = connection.execute(_ONE.params(id=id, tenant=tenant)).first() if known else None
        if row is None:
            raise _absent()
        return self._value(row)

    def _value(self, row: sa.Row[Any]) -> UseCase:
        return UseCase(
            row.id,
            row.tenant,
            row.owner,
            row.purpose,
            row.legal_basis,
            row.risk,
            tuple(json.loads(row.models)),
            None if row.collections is None else tuple(json.loads(row.collections)),
            self._country.policy.parse(row.ceiling),
            row.oversight,
            row.retention_days,
            row.state,
        )

    def _check(self, draft: UseCase) -> None:
        if draft.risk == "prohibited":
            raise Refused(
                "Prohibited practices are not registered here (AI Act, Article 5).",
                "Do not use AI for this purpose.",
            )
        if draft.oversight == "before":
            raise Unsupported(
                "Oversight “before” is not built yet: no answer is held back for a review.",
                "Use “after”, with which people review what was answered, or “none”.",
            )
        # A rule in code: no pack and no setting goes below it.
        floor = max(RETENTION_FLOOR_DAYS, self._country.retention_floor_days)
        for wrong, what, advice in (
            (not _ID.fullmatch(draft.id),
             "That cannot be the id of a use case.",
             "Give lower-case letters, digits and hyphens, at most 64."),
            (not _is_text(draft.purpose), "A use case needs a purpose.",
             "Say in a sentence or two what it is for."),
            (not _is_text(draft.legal_basis), "A use case needs a legal basis.",
             "Name the law or the task that it serves."),
            (draft.risk not in RISKS, f"There is no risk class {draft.risk[:40]!r}.",
             f"There are: {', '.join(RISKS)}."),
            (draft.oversight not in OVERSIGHT, f"There is no oversight {draft.oversight[:40]!r}.",
             f"There are: {', '.join(OVERSIGHT)}."),
            (draft.risk == "high" and draft.oversight == "none",
             "A high-risk use case needs a person's oversight (AI Act, Article 26(2)).",
             "Choose oversight after: people review its runs."),
            (not draft.models, "A use case needs a model.", "Name at least one, e.g. quote."),
            (len(set(draft.models)) != len(draft.models), "A model is named twice.",
             "Name each once."),
            (draft.ceiling.policy.scale != self._country.policy.scale,
             f"A ceiling here is of a label policy of country pack {self._country.id}.",
             "Give one of its levels."),
            (not floor <= draft.retention_days <= _LONGEST_RETENTION,
             f"Use case {draft.id} would keep its records for {draft.retention_days} days; the "
             f"law asks for {floor} to {_LONGEST_RETENTION} (AI Act, Articles 19(1) and 26(6)).",
             f"Give at least {floor} days."),
        ):  # fmt: skip
            if wrong:
                raise Invalid(what, advice)


_ONE = sa.select(use_cases).where(
    use_cases.c.id == sa.bindparam("id"), use_cases.c.tenant == sa.bindparam("tenant")
)


def _check_collections(connection: sa.Connection, draft: UseCase) -> None:
    for id in draft.collections or ():
        query = sa.select(collections.c.id).where(
            collections.c.id == id, collections.c.tenant == draft.tenant
        )
        if connection.execute(query).first() is None:
            raise NotFound(
                f"There is no collection with id {id[:64]!r} that you may use.",
                "`casemate collection list` shows those there are.",
            )


def _absent() -> NotFound:
    return NotFound(
        "There is no such use case that you may use.",
        "`casemate usecase list` shows those there are.",
    )


def _is_text(text: str) -> bool:
    return 1 <= len(text) <= 4000 and not any("\ud800" <= sign <= "\udfff" for sign in text)


def _digest(use_case: UseCase) -> str:
    return digest(
        {
            "id": use_case.id,
            "tenant": use_case.tenant,
            "owner": use_case.owner,
            "purpose": use_case.purpose,
            "legal_basis": use_case.legal_basis,
            "risk": use_case.risk,
            "models": list(use_case.models),
            "collections": None if use_case.collections is None else list(use_case.collections),
            "ceiling": str(use_case.ceiling),
            "oversight": use_case.oversight,
            "retention_days": use_case.retention_days,
            "state": use_case.state,
        }
    )
