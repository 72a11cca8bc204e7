"""The register: use cases in versions, and their life: draft → approved ⇄ suspended → retired.

Whoever registers or changes one proposes a version; a second person approves it. The version that
is in force stays so until another one is approved. Reasons and the answers of the screening are
kept; the ledger holds a commitment to each, which nothing but the kept nonce opens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from casemate.errors import Conflict, Invalid, NotFound, Refused
from casemate.gate import version
from casemate.gate.hours import Hours
from casemate.gate.label import Label
from casemate.gate.memory import Memory
from casemate.gate.policy import Decision
from casemate.gate.principal import Principal
from casemate.gate.right import Rights, installation
from casemate.gate.screening import Answer, Question, all_no, outstanding, screened
from casemate.gate.token import Random
from casemate.gate.usecase import Terms, UseCase, check, is_id, is_text
from casemate.gate.version import Proposal, Step
from casemate.ledger.receipt import commit
from casemate.store.database import Database
from casemate.store.tables import collections, use_case_decisions, use_cases

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.country import Country
    from casemate.gate.reach import Reaches

_FROM = {"approved": ("draft", "suspended"), "suspended": ("approved",)}


class UseCases:
    """Registers use cases and moves them through their life; each move is recorded."""

    def __init__(
        self,
        database: Database,
        country: Country,
        rights: Rights,
        reaches: Reaches,
        memory: Memory,
        random: Random,
    ) -> None:
        self._database = database
        self._country = country
        self._rights = rights
        self._reaches = reaches
        self._memory = memory
        self._random = random

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
        screening: Mapping[str, Any],
        collections: Iterable[str] | None = None,
        hours: Hours | None = None,
        quota: tuple[tuple[str, int], ...] = (),
        owner: Principal | None = None,
    ) -> UseCase:
        """A draft, for a second person to approve. ``collections`` are ids of the tenant's.

        Oversight "after" means that reviews can be recorded; nothing is held back for one.
        ``screening``: see ``gate.screening.screened``. ``owner``: who answers for it, of the
        tenant; None: the actor.
        Raises Invalid, Refused (also for a practice that AI Act Article 5 prohibits), NotFound
        (collection), Conflict (id), Unsupported (oversight "before").
        """
        self._rights.administer(actor)
        draft = UseCase(
            id=id,
            tenant=actor.principal.tenant,
            owner=(owner or actor.principal).id,
            purpose=purpose.strip(),
            legal_basis=legal_basis.strip(),
            risk=risk,
            models=tuple(models),
            collections=None if collections is None else tuple(collections),
            ceiling=ceiling,
            oversight=oversight,
            retention_days=retention_days,
            hours=hours,
            quota=quota,
            state="draft",
            proposed_by=actor.principal.id,
        )
        check(draft.id, draft, self._country)
        answers = screened(self._country.questions, screening, self._rights.acts.clock().date())
        with self._database.write() as connection:
            self.insert(connection, actor.principal, draft, answers)
            return self._of(connection, draft.tenant, id)

    def change(
        self, actor: Caller, id: str, terms: Terms, screening: Mapping[str, Any] | None = None
    ) -> UseCase:
        """Propose other terms; what is in force stays so until a second person approves them.

        A draft simply gets them. Terms that are already those of the proposal, or in force, change
        nothing. Without ``screening`` the answers given before go along, unless purpose, legal
        basis or risk is another one. Raises like ``register``; Conflict if it is retired.
        """
        self._rights.administer(actor)
        check(id, terms, self._country)
        today = self._rights.acts.clock().date()
        with self._database.write() as connection:
            found = self._of(connection, actor.principal.tenant, id)
            if found.state == "retired":
                raise _retired()
            last = self._last(connection, found)
            if screening is None and _same_purpose(last.terms, terms):
                answers = last.answers
            else:
                answers = screened(self._country.questions, screening or {}, today)
            if (terms, answers) == (last.terms, last.answers):
                return found
            _check_collections(connection, found.tenant, terms)
            if found.state == "draft":
                self._rewrite(connection, actor, found, terms, answers)
            else:
                version.withdraw_proposed(connection, id)
                number = version.following(connection, id)
                proposal = self._proposed(actor, number, terms, answers)
                self._keep(connection, actor.principal, found, proposal)
            return self._of(connection, found.tenant, id)

    def approve(
        self, actor: Caller, id: str, *, reason: str = "", expected: int | None = None
    ) -> UseCase:
        """Let people use it, in the proposed version if there is one.

        By a second person, who did not propose that version and may read every collection it
        names. ``expected``: the version that was looked at. Raises Refused, NotFound, Conflict.
        """
        with self._database.write() as connection:
            found = self._of(connection, actor.principal.tenant, id)
            self._rights.require(actor, "approve", found.resource())
            if found.pending is None:
                self._check_move(found, "approved")
            wanted = self._last(connection, found)
            if expected not in (None, wanted.version):
                raise Conflict(
                    f"Version {expected} of use case {id} is not the one to approve: it is "
                    f"{wanted.version} now.",
                    f"Look at it again: `casemate usecase show {id}`.",
                )
            self._rights.second_person(connection, actor, wanted.proposed_by)
            self._seen(connection, actor, found, wanted.terms)
            self._screened_for_today(found, wanted)
            version.take(connection, id, wanted, actor.principal.id)
            return self._decided(connection, actor, found, "approved", reason)

    def withdraw(self, actor: Caller, id: str, reason: str) -> UseCase:
        """Take a proposed change back; what is in force stays. Raises Refused, NotFound, Conflict.

        A draft is not withdrawn but retired.
        """
        with self._database.write() as connection:
            found = self._of(connection, actor.principal.tenant, id)
            self._rights.require(actor, "administer", found.resource())
            _check_reason(reason)
            if found.pending is None or found.state == "draft":
                raise Conflict("No change of this use case is proposed.", "There is nothing to do.")
            version.withdraw_proposed(connection, id)
            return self._decided(connection, actor, found, "withdrawn", reason)

    def suspend(self, actor: Caller, id: str, reason: str) -> UseCase:
        """Stop its use until it is approved again. Raises Invalid, Refused, NotFound, Conflict."""
        return self._end(actor, id, "suspended", reason)

    def retire(self, actor: Caller, id: str, reason: str) -> UseCase:
        """Stop its use for good. Raises Invalid, Refused, NotFound, Conflict."""
        return self._end(actor, id, "retired", reason)

    def list(self, actor: Caller) -> list[UseCase]:
        """Those of the actor's tenant, by id; for a bound key, its own. Raises Refused."""
        self._rights.require(actor, "read", installation(actor.principal))
        tenant = actor.principal.tenant
        found = self._memory.recall(("use cases", tenant), lambda: self._of_tenant(tenant))
        return [one for one in found if actor.use_case in (None, one.id)]

    def _of_tenant(self, tenant: str) -> tuple[UseCase, ...]:
        query = version.SELECT.where(use_cases.c.tenant == tenant).order_by(use_cases.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return tuple(version.value(self._country, row) for row in rows)

    def get(self, actor: Caller, id: str) -> UseCase:
        """One of the actor's tenant. Raises Refused, NotFound (also if it is another tenant's)."""
        if actor.use_case not in (None, id):
            raise _absent()
        found = self.of_tenant(actor.principal.tenant, id)
        self._rights.require(actor, "read", found.resource())
        return found

    def history(self, actor: Caller, id: str) -> tuple[tuple[Proposal, ...], tuple[Step, ...]]:
        """Its versions and what was decided about it, oldest first; for who administers it.

        Raises Refused, NotFound.
        """
        found = self.get(actor, id)
        self._rights.require(actor, "approve", found.resource())
        with self._database.read() as connection:
            return version.everything(connection, self._country, id)

    def latest(self, actor: Caller, id: str) -> Proposal:
        """What was proposed last, or what is in force; for who administers it.

        Raises Refused, NotFound.
        """
        found = self.get(actor, id)
        self._rights.require(actor, "administer", found.resource())
        with self._database.read() as connection:
            return self._last(connection, self._of(connection, found.tenant, id))

    def check_screening(self, screening: Mapping[str, Any]) -> None:
        """Raise what ``register`` would raise about these answers."""
        screened(self._country.questions, screening, self._rights.acts.clock().date())

    def not_prohibited(self, reason: str) -> dict[str, dict[str, str]]:
        """A screening that answers no, for this one reason, to every question of today."""
        return all_no(self._country.questions, reason, self._rights.acts.clock().date())

    def unanswered(self, proposal: Proposal) -> tuple[Question, ...]:
        """The questions about prohibited practices that apply today and it does not answer."""
        today = self._rights.acts.clock().date()
        return tuple(outstanding(self._country.questions, proposal.answers, today))

    def of_tenant(self, tenant: str, id: str) -> UseCase:
        """For the gate itself: no rights asked. As of now. Raises NotFound."""
        return self._memory.recall(("use case", tenant, id), lambda: self._read(tenant, id))

    def insert(
        self,
        connection: sa.Connection,
        actor: Principal | None,
        draft: UseCase,
        answers: tuple[Answer, ...],
    ) -> None:
        """Write and record it as it is, without asking for rights: for the gate itself."""
        if connection.execute(sa.select(use_cases.c.id).where(use_cases.c.id == draft.id)).first():
            raise Conflict("That use case id cannot be used: it is taken.", "Choose another.")
        _check_collections(connection, draft.tenant, draft)
        connection.execute(
            use_cases.insert().values(
                id=draft.id,
                tenant=draft.tenant,
                owner=draft.owner,
                state=draft.state,
                version=draft.version,
                proposed_by=draft.proposed_by,
                created=self._rights.acts.now(),
                **version.columns(draft),
            )
        )
        state = version.IN_FORCE if draft.state == "approved" else version.PROPOSED
        now = self._rights.acts.now()
        proposal = Proposal(1, state, draft.proposed_by, now, draft.terms, answers)
        self._keep(connection, actor, draft, proposal)

    def _read(self, tenant: str, id: str) -> UseCase:
        with self._database.read() as connection:
            return self._of(connection, tenant, id)

    def _keep(
        self,
        connection: sa.Connection,
        actor: Principal | None,
        found: UseCase,
        proposal: Proposal,
    ) -> None:
        nonce = self._random(32)
        version.put(connection, found.id, proposal, nonce)
        after = found.under(
            proposal.terms, version=proposal.version, proposed_by=proposal.proposed_by
        )
        # A first version is its own "before": there was none.
        first = after == found
        self._rights.acts.record(
            "use_case.registered" if first else "use_case.changed",
            actor,
            use_case=found.id,
            version=proposal.version,
            **({} if first else {"before": found.digest()}),
            after=after.digest(),
            screening=commit(nonce, msgspec.to_builtins(proposal.answers)),
        )

    def _rewrite(
        self,
        connection: sa.Connection,
        actor: Caller,
        found: UseCase,
        terms: Terms,
        answers: tuple[Answer, ...],
    ) -> None:
        version.drop_proposed(connection, found.id)
        proposal = self._proposed(actor, found.version, terms, answers)
        connection.execute(
            use_cases.update()
            .where(use_cases.c.id == found.id)
            .values(proposed_by=proposal.proposed_by, **version.columns(terms))
        )
        self._keep(connection, actor.principal, found, proposal)

    def _proposed(
        self, actor: Caller, number: int, terms: Terms, answers: tuple[Answer, ...]
    ) -> Proposal:
        now = self._rights.acts.now()
        return Proposal(number, version.PROPOSED, actor.principal.id, now, terms, answers)

    def _end(self, actor: Caller, id: str, state: str, reason: str) -> UseCase:
        with self._database.write() as connection:
            found = self._of(connection, actor.principal.tenant, id)
            self._rights.require(actor, "administer", found.resource())
            self._check_move(found, state)
            _check_reason(reason)
            if state == "retired":
                version.withdraw_proposed(connection, found.id)
            connection.execute(
                use_cases.update().where(use_cases.c.id == found.id).values(state=state)
            )
            return self._decided(connection, actor, found, state, reason)

    def _decided(
        self, connection: sa.Connection, actor: Caller, found: UseCase, state: str, reason: str
    ) -> UseCase:
        """Keep and record what was decided; what it is now."""
        after = self._of(connection, found.tenant, found.id)
        nonce, reason = self._random(32), reason.strip()
        connection.execute(
            use_case_decisions.insert().values(
                use_case=found.id,
                version=after.version,
                state=state,
                principal=actor.principal.id,
                reason=reason,
                nonce=nonce,
                decided=self._rights.acts.now(),
            )
        )
        self._rights.acts.record(
            f"use_case.{state}",
            actor.principal,
            use_case=found.id,
            version=after.version,
            before=found.digest(),
            after=after.digest(),
            reason=commit(nonce, reason),
        )
        return after

    def _check_move(self, found: UseCase, state: str) -> None:
        if found.state == "retired":
            raise _retired(state)
        if found.state not in _FROM.get(state, (found.state,)):
            raise Conflict(
                f"A use case that is {found.state} cannot become {state}.",
                "Look at its state first.",
            )

    def _seen(self, connection: sa.Connection, actor: Caller, found: UseCase, terms: Terms) -> None:
        hidden = self._reaches.unreadable(connection, actor, terms.collections or ())
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

    def _screened_for_today(self, found: UseCase, wanted: Proposal) -> None:
        open_questions = self.unanswered(wanted)
        if open_questions:
            ids = ", ".join(question.id for question in open_questions)
            raise Conflict(
                f"Use case {found.id} does not answer what applies by now about prohibited "
                f"practices: {ids}.",
                f"Answer it: `casemate usecase change {found.id} --answers FILE`.",
            )

    def _last(self, connection: sa.Connection, found: UseCase) -> Proposal:
        """What was proposed last, or what is in force."""
        number = found.pending or found.version
        return version.get(connection, self._country, found.id, number)

    def _of(self, connection: sa.Connection, tenant: str, id: str) -> UseCase:
        # What cannot be an id is not looked up: a database driver chokes on broken Unicode.
        row = (
            connection.execute(version.ONE.params(id=id, tenant=tenant)).first()
            if is_id(id)
            else None
        )
        if row is None:
            raise _absent()
        return version.value(self._country, row)


def _same_purpose(one: Terms, other: Terms) -> bool:
    return (one.purpose, one.legal_basis, one.risk) == (
        other.purpose,
        other.legal_basis,
        other.risk,
    )


def _check_reason(reason: str) -> None:
    if not is_text(reason.strip()):
        raise Invalid("This needs a reason.", "Say why in a sentence, with --reason.")


def _check_collections(connection: sa.Connection, tenant: str, terms: Terms) -> None:
    for id in terms.collections or ():
        query = sa.select(collections.c.id).where(
            collections.c.id == id, collections.c.tenant == tenant
        )
        if connection.execute(query).first() is None:
            raise NotFound(
                f"There is no collection with id {id[:64]!r} that you may use.",
                "`casemate collection list` shows those there are.",
            )


def _retired(state: str = "changed") -> Conflict:
    verb = "be changed" if state == "changed" else f"become {state}"
    return Conflict(f"A use case that is retired cannot {verb}.", "Register a new one.")


def _absent() -> NotFound:
    return NotFound(
        "There is no such use case that you may use.",
        "`casemate usecase list` shows those there are.",
    )
