"""Questions: their parts, what they are about, and what kind of thing answers them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.engines import question


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        ("How much is it and when is it due?", ["How much is it", "when is it due?"]),
        (
            "Was kostet ein Hund, und bis wann muss ich ihn anmelden?",
            ["Was kostet ein Hund", "bis wann muss ich ihn anmelden?"],
        ),
        (
            "Combien coûte la carte et combien de temps faut-il attendre ?",
            ["Combien coûte la carte", "combien de temps faut-il attendre ?"],
        ),
        (
            "Wat kascht en Hond a wou mellen ech en un?",
            ["Wat kascht en Hond", "wou mellen ech en un?"],
        ),
        ("Where are cats and dogs allowed?", ["Where are cats and dogs allowed?"]),
        ("Is it free? Since when?", ["Is it free?", "Since when?"]),
    ],
)
def test_a_compound_question_falls_into_its_parts(asked: str, parts: list[str]) -> None:
    assert [part.question for part in question.parts(asked)] == parts


def test_a_part_that_says_too_little_borrows_the_words_before_it() -> None:
    first, second = question.parts("Was kostet die Hundesteuer, und wann muss ich zahlen?")
    assert "Hundesteuer" in second.query
    assert "Hundesteuer" not in second.question
    assert first.query == first.question


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ("How much does it cost?", question.MONEY),
        ("Wie teuer ist das?", question.MONEY),
        ("Combien coûte un vélo ?", question.MONEY),
        ("Wat kascht dat?", question.MONEY),
        ("Bis wann muss ich das tun?", question.TIME),
        ("Wéini ass op?", question.TIME),
        ("Quel est le délai ?", question.TIME),
        ("How many people live here?", question.NUMBER),
        ("Who decides?", None),
        ("What does it cost when a lamp is broken?", question.MONEY),
        ("Who do I tell when a lamp is broken?", None),
    ],
)
def test_a_question_says_what_kind_of_thing_answers_it(asked: str, kind: str | None) -> None:
    assert question.kind(asked) == kind


@pytest.mark.parametrize(
    ("kind", "shows", "lacks"),
    [
        (question.MONEY, "It costs 12.50 €.", "It has 12 rooms."),
        (question.MONEY, "Die Karte ist kostenlos.", "Die Karte ist blau."),
        (question.TIME, "Until 31 March.", "It costs 40 euros."),
        (question.TIME, "Innerhalb von acht Tagen.", "Innerhalb der Gemeinde."),
        (question.NUMBER, "It has 12 rooms.", "It has rooms."),
    ],
)
def test_a_sentence_shows_a_kind_or_not(kind: str, shows: str, lacks: str) -> None:
    assert question.shows(kind, shows)
    assert not question.shows(kind, lacks)


def test_nouns_are_what_a_question_is_about() -> None:
    assert question.subjects("Was kostet die Hundesteuer im Jahr?", "de") == {"hundesteuer", "jahr"}
    assert "library" in question.subjects("How much is it to print at the library?", "en")
    assert "parking" in question.subjects("Où se trouve le parking ?", "fr")


@given(st.text(max_size=300))
def test_any_text_has_at_least_one_part(asked: str) -> None:
    assert question.parts(asked)


def test_white_space_costs_no_time() -> None:
    # Cubic matching of this would take hours.
    asked = "Is it free" + " " * 8_000 + "and" + " " * 8_000 + "when is it due?"
    assert [part.question for part in question.parts(asked)] == ["Is it free", "when is it due?"]
