from __future__ import annotations

import re
import string
from importlib.resources import files

import pytest

from casemate.web.words import LANGUAGES, preferred, words


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_words_with_the_same_places(language: str) -> None:
    english, other = words("en").entries, words(language).entries
    assert set(other) == set(english)
    for key, text in english.items():
        assert places(other[key]) == places(text), key
        assert other[key].strip() or key == "format.thousands", key


def test_every_key_that_a_template_names_exists() -> None:
    known = words("en").entries
    for template in files("casemate.web").joinpath("templates").iterdir():
        for key in re.findall(r"say\('([a-z_.]+)'\s*[,)]", template.read_text("utf-8")):
            assert key in known or f"{key}_one" in known, (template.name, key)


def test_a_key_that_does_not_exist_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        words("en")("ask.nonsense")


@pytest.mark.parametrize(
    ("language", "count", "said"),
    [
        ("en", 1, "1 step"),
        ("en", 0, "0 steps"),
        ("fr", 0, "0 étape"),
        ("fr", 2, "2 étapes"),
        ("de", 1204, "1.204 Schritte"),
        ("lb", 1, "1 Schrëtt"),
    ],
)
def test_plurals_follow_the_language(language: str, count: int, said: str) -> None:
    assert words(language)("steps.steps", count=count) == said


@pytest.mark.parametrize(
    ("language", "day"),
    [
        ("en", "24 November 2026"),
        ("fr", "24 novembre 2026"),
        ("de", "24. November 2026"),
        ("lb", "24. November 2026"),
    ],
)
def test_dates_are_written_as_people_write_them(language: str, day: str) -> None:
    assert words(language).day("2026-11-24T22:23:16.123456Z") == day


def test_a_time_names_its_zone() -> None:
    assert words("en").moment("2026-11-24T22:23:16Z") == "24 November 2026, 22:23 UTC"


@pytest.mark.parametrize(
    ("amount", "shown"), [(0, "0 B"), (999, "999 B"), (8_234, "8.2 kB"), (5_100_000_000, "5.1 GB")]
)
def test_sizes_are_shown_in_the_unit_that_suits(amount: int, shown: str) -> None:
    assert words("en").size(amount) == shown


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "fr-LU, fr;q=0.9, en;q=0.8", "fr"),
        (None, "pt, de;q=0.5, lb;q=0.7", "lb"),
        (None, "fr;q=0, de;q=0.1", "de"),
        (None, "fr;q=nonsense, *", "en"),
        ("de", "fr", "de"),
        ("xx", "fr", "fr"),
    ],
)
def test_the_language_is_the_one_chosen_or_the_best_accepted(
    chosen: str | None, accepted: str, language: str
) -> None:
    assert preferred(chosen, accepted) == language
