"""Acts around use cases: registering, changing, deciding, looking."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from casemate.cli.acts import Item, act
from casemate.gate.hours import Hours
from casemate.gate.screening import applying
from casemate.gate.usecase import Terms, quota_of

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.usecase import UseCase
    from casemate.installation import Installation


@act("usecase.list")
async def usecase_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield use cases."""
    for use_case in installation.gate.use_cases.list(caller):
        yield shown(installation, caller, use_case)


@act("usecase.show")
async def usecase_show(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield one use case."""
    yield shown(installation, caller, installation.gate.use_cases.get(caller, arguments["id"]))


@act("usecase.history")
async def usecase_history(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield its versions with the answers of their screening, then what was decided."""
    use_cases = installation.gate.use_cases
    versions, steps = use_cases.history(caller, arguments["id"])
    for one in versions:
        yield {
            "version": one.version,
            "state": one.state,
            "by": _name(installation, one.proposed_by),
            "time": one.proposed,
            "terms": _terms(installation, caller, one.terms),
            "answers": {answer.question: answer.reason for answer in one.answers},
            "unanswered": [question.id for question in use_cases.unanswered(one)],
        }
    for step in steps:
        yield {
            "version": step.version,
            "state": step.state,
            "by": _name(installation, step.principal),
            "time": step.decided,
            "reason": step.reason,
        }


@act("usecase.questions")
async def usecase_questions(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the questions about prohibited practices, those that apply only later too."""
    country = installation.gate.country
    language = arguments.get("language") or "en"
    today = installation.gate.acts.clock().date()
    now = applying(country.questions, today)
    for question in country.questions:
        if question in now or question.since > today:
            yield {
                "id": question.id,
                "version": question.version,
                "article": question.article,
                "from": question.since.isoformat(),
                "applies": question in now,
                "text": question.text.get(language) or question.text["en"],
            }


@act("usecase.register")
async def usecase_register(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Register a draft."""
    gate = installation.gate
    policy = gate.country.policy
    ceiling, owner = arguments.get("ceiling"), arguments.get("owner")
    draft = gate.use_cases.register(
        caller,
        arguments["id"],
        purpose=arguments["purpose"],
        legal_basis=arguments["legal_basis"],
        risk=arguments["risk"],
        models=arguments.get("models") or ("quote",),
        ceiling=policy.parse(ceiling) if ceiling else policy.lowest(),
        oversight=arguments["oversight"],
        retention_days=arguments["retention_days"],
        screening=_screening(installation, arguments) or {},
        collections=_ids(installation, caller, arguments.get("collections")),
        hours=_hours(installation, arguments.get("hours")),
        quota=quota_of(arguments.get("quotas") or ()),
        owner=gate.principals.colleague(caller, owner) if owner else None,
    )
    yield shown(installation, caller, draft)


@act("usecase.change")
async def usecase_change(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Propose other terms; what is not named stays."""
    gate = installation.gate
    found = gate.use_cases.get(caller, arguments["id"])
    change: dict[str, Any] = {
        name: arguments[name]
        for name in ("purpose", "legal_basis", "risk", "oversight", "retention_days")
        if arguments.get(name) is not None
    }
    if arguments.get("models"):
        change["models"] = tuple(arguments["models"])
    if arguments.get("all_collections"):
        change["collections"] = None
    elif arguments.get("collections"):
        ids = _ids(installation, caller, arguments["collections"])
        change["collections"] = None if ids is None else tuple(ids)
    if arguments.get("ceiling"):
        change["ceiling"] = gate.country.policy.parse(arguments["ceiling"])
    if arguments.get("hours"):
        hours = arguments["hours"]
        change["hours"] = None if hours == "always" else _hours(installation, hours)
    if arguments.get("quotas"):
        change["quota"] = quota_of(arguments["quotas"])
    changed = gate.use_cases.change(
        caller,
        arguments["id"],
        replace(found.terms, **change),
        _screening(installation, arguments),
    )
    yield shown(installation, caller, changed)


@act("usecase.approve")
async def usecase_approve(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Approve a draft or a change, as a second person."""
    moved = installation.gate.use_cases.approve(
        caller,
        arguments["id"],
        reason=arguments.get("reason") or "",
        expected=arguments.get("version"),
    )
    yield shown(installation, caller, moved)


@act("usecase.withdraw")
async def usecase_withdraw(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Take a proposed change back."""
    reason = arguments["reason"]
    moved = installation.gate.use_cases.withdraw(caller, arguments["id"], reason)
    yield shown(installation, caller, moved)


@act("usecase.suspend")
async def usecase_suspend(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Suspend a use case."""
    reason = arguments["reason"]
    moved = installation.gate.use_cases.suspend(caller, arguments["id"], reason)
    yield shown(installation, caller, moved)


@act("usecase.retire")
async def usecase_retire(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Retire a use case."""
    reason = arguments["reason"]
    moved = installation.gate.use_cases.retire(caller, arguments["id"], reason)
    yield shown(installation, caller, moved)


def shown(installation: Installation, caller: Caller, use_case: UseCase) -> Item:
    """A use case as ``caller`` may see it."""
    return {
        "id": use_case.id,
        "state": use_case.state,
        "version": use_case.version,
        "pending": use_case.pending,
        **_terms(installation, caller, use_case),
    }


def _terms(installation: Installation, caller: Caller, terms: Terms) -> dict[str, Any]:
    readable = {one.id: one.name for one in installation.library.collections(caller)}
    named = terms.collections
    seen = None if named is None else [readable[id] for id in named if id in readable]
    return {
        "purpose": terms.purpose,
        "legal_basis": terms.legal_basis,
        "risk": terms.risk,
        "models": list(terms.models),
        "collections": seen,  # None: all
        "collections_hidden": len(named or ()) - len(seen or ()),
        "ceiling": str(terms.ceiling),
        "oversight": terms.oversight,
        "retention_days": terms.retention_days,
        "hours": None if terms.hours is None else str(terms.hours),
        "quota": dict(terms.quota),
    }


def _ids(installation: Installation, caller: Caller, names: Any) -> list[str] | None:
    if not names:
        return None
    return [installation.library.collection(caller, name).id for name in names]


def _hours(installation: Installation, text: str | None) -> Hours | None:
    return Hours.parse(text, installation.gate.country.time_zone) if text else None


def _screening(installation: Installation, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    answers: dict[str, Any] | None = arguments.get("answers")
    reason = arguments.get("not_prohibited")
    if not reason:
        return answers
    return installation.gate.use_cases.not_prohibited(reason) | (answers or {})


def _name(installation: Installation, id: str) -> str:
    return installation.gate.principals.by_id(id).name
