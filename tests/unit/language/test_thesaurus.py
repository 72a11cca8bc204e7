"""The thesaurus: other words for the same thing, in and across languages."""

from __future__ import annotations

import pytest

from casemate.gate.country import Country
from casemate.language import words
from casemate.language.thesaurus import Alike, Thesaurus, stem

SMALL = Thesaurus(
    [
        {"de": ["stehlen", "geklaut"], "en": ["stolen", "nicked"]},
        {"de": ["Tonne", "Mülleimer"], "fr": ["poubelle"]},
        {"en": ["tax"]},
        {"lb": ["Tax", "Gebühr"], "de": ["Gebühr"]},
    ]
)


def test_a_word_finds_the_others_of_its_concept_its_own_language_apart() -> None:
    alike = SMALL.alike("geklaut", "de")
    assert alike.own == {stem("stehlen")}
    assert alike.foreign == {"stolen", "nicked"}


def test_inflection_is_no_bar() -> None:
    assert SMALL.alike("poubelles", "fr").foreign == {"tonne", stem("mulleimer")}


def test_a_compound_is_what_it_ends_in() -> None:
    assert stem("mulleimer") in SMALL.alike("restmulltonne", "de").own


def test_a_word_means_what_it_means_in_its_own_language() -> None:
    assert SMALL.alike("tax", "lb") == Alike(frozenset({"gebuhr"}), frozenset())
    assert SMALL.alike("tax", "en") == Alike(frozenset(), frozenset())


def test_an_unknown_word_has_no_others() -> None:
    assert SMALL.alike("xyzzy", "en") == Alike()


def test_a_line_with_a_missing_column_is_refused() -> None:
    with pytest.raises(ValueError, match="column"):
        Thesaurus.parse(b"de\tfr\nHund\n")


def test_the_shipped_one_is_clean() -> None:
    shipped = Country.load("lu").thesaurus()
    assert stem(words.fold("gestohlen")) in shipped.alike(words.fold("geklaut"), "de").own
    assert shipped.alike("chien", "fr").foreign
