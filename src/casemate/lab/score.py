"""Scores: how well questions with known answers are answered.

A question file names for each question the documents and words that answer it, or that nothing
does. Half of the demo's questions were there to tune the ``quote`` engine; the other half was held
out of the fitting, not out of sight.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from casemate.errors import Invalid
from casemate.reasoning.event import Answer, Finished, Request

if TYPE_CHECKING:
    from casemate.library.document import Hit
    from casemate.reasoning.event import Event


class Gold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document and the words in it that answer."""

    document: str
    quote: str


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question with what answers it; without ``gold`` nothing does."""

    id: str
    language: str
    split: str  # tuning | held-out
    text: str
    gold: tuple[Gold, ...] = ()
    answerable: bool = True


class _File(msgspec.Struct):
    question: tuple[Question, ...]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one question."""

    question: Question
    rank: int | None  # of the first gold document among the documents found, from 1
    answered: bool
    quotes: int
    verbatim: int
    right: bool  # every gold quotation is (in) what was quoted


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Figures over a set of questions; shares are 0…1, None where nothing was counted."""

    questions: int
    answerable: int
    recall_at_1: float | None
    recall_at_5: float | None
    verbatim: float | None
    right: float | None
    silent_rightly: float | None  # "no answer" for those that have none
    silent_wrongly: float | None  # "no answer" for those that have one


def questions(raw: bytes) -> tuple[Question, ...]:
    """Parse a question file (TOML). Raises Invalid."""
    try:
        return msgspec.toml.decode(raw, type=_File).question
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Invalid(f"The question file is not valid: {problem}.", "Correct it.") from None


async def outcome_of(
    question: Question,
    *,
    search: Callable[[str], Sequence[Hit]],
    ask: Callable[[Request], AsyncIterator[Event]],
    text: Callable[[str], str],
) -> Outcome:
    """Search and ask one question. ``text`` gives a document's text by id."""
    documents = list(dict.fromkeys(hit.passage.document_name for hit in search(question.text)))
    gold = {one.document for one in question.gold}
    rank = next((place for place, name in enumerate(documents, 1) if name in gold), None)
    answer: Answer | None = None
    async for event in ask(Request(question=question.text)):
        if isinstance(event, Finished):
            answer = event.answer
    if answer is None:
        raise Invalid("A question ended without an answer.", "Look at the run.")
    verbatim = sum(
        text(answer.sources[one.source].document_id)[one.start : one.end] == one.quote
        for one in answer.citations
    )
    said = _plain(" ".join(one.quote for one in answer.citations))
    return Outcome(
        question=question,
        rank=rank,
        answered=bool(answer.citations),
        quotes=len(answer.citations),
        verbatim=verbatim,
        right=bool(question.gold) and all(_holds(answer, said, one) for one in question.gold),
    )


def scores(outcomes: Sequence[Outcome]) -> Scores:
    """The figures over ``outcomes``."""
    having = [one for one in outcomes if one.question.gold]
    lacking = [one for one in outcomes if not one.question.gold]
    quotes = sum(one.quotes for one in outcomes)
    return Scores(
        questions=len(outcomes),
        answerable=len(having),
        recall_at_1=_share([one.rank == 1 for one in having]),
        recall_at_5=_share([one.rank is not None and one.rank <= 5 for one in having]),
        verbatim=sum(one.verbatim for one in outcomes) / quotes if quotes else None,
        right=_share([one.right for one in having]),
        silent_rightly=_share([not one.answered for one in lacking]),
        silent_wrongly=_share([not one.answered for one in having]),
    )


def _holds(answer: Answer, said: str, gold: Gold) -> bool:
    wanted = _plain(gold.quote)
    if wanted in said:
        return True
    # A gold quotation may be longer than the sentence that answers: then the sentence is in it.
    return any(
        _plain(one.quote) in wanted and answer.sources[one.source].document == gold.document
        for one in answer.citations
    )


def _plain(text: str) -> str:
    return " ".join(text.split())


def _share(values: list[bool]) -> float | None:
    return sum(values) / len(values) if values else None
