"""Scores: the figures over a tiny file, worked out by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from casemate.errors import Invalid
from casemate.lab.score import Gold, Outcome, Question, outcome_of, questions, scores
from casemate.reasoning.event import Answer, Citation, Event, Finished, Request, Source

FILE = """
[[question]]
id = "en-1"
language = "en"
split = "tuning"
text = "How much is the dog tax?"
gold = [{document = "fees.md", quote = "The dog tax is 40 euros."}]

[[question]]
id = "en-2"
language = "en"
split = "held-out"
text = "How heavy is a zeppelin?"
answerable = false
"""
TEXT = "Fees. The dog tax is 40 euros. It is due."


def a_question(*gold: Gold) -> Question:
    return Question("q", "en", "tuning", "How much?", gold, bool(gold))


def an_answer(*quotes: tuple[int, int], document: str = "fees.md", said: str = "") -> Answer:
    source = Source(
        document_id="d1",
        document=document,
        digest="",
        collection="c",
        page=None,
        start=0,
        end=len(TEXT),
        title="",
        heading="",
        label="lu:unclassified",
        text=TEXT,
    )
    citations = tuple(
        Citation(number=1, source=0, start=start, end=end, quote=said or TEXT[start:end])
        for start, end in quotes
    )
    return Answer(text="", language="en", sentences=(), citations=citations, sources=(source,))


def outcome(question: Question, answer: Answer | None, *found: str) -> Outcome:
    async def ask(request: Request) -> AsyncIterator[Event]:
        assert request.question == question.text
        if answer is not None:
            yield Finished(run="r", outcome="answered", label="l", entry=1, answer=answer, steps=())

    def search(query: str) -> list[Any]:
        return [SimpleNamespace(passage=SimpleNamespace(document_name=name)) for name in found]

    return asyncio.run(outcome_of(question, search=search, ask=ask, text=lambda id: TEXT))


GOLD = Gold("fees.md", "The dog tax is 40 euros.")
AT = (TEXT.index("The dog"), TEXT.index(" It is"))


def test_a_file_of_questions_is_read() -> None:
    first, second = questions(FILE.encode())
    assert first.gold == (GOLD,)
    assert (second.gold, second.answerable, second.split) == ((), False, "held-out")


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"[[question]",
        b"[[question]]\nid = 'x'\n",
        FILE.encode() + b"typo = 1\n",
        FILE.replace('"en-1"', "1").encode(),
    ],
)
def test_a_file_that_is_not_one_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid, match="not valid"):
        questions(text)


def test_the_rank_counts_documents_and_not_passages() -> None:
    found = outcome(a_question(GOLD), an_answer(AT), "a.md", "a.md", "b.md", "fees.md", "b.md")
    assert found.rank == 3
    assert outcome(a_question(GOLD), an_answer(AT), "a.md").rank is None


def test_an_answer_is_right_when_the_gold_words_are_in_what_was_quoted() -> None:
    assert outcome(a_question(GOLD), an_answer(AT)).right
    assert outcome(a_question(GOLD), an_answer((0, len(TEXT)))).right
    assert not outcome(a_question(GOLD), an_answer((0, 5))).right
    assert not outcome(a_question(GOLD), an_answer()).right


def test_a_quotation_inside_a_longer_gold_one_is_right_in_that_document_only() -> None:
    part = (AT[0], AT[1] - 10)
    assert outcome(a_question(GOLD), an_answer(part)).right
    assert not outcome(a_question(GOLD), an_answer(part, document="other.md")).right


def test_every_gold_quotation_of_a_compound_question_is_needed() -> None:
    both = a_question(GOLD, Gold("fees.md", "It is due."))
    assert not outcome(both, an_answer(AT)).right
    assert outcome(both, an_answer(AT, (TEXT.index("It"), len(TEXT)))).right


def test_a_quotation_that_does_not_stand_there_is_counted_as_not_verbatim() -> None:
    found = outcome(a_question(GOLD), an_answer(AT, said="The dog tax is 99 euros."))
    assert (found.quotes, found.verbatim, found.right) == (1, 0, False)


def test_a_run_without_an_answer_is_an_error() -> None:
    with pytest.raises(Invalid, match="without an answer"):
        outcome(a_question(GOLD), None)


def an_outcome(
    gold: bool, rank: int | None = None, quotes: int = 0, right: bool = False
) -> Outcome:
    question = a_question(*([GOLD] if gold else []))
    return Outcome(
        question=question,
        rank=rank,
        answered=quotes > 0,
        quotes=quotes,
        verbatim=quotes,
        right=right,
    )


def test_the_figures_are_those_worked_out_by_hand() -> None:
    found = scores(
        [
            an_outcome(True, rank=1, quotes=2, right=True),
            an_outcome(True, rank=5, quotes=1),
            an_outcome(True, rank=6),
            an_outcome(True, rank=None, quotes=1),
            an_outcome(False),
            an_outcome(False, quotes=1),
            an_outcome(False),
        ]
    )
    assert (found.questions, found.answerable) == (7, 4)
    assert (found.recall_at_1, found.recall_at_5) == (0.25, 0.5)
    assert (found.verbatim, found.right) == (1.0, 0.25)
    assert found.silent_wrongly == 0.25
    assert found.silent_rightly == pytest.approx(2 / 3)


def test_what_was_not_counted_has_no_figure() -> None:
    found = scores([])
    assert (found.questions, found.answerable) == (0, 0)
    assert {
        found.recall_at_1,
        found.recall_at_5,
        found.verbatim,
        found.right,
        found.silent_rightly,
        found.silent_wrongly,
    } == {None}


def test_the_shipped_questions_are_valid_and_enough() -> None:
    from importlib import resources

    asked = questions((resources.files("casemate.demo") / "questions.toml").read_bytes())
    assert len(asked) >= 60
    assert {one.language for one in asked} == {"de", "fr", "en", "lb"}
    assert {one.split for one in asked} == {"tuning", "held-out"}
    assert any(not one.gold for one in asked)
    assert len({one.id for one in asked}) == len(asked)
