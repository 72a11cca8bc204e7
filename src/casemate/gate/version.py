"""Versions: a use case's terms as they were proposed, decided about and kept.

Functions of one open transaction, for ``gate.register``: they ask for no rights and record nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from casemate.gate.screening import Answer
from casemate.gate.usecase import Terms, UseCase, canonical, parsed
from casemate.store.tables import use_case_decisions, use_case_versions, use_cases

if TYPE_CHECKING:
    from casemate.gate.country import Country

PROPOSED, IN_FORCE, REPLACED, WITHDRAWN = "proposed", "in force", "replaced", "withdrawn"


class Proposal(msgspec.Struct, frozen=True):
    """One version of a use case as it was proposed."""

    version: int
    state: str  # proposed | in force | replaced | withdrawn
    proposed_by: str  # id
    proposed: str
    terms: Terms
    answers: tuple[Answer, ...]


class Step(msgspec.Struct, frozen=True):
    """What somebody decided about a use case, and why."""

    version: int
    state: str
    principal: str  # id
    reason: str
    decided: str


def put(
    connection: sa.Connection,
    use_case: str,
    proposal: Proposal,
    nonce: bytes,
) -> None:
    """Keep a version; ``nonce`` opens the commitment to its answers."""
    connection.execute(
        use_case_versions.insert().values(
            use_case=use_case,
            version=proposal.version,
            terms=canonical(proposal.terms),
            state=proposal.state,
            proposed_by=proposal.proposed_by,
            proposed=proposal.proposed,
            answers=msgspec.json.encode(proposal.answers).decode(),
            answers_nonce=nonce,
        )
    )


def get(connection: sa.Connection, country: Country, use_case: str, version: int) -> Proposal:
    """One version that there is."""
    query = sa.select(use_case_versions).where(
        use_case_versions.c.use_case == use_case, use_case_versions.c.version == version
    )
    return _proposal(country, connection.execute(query).one())


def everything(
    connection: sa.Connection, country: Country, use_case: str
) -> tuple[tuple[Proposal, ...], tuple[Step, ...]]:
    """All versions and all decisions, oldest first."""
    versions = connection.execute(
        sa.select(use_case_versions)
        .where(use_case_versions.c.use_case == use_case)
        .order_by(use_case_versions.c.version)
    ).all()
    decisions = connection.execute(
        sa.select(use_case_decisions)
        .where(use_case_decisions.c.use_case == use_case)
        .order_by(use_case_decisions.c.id)
    ).all()
    steps = (
        Step(row.version, row.state, row.principal, row.reason, row.decided) for row in decisions
    )
    return tuple(_proposal(country, row) for row in versions), tuple(steps)


def following(connection: sa.Connection, use_case: str) -> int:
    """The number of the next version."""
    query = sa.select(sa.func.max(use_case_versions.c.version)).where(
        use_case_versions.c.use_case == use_case
    )
    return int(connection.execute(query).scalar() or 0) + 1


def withdraw_proposed(connection: sa.Connection, use_case: str) -> None:
    """What was proposed and is not in force is set aside."""
    connection.execute(
        use_case_versions.update().where(*_proposed(use_case)).values(state=WITHDRAWN)
    )


def drop_proposed(connection: sa.Connection, use_case: str) -> None:
    """A draft that is changed is written over: nothing was ever done under it."""
    connection.execute(use_case_versions.delete().where(*_proposed(use_case)))


def take(connection: sa.Connection, use_case: str, wanted: Proposal, approver: str) -> None:
    """Put a version into force, in place of the one before."""
    this = use_case_versions.c.use_case == use_case
    for where, state in (
        (use_case_versions.c.state == IN_FORCE, REPLACED),
        (use_case_versions.c.version == wanted.version, IN_FORCE),
    ):
        connection.execute(use_case_versions.update().where(this, where).values(state=state))
    connection.execute(
        use_cases.update()
        .where(use_cases.c.id == use_case)
        .values(
            state="approved",
            approved_by=approver,
            version=wanted.version,
            proposed_by=wanted.proposed_by,
            **columns(wanted.terms),
        )
    )


def value(country: Country, row: sa.Row[Any]) -> UseCase:
    """A row of ``SELECT`` as a use case."""
    plain = {name: getattr(row, name) for name in Terms.__dataclass_fields__}
    for name in _AS_JSON:
        plain[name] = None if plain[name] is None else json.loads(plain[name])
    terms = parsed(country, plain)
    return UseCase(
        id=row.id,
        tenant=row.tenant,
        owner=row.owner,
        state=row.state,
        version=row.version,
        pending=row.pending,
        proposed_by=row.proposed_by or row.owner,
        **{name: getattr(terms, name) for name in Terms.__dataclass_fields__},
    )


def columns(terms: Terms) -> dict[str, Any]:
    """Terms as columns of the table of use cases."""
    plain = terms.plain()
    for name in _AS_JSON:
        plain[name] = None if plain[name] is None else json.dumps(plain[name])
    return plain


_AS_JSON: Sequence[str] = ("models", "collections", "quota")
SELECT = sa.select(
    use_cases,
    sa.select(use_case_versions.c.version)
    .where(use_case_versions.c.use_case == use_cases.c.id, use_case_versions.c.state == PROPOSED)
    .scalar_subquery()
    .label("pending"),
)
ONE = SELECT.where(
    use_cases.c.id == sa.bindparam("id"), use_cases.c.tenant == sa.bindparam("tenant")
)


def _proposed(use_case: str) -> tuple[sa.ColumnElement[bool], ...]:
    return use_case_versions.c.use_case == use_case, use_case_versions.c.state == PROPOSED


def _proposal(country: Country, row: sa.Row[Any]) -> Proposal:
    # What was registered before there was a screening has no answers.
    answers = msgspec.json.decode(row.answers or "[]", type=tuple[Answer, ...])
    terms = parsed(country, json.loads(row.terms))
    return Proposal(row.version, row.state, row.proposed_by, row.proposed, terms, answers)
