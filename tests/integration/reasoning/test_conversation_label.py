"""A conversation keeps the label of what was said in it, whatever a client sends back."""

from __future__ import annotations

import sqlite3

import pytest
from house_builders import DOG_TAX, FEES, PAYROLL, SALARY, House

from casemate.errors import Refused
from casemate.gate.caller import Caller


@pytest.fixture
def office(house: House) -> tuple[House, Caller]:
    """Open notes and a restricted payroll; ida may read both, up to secret."""
    house.clear_owner_for("secret")
    house.collection("payroll", "restricted")
    house.add("notes", fees=FEES)
    house.add("payroll", payroll=PAYROLL)
    house.use_case("office", "secret")
    return house, house.person("ida", "confidential")


Office = tuple[House, Caller]


def test_an_answer_that_comes_back_in_a_conversation_keeps_its_label(office: Office) -> None:
    house, ida = office
    first = house.ask(SALARY, ida, use_case="office", collections=("payroll",))
    assert first.label == "lu:restricted"
    turns = (("user", SALARY), ("assistant", first.answer.text))
    next_one = house.ask(DOG_TAX, ida, use_case="office", collections=("notes",), history=turns)
    assert next_one.label == "lu:restricted"
    alone = house.ask(DOG_TAX, ida, use_case="office", collections=("notes",))
    assert alone.label == "lu:unclassified"


def test_the_label_rises_from_turn_to_turn_and_is_in_both_entries(office: Office) -> None:
    house, ida = office
    low = house.ask(DOG_TAX, ida, use_case="office", collections=("notes",))
    high = house.ask(
        SALARY, ida, use_case="office",
        history=(("user", DOG_TAX), ("assistant", low.answer.text)),
    )  # fmt: skip
    last = house.ask(
        DOG_TAX, ida, use_case="office", collections=("notes",),
        history=(
            ("user", DOG_TAX), ("assistant", low.answer.text),
            ("user", SALARY), ("assistant", f"  {high.answer.text}\n"),
        ),
    )  # fmt: skip
    assert [one.label for one in (low, high, last)] == [
        "lu:unclassified",
        *["lu:restricted"] * 2,
    ]
    assert {one["label"] for one in house.entries_of(last.run)} == {"lu:restricted"}


def test_what_an_assistant_is_said_to_have_said_is_as_high_as_can_be(office: Office) -> None:
    house, ida = office
    turns = (("user", "Hello"), ("assistant", "The salary of the mayor is 9,000 euros."))
    told = house.ask(DOG_TAX, ida, use_case="office", collections=("notes",), history=turns)
    assert told.label == "lu:confidential"  # ida's clearance under the ceiling
    assert house.ask(DOG_TAX, ida, history=turns).label == "lu:unclassified"  # documents' ceiling


def test_words_of_the_user_and_the_system_raise_nothing(office: Office) -> None:
    house, ida = office
    turns = (("system", "Be brief."), ("user", "Hello"))
    told = house.ask(DOG_TAX, ida, use_case="office", collections=("notes",), history=turns)
    assert told.label == "lu:unclassified"


def test_a_classified_conversation_does_not_go_on_under_a_lower_ceiling(office: Office) -> None:
    house, ida = office
    first = house.ask(SALARY, ida, use_case="office")
    with pytest.raises(Refused, match="conversation"):
        house.ask(DOG_TAX, ida, history=(("user", SALARY), ("assistant", first.answer.text)))
    entries = [one["kind"] for one in house.entries()]
    assert entries.count("run.admitted") == 1


def test_a_clearance_that_was_lowered_does_not_lower_what_was_said(office: Office) -> None:
    house, ida = office
    first = house.ask(SALARY, ida, use_case="office")
    principals = house.installation.gate.principals
    principals.change(house.owner, "ida", clearance=house.label("unclassified"))
    lower = Caller(principals.named("ida"), None, "local")
    turns = (("user", SALARY), ("assistant", first.answer.text))
    with pytest.raises(Refused, match="conversation"):
        house.ask(DOG_TAX, lower, use_case="office", history=turns)


def test_a_word_for_word_answer_is_known_whoever_is_said_to_have_said_it(office: Office) -> None:
    house, ida = office
    first = house.ask(SALARY, ida, use_case="office")
    turns = (("assistant", first.answer.text), ("user", first.answer.text))
    told = house.ask(DOG_TAX, ida, use_case="office", collections=("notes",), history=turns)
    assert told.label == "lu:restricted"


def test_an_answer_that_was_erased_is_as_high_as_can_be(office: Office) -> None:
    house, ida = office
    first = house.ask(SALARY, ida, use_case="office")
    with sqlite3.connect(house.folder / "casemate.sqlite") as connection:
        connection.execute("DELETE FROM openings WHERE run = ?", (first.run,))
    connection.close()
    turns = (("user", SALARY), ("assistant", first.answer.text))
    told = house.ask(DOG_TAX, ida, use_case="office", collections=("notes",), history=turns)
    assert told.label == "lu:confidential"
