"""Words: folding, grams and function words, without a model."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.language import words


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("GEBÜHR", "gebuhr"),
        ("Straße", "strasse"),
        ("école", "ecole"),
        ("Gemeng", "gemeng"),
        ("ﬁn", "fin"),
        ("İ", "i"),
    ],
)
def test_case_and_accents_do_not_tell_words_apart(text: str, folded: str) -> None:
    assert words.fold(text) == folded


PLAIN = st.text(max_size=80).map(lambda text: unicodedata.normalize("NFKC", text))


@pytest.mark.parametrize("text", ["𝐀", "㎒"])
def test_letters_in_disguise_fold_like_letters(text: str) -> None:
    assert words.fold(text) == words.fold(unicodedata.normalize("NFKC", text))


@given(PLAIN)
def test_folding_twice_is_folding_once(text: str) -> None:
    once = words.fold(text)
    assert words.fold(once) == once


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("l'école", ["ecole"]),
        ("l’école", ["ecole"]),
        ("d'Gemeng", ["gemeng"]),
        ("What's due?", ["what", "due"]),
        ("snake_case 12,50 €", ["snake", "case", "12", "50"]),
        ("", []),
        ("?! …", []),
        ("日本語", ["日本語"]),
    ],
)
def test_words_are_what_stands_between_marks(text: str, found: list[str]) -> None:
    assert [word for word in words.words(text) if len(word) > 1] == found


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("Wie hoch ist die Hundesteuer?", "hundesteuer"),
        ("Combien coûte la taxe sur les chiens ?", "taxe"),
        ("How much is the dog tax?", "tax"),
        ("Wéi vill kascht d'Hondssteier?", "hondssteier"),
    ],
)
def test_function_words_of_four_languages_carry_no_topic(text: str, topic: str) -> None:
    content = words.content_words(text)
    assert topic in content
    assert not {"wie", "ist", "die", "la", "sur", "les", "how", "is", "the"} & set(content)


@given(PLAIN)
def test_each_content_word_comes_once_and_is_folded(text: str) -> None:
    content = words.content_words(text)
    assert len(content) == len(set(content))
    assert all(word == words.fold(word) for word in content)
    assert set(content) <= set(words.words(text))


def test_grams_are_four_characters_of_the_padded_word() -> None:
    assert words.grams("steuer") == {" ste", "steu", "teue", "euer", "uer "}
    assert words.grams("a") == {" a "}
    assert words.grams("ab") == {" ab "}


@given(st.text(st.characters(categories=["Ll", "Nd"]), min_size=1, max_size=20))
def test_every_gram_of_a_word_is_in_the_text_that_holds_it(word: str) -> None:
    for one in words.words(word):
        assert words.grams(one) <= words.text_grams(f"before {word} after")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Wie hoch ist die Hundesteuer in der Gemeinde?", "de"),
        ("Quel est le montant de la taxe sur les chiens ?", "fr"),
        ("How much is the dog tax, and when is it due?", "en"),
        ("Wéi vill kascht d'Hondssteier an der Gemeng?", "lb"),
    ],
)
def test_the_language_of_a_question_is_told_by_its_function_words(text: str, language: str) -> None:
    assert words.language_of(text) == language


@pytest.mark.parametrize("text", ["", "12", "xyzzy", "🐕", "日本語"])
def test_a_text_without_function_words_takes_the_first_language_asked_for(text: str) -> None:
    assert words.language_of(text) == "en"
    assert words.language_of(text, among=("lb", "de")) == "lb"


@given(st.text(max_size=60))
def test_the_language_is_always_one_of_those_asked_for(text: str) -> None:
    assert words.language_of(text) in {"en", "fr", "de", "lb"}
