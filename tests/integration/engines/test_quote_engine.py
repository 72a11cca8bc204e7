"""The quote engine: words of the documents, or that nothing answers; the same every time."""

from __future__ import annotations

import pytest
from house_builders import DOG_TAX, FEES, WASTE, House

from casemate.engines.quote import NOTHING


@pytest.fixture
def filled(house: House) -> House:
    house.add("notes", fees=FEES, waste=WASTE)
    return house


def test_it_says_nothing_but_sentences_of_the_documents(filled: House) -> None:
    answer = filled.ask(DOG_TAX).answer
    assert answer.sentences
    for sentence in answer.sentences:
        assert answer.text[sentence.start : sentence.end] in FEES
        assert sentence.citations


def test_the_same_question_gives_the_same_answer(filled: House) -> None:
    first, second = (filled.ask(DOG_TAX).answer for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("How heavy is a zeppelin?", "en"),
        ("Quel est le poids d'un zeppelin et de la lune ?", "fr"),
        ("Wie schwer ist der Zeppelin?", "de"),
        ("Wéi schwéier ass de Zeppelin?", "lb"),
    ],
)
def test_it_says_plainly_and_in_the_askers_language_that_nothing_answers(
    filled: House, question: str, language: str
) -> None:
    answer = filled.ask(question).answer
    assert answer.language == language
    assert answer.citations == ()
    assert NOTHING[language].split(" ")[0] in answer.text


def test_a_compound_question_is_searched_part_by_part(filled: House) -> None:
    finished = filled.ask(f"{DOG_TAX} Into which green container beside the town hall goes glass?")
    assert [step.kind for step in finished.steps if step.kind == "search"] == ["search"] * 2
    assert {finished.answer.sources[one.source].document for one in finished.answer.citations} == {
        "fees.md",
        "waste.md",
    }


def test_a_question_with_very_many_parts_ends(filled: House) -> None:
    finished = filled.ask("How much is it? " * 400)
    assert len([step for step in finished.steps if step.kind == "search"]) <= 6
