from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from casemate.errors import Invalid, Refused
from casemate.gate.country import Country
from casemate.gate.screening import Question, all_no, applying, outstanding, screened

LU = Country.load("lu")
TODAY, LATER = date(2026, 11, 29), date(2026, 12, 2)
TWO = (
    Question("scores", 1, "5(1)(c)", date(2025, 2, 2), {"en": "Does it score people?"}),
    Question("scores", 2, "5(1)(c)", date(2027, 1, 1), {"en": "Does it score anybody?"}),
    Question("faces", 1, "5(1)(e)", date(2025, 2, 2), {"en": "Does it collect faces?"}),
)


def no(reason: str = "It judges nobody.") -> dict[str, str]:
    return {"answer": "no", "reason": reason}


def test_the_pack_asks_about_every_point_of_article_5_in_all_its_languages() -> None:
    articles = [question.article for question in applying(LU.questions, TODAY)]
    assert articles == [f"5(1)({point})" for point in "abcdefgh"]
    for question in LU.questions:
        assert set(question.text) == set(LU.languages)


def test_a_question_applies_from_its_day_on() -> None:
    before = {question.id for question in applying(LU.questions, TODAY)}
    after = {question.id for question in applying(LU.questions, LATER)}
    assert after - before == {"intimate-images"}
    assert not applying(LU.questions, date(2025, 2, 1))


def test_a_newer_version_of_a_question_takes_the_place_of_the_older_from_its_day_on() -> None:
    assert [one.version for one in applying(TWO, date(2026, 12, 31))] == [1, 1]
    assert [one.version for one in applying(TWO, date(2027, 1, 1))] == [2, 1]


def test_answers_are_kept_with_the_version_that_they_answer() -> None:
    answers = screened(TWO, {"scores": no(" Of houses. "), "faces": no()}, TODAY)
    assert [(one.question, one.version, one.reason) for one in answers] == [
        ("scores", 1, "Of houses."),
        ("faces", 1, "It judges nobody."),
    ]
    assert outstanding(TWO, answers, TODAY) == []
    assert [one.version for one in outstanding(TWO, answers, date(2027, 1, 1))] == [2]


def test_what_applies_only_later_may_be_answered_in_advance() -> None:
    given = all_no(LU.questions, "It judges nobody.", TODAY) | {"intimate-images": no()}
    answers = screened(LU.questions, given, TODAY)
    assert outstanding(LU.questions, answers, LATER) == []


def test_a_yes_refuses_and_names_the_article() -> None:
    with pytest.raises(Refused, match=r"Article 5\(1\)\(c\)\): Does it score people\?"):
        screened(TWO, {"scores": {"answer": "yes", "reason": "It does."}, "faces": no()}, TODAY)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "lacks answers: scores, faces"),
        ({"scores": no()}, "lacks answers: faces"),
        ({"scores": no(), "faces": no(), "other": no()}, "no question 'other'"),
        ({"scores": no(" "), "faces": no()}, "'scores' of the screening has no reason"),
        ({"scores": no("\ud800"), "faces": no()}, "no reason"),
        ({"scores": no("x" * 2001), "faces": no()}, "no reason"),
        ({"scores": {"answer": "no"}, "faces": no()}, "no reason"),
        ({"scores": {"answer": "no", "reason": 1}, "faces": no()}, "no reason"),
        ({"scores": {"answer": "No", "reason": "x"}, "faces": no()}, "neither yes nor no"),
        ({"scores": {"answer": False, "reason": "x"}, "faces": no()}, "neither yes nor no"),
        ({"scores": "no", "faces": no()}, "neither yes nor no"),
        ({"scores": {**no(), "more": 1}, "faces": no()}, "neither yes nor no"),
    ],
)
def test_what_is_no_answer_is_refused_by_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        screened(TWO, given, TODAY)
