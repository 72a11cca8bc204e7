from __future__ import annotations

from casemate.reasoning.event import Answer, Citation, Sentence, Source, Step
from casemate.web.reading import Flow, paragraphs, pieces, show, summary
from casemate.web.words import words

WORDS = words("en")


def a_source(text: str, *, page: int | None = 2) -> Source:
    return Source(
        document_id="d1",
        document="fees.pdf",
        digest="sha256:00",
        collection="fees",
        page=page,
        start=100,
        end=100 + len(text),
        title="",
        heading="Fees",
        label="lu:unclassified",
        text=text,
    )


def an_answer() -> Answer:
    source = a_source("A copy costs 3 euros. A seal costs 5 euros.")
    return Answer(
        text="A copy costs 3 euros. [1] A seal costs 5 euros. [1]\nSee note [7].",
        language="en",
        sentences=(
            Sentence(start=0, end=21, citations=(0,)),
            Sentence(start=26, end=47, citations=(1,)),
            Sentence(start=52, end=65),
        ),
        citations=(
            Citation(number=1, source=0, start=100, end=121, quote="A copy costs 3 euros."),
            Citation(number=1, source=0, start=122, end=143, quote="A seal costs 5 euros."),
        ),
        sources=(source,),
    )


def test_each_number_stands_for_the_exact_words_of_its_sentence() -> None:
    first, second = paragraphs(an_answer(), WORDS)[0]
    assert first.text == "A copy costs 3 euros."
    assert [mark.cited for mark in first.marks] == [("cited-1",)]
    assert [mark.cited for mark in second.marks] == [("cited-2",)]
    assert first.marks[0].name == "Source 1: fees.pdf, page 2"


def test_a_number_that_nothing_is_cited_under_stays_text() -> None:
    (last,) = paragraphs(an_answer(), WORDS)[1]
    assert last.text == "See note [7]."
    assert last.marks == ()


def test_arriving_text_names_the_sources_that_are_known() -> None:
    (piece,) = pieces("A copy costs 3 euros. [1] [2]", {1: "fees.pdf"}, WORDS)
    assert [mark.name for mark in piece.marks] == ["Source 1: fees.pdf", "Source 2"]


def test_a_source_links_to_its_passage_and_names_no_page_where_there_is_none() -> None:
    citation = Citation(number=1, source=0, start=100, end=106, quote="A copy")
    shown = show(1, a_source("A copy costs 3 euros.", page=None), [(0, citation)], "", WORDS)
    assert shown.place == "fees.pdf"
    assert shown.address == "/documents/d1?start=100&end=106#passage"
    assert [run.text for run in shown.excerpt.runs if run.marks] == ["A copy"]


def test_text_that_arrives_in_bits_makes_the_same_paragraphs() -> None:
    flow = Flow()
    told = [part for bit in ("One. ", "Two.", "\n", "Three.\n\nFour.") for part in flow.feed(bit)]
    assert told == [(True, "One. "), (False, "Two."), (True, "Three."), (True, "Four.")]


def test_the_steps_make_one_quiet_line() -> None:
    steps = [Step(kind="search", count=4), Step(kind="search", count=3), Step(kind="quote")]
    assert summary(steps, WORDS) == "2 searches · 7 passages read · 3 steps"
