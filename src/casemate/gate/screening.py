"""Screening: whether what a use case is for is a practice that the law prohibits.

Source: Regulation (EU) 2024/1689 (AI Act), Article 5, as amended. The questions come from the
country pack, each with a version and the day from which it applies. Each is answered yes or no,
with a reason; one yes refuses. A later version of a question has to be answered anew.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from casemate.errors import Invalid, Refused

_LONGEST = 2_000  # characters of a reason


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """One practice, asked about: its article and the first day on which it is prohibited."""

    id: str
    version: int
    article: str
    since: datetime.date
    text: dict[str, str]  # by language


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No to one version of a question, and why: a yes is never kept, because it refuses."""

    question: str
    version: int
    reason: str


def applying(questions: Iterable[Question], day: datetime.date) -> list[Question]:
    """The questions that apply on ``day``, each in its newest version, in the pack's order."""
    newest: dict[str, Question] = {}
    for question in questions:
        known = newest.get(question.id)
        if question.since <= day and (known is None or known.version < question.version):
            newest[question.id] = question
    return list(newest.values())


def outstanding(
    questions: Iterable[Question], answers: Iterable[Answer], day: datetime.date
) -> list[Question]:
    """What applies on ``day`` and is not answered, or only in an older version."""
    answered = {answer.question: answer.version for answer in answers}
    return [
        question
        for question in applying(questions, day)
        if answered.get(question.id, 0) < question.version
    ]


def screened(
    questions: Iterable[Question], given: Mapping[str, Any], day: datetime.date
) -> tuple[Answer, ...]:
    """``given`` as answers: {question id: {"answer": "yes" | "no", "reason": text}}.

    A question that applies only later may be answered in advance. Raises Invalid naming what is
    missing, unknown or without a reason; Refused for a yes.
    """
    known = {question.id: question for question in applying(questions, datetime.date.max)}
    now = {question.id: question for question in applying(questions, day)}
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        raise Invalid(
            f"There is no question {unknown[0][:40]!r} in the screening.",
            f"There are: {', '.join(known)}.",
        )
    missing = [id for id in now if id not in given]
    if missing:
        raise Invalid(
            f"The screening for prohibited practices lacks answers: {', '.join(missing)}.",
            "Answer each with yes or no and a reason; `casemate usecase questions` shows them.",
        )
    # Of a question with a version to come, the one that applies today is answered.
    return tuple(
        _answer(now.get(id, question), given[id]) for id, question in known.items() if id in given
    )


def all_no(
    questions: Iterable[Question], reason: str, day: datetime.date
) -> dict[str, dict[str, str]]:
    """The same no, for the same reason, to every question that applies on ``day``."""
    return {one.id: {"answer": "no", "reason": reason} for one in applying(questions, day)}


def _answer(question: Question, given: object) -> Answer:
    plain = given if isinstance(given, Mapping) else {}
    answer, reason = plain.get("answer"), plain.get("reason")
    if answer not in ("yes", "no") or plain.keys() - {"answer", "reason"}:
        raise Invalid(
            f"Question {question.id!r} of the screening is answered with neither yes nor no.",
            'Write, for instance: { answer = "no", reason = "…" }.',
        )
    if answer == "yes":
        raise Refused(
            f"That is a prohibited practice (AI Act, Article {question.article}): "
            f"{question.text['en']}",
            "Do not use AI for this purpose.",
        )
    if (
        not isinstance(reason, str)
        or not 1 <= len(reason.strip()) <= _LONGEST
        or any("\ud800" <= sign <= "\udfff" for sign in reason)
    ):
        raise Invalid(
            f"The answer to question {question.id!r} of the screening has no reason.",
            f"Say in a sentence why not, in at most {_LONGEST:,} characters.",
        )
    return Answer(question.id, question.version, reason.strip())
