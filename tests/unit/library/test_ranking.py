"""Ranking: BM25 from the statistics it is given, and from nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from casemate.language.thesaurus import Alike
from casemate.library.ranking import Statistics, Terms, score


def statistics(terms: Terms, passages: int, holding: int) -> Statistics:
    return Statistics(
        passages, dict.fromkeys(terms.grams, holding), dict.fromkeys(terms.stems, holding)
    )


def test_a_passage_that_holds_the_words_outranks_one_that_holds_a_part_of_them() -> None:
    terms = Terms.of("dog tax", Alike())
    known = statistics(terms, 100, 5)
    assert score("The dog tax is due.", terms, known) > score("The dog barks.", terms, known) > 0
    assert score("Cats are free.", terms, known) == 0


def test_a_rare_word_counts_for_more() -> None:
    terms = Terms.of("tax", Alike())
    text = "The tax is due."
    assert score(text, terms, statistics(terms, 100, 1)) > score(
        text, terms, statistics(terms, 100, 90)
    )


def test_another_word_for_it_counts_and_a_foreign_one_less() -> None:
    def ranked(alike: Alike) -> float:
        terms = Terms.of("garbage", alike)
        return score("Rubbish is collected.", terms, statistics(terms, 100, 5))

    own, foreign = Alike(own=frozenset({"rubbis"})), Alike(foreign=frozenset({"rubbis"}))
    assert ranked(own) > ranked(foreign) > ranked(Alike()) == 0


def test_function_words_are_not_looked_for() -> None:
    assert Terms.of("how much is the", Alike()).grams == ()


@given(st.text(max_size=200), st.text(max_size=200), st.integers(1, 10**6), st.integers(0, 10**6))
def test_no_score_is_ever_negative(query: str, text: str, passages: int, holding: int) -> None:
    terms = Terms.of(query, Alike())
    assert score(text, terms, statistics(terms, passages, holding)) >= 0
