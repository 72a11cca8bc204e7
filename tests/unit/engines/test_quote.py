"""The quote engine: sentences of the passages, word for word, or a plain "nothing"."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.engines import question
from casemate.engines.engine import Evidence, Found, Prompt, Sampling, Token
from casemate.engines.quote import NOTHING, QuoteEngine
from casemate.errors import Unsupported
from casemate.gate.country import Country
from casemate.language import words

LUXEMBOURG = Country.load("lu")
FEES = (
    "Fees\n\nThe dog tax is 60 euros a year. Dogs are registered at the town hall until 31 March."
)
TABLE = "Hours\n\nZone | Hours\nZone A | 8 to 18\nZone B | 9 to 17\nSundays are free."


def a_prompt(asked: str, *texts: str, language: str = "en") -> Prompt:
    """A prompt in which every part found every passage, the first of them best."""
    evidence = tuple(Evidence(n, "", "", text) for n, text in enumerate(texts, 1))
    found = []
    for part in question.parts(asked):
        own = words.content_words(part.query)
        thesaurus = LUXEMBOURG.thesaurus()
        others = {word: thesaurus.alike(word, language) for word in own}
        held = {word: any(word in words.words(text) for text in texts) for word in own}
        found.append(
            Found(
                part=part,
                passages=len(texts),
                evidence=tuple(one.number for one in evidence),
                scores=tuple(10_000 - 1_000 * n for n in range(len(texts))),
                rarity=tuple((word, 800 if held[word] else 1000) for word in own),
                alike=tuple(
                    (word, tuple(one.own), tuple(one.foreign)) for word, one in others.items()
                ),
            )
        )
    return Prompt(asked, language, LUXEMBOURG.policy.lowest(), tuple(found), evidence, messages=())


def told(prompt: Prompt) -> list[Token]:
    async def follow() -> list[Token]:
        return [token async for token in QuoteEngine().generate(prompt, Sampling())]

    return asyncio.run(follow())


def quotes(prompt: Prompt) -> list[str]:
    return [token.text for token in told(prompt) if token.evidence is not None]


def test_the_sentence_that_answers_is_quoted_word_for_word() -> None:
    assert quotes(a_prompt("How much is the dog tax?", FEES)) == ["The dog tax is 60 euros a year."]


def test_a_question_for_a_time_is_answered_by_a_sentence_with_one() -> None:
    assert quotes(a_prompt("When are dogs registered?", FEES)) == [
        "Dogs are registered at the town hall until 31 March."
    ]


def test_each_part_of_a_compound_question_is_answered() -> None:
    said = quotes(a_prompt("How much is the dog tax, and until when are dogs registered?", FEES))
    assert said == [
        "The dog tax is 60 euros a year.",
        "Dogs are registered at the town hall until 31 March.",
    ]


def test_what_nothing_answers_is_said_in_the_language_of_the_question() -> None:
    for language, asked in (
        ("en", "Who won the football cup?"),
        ("de", "Wer hat den Fußballpokal gewonnen?"),
        ("fr", "Qui a remporté la coupe de football ?"),
        ("lb", "Wien huet de Fussballcoupe gewonnen?"),
    ):
        (token,) = told(a_prompt(asked, FEES, language=language))
        assert (token.text, token.evidence) == (NOTHING[language], None)


def test_a_part_that_nothing_answers_is_named_beside_the_one_that_was() -> None:
    said = told(a_prompt("How much is the dog tax, and who won the football cup?", FEES))
    assert [one.text for one in said if one.evidence] == ["The dog tax is 60 euros a year."]
    assert any("who won the football cup" in one.text for one in said if not one.evidence)


def test_without_passages_there_is_no_answer() -> None:
    (token,) = told(a_prompt("How much is the dog tax?"))
    assert token.text == NOTHING["en"]


def test_a_search_that_gave_no_score_is_no_fault() -> None:
    prompt = a_prompt("How much is the dog tax?", FEES)
    found = tuple(replace(one, scores=(0,)) for one in prompt.found)
    assert told(replace(prompt, found=found))


def test_another_word_for_the_same_thing_is_understood() -> None:
    text = "Bins\nIf a bin is stolen, the commune replaces it free of charge."
    assert quotes(a_prompt("Somebody nicked my bin, must I pay for it?", text))


def test_the_first_row_of_a_table_is_never_the_answer() -> None:
    said = quotes(a_prompt("What are the hours in zone B?", TABLE))
    assert "Zone | Hours" not in said
    assert "Zone B | 9 to 17" in said


def test_the_same_prompt_gives_the_same_answer() -> None:
    prompt = a_prompt("How much is the dog tax?", FEES, TABLE)
    assert told(prompt) == told(prompt)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=120), st.lists(st.text(max_size=200), max_size=4))
def test_whatever_is_asked_every_quotation_stands_where_it_says(
    asked: str, texts: list[str]
) -> None:
    prompt = a_prompt(asked, *texts)
    for token in told(prompt):
        if token.evidence is not None:
            text = prompt.evidence[token.evidence - 1].text
            assert text[token.start : token.start + len(token.text)] == token.text


def test_it_has_no_scores_and_no_vectors() -> None:
    engine = QuoteEngine()
    prompt = a_prompt("How much is the dog tax?", FEES)
    for act in (engine.score([prompt], "x"), engine.embed(["x"], label=prompt.label)):
        with pytest.raises(Unsupported):
            asyncio.run(act)  # type: ignore[arg-type]
