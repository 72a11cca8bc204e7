from __future__ import annotations

import datetime
from dataclasses import replace
from importlib import resources
from itertools import pairwise

import pytest

from casemate.errors import Invalid
from casemate.gate.country import Country
from casemate.isolation import LAYERS

PACK = resources.files("casemate.countries").joinpath("lu", "pack.toml").read_text("utf-8")


def test_the_luxembourg_pack_has_the_levels_of_its_law() -> None:
    lu = Country.load("lu")
    assert [level.marking["fr"] for level in lu.policy.levels] == [
        "NON CLASSIFIÉ",
        "RESTREINT LUX",
        "CONFIDENTIEL LUX",
        "SECRET LUX",
        "TRÈS SECRET LUX",
    ]
    assert lu.languages == ("lb", "fr", "de", "en")
    assert str(lu.policy.standard()) == "lu:unclassified"
    assert lu.retention_floor_days == 183
    assert lu.name["lb"] == "Lëtzebuerg"


def test_duties_carry_article_and_first_day() -> None:
    duties = {duty.article: duty.since for duty in Country.load("lu").duties}
    assert duties["5"] == datetime.date(2025, 2, 2)
    assert duties["50"] == datetime.date(2026, 8, 2)


def test_a_duty_whose_day_was_moved_says_what_moved_it() -> None:
    moved = {duty.article: duty for duty in Country.load("lu").duties if duty.basis}
    assert {"26(1)", "26(2)", "26(5)", "26(6)", "26(11)", "27"} == set(moved)
    for duty in moved.values():
        assert duty.since == datetime.date(2027, 12, 2)
        assert "2026/1744" in duty.basis


@pytest.mark.parametrize("id", ["xx", "../lu", "LU", "", "lu/../lu"])
def test_a_pack_that_does_not_exist_is_refused(id: str) -> None:
    with pytest.raises(Invalid, match="country pack"):
        Country.load(id)


@pytest.mark.parametrize(
    ("old", "new", "hole"),
    [
        ('id = "lu"\nlanguages', 'id = "be"\nlanguages', "it calls itself 'be'"),
        ('lb = "Geheim"\n', "", "name of level 'secret' lacks lb"),
        ('fr = "NON CLASSIFIÉ"\n', "", "marking of level 'unclassified' lacks fr"),
        ('marking = "SECRET LUX"', 'marking = " "', "marking of level 'secret' is empty"),
        ('id = "secret"', 'id = "restricted"', "level 'restricted' is there twice"),
        ('id = "cnpd"', 'id = "ans"', "authority 'ans' is there twice"),
        ('id = "transparency"', 'id = "logs"', "duty 'logs' is there twice"),
        ('default = "unclassified"', 'default = "open"', "default level 'open' is unknown"),
        ('"de", "en"]', '"de"]', "languages lack en"),
        ('home = "LU"', 'home = "lu"', "home 'lu' is not a community code"),
        ("retention_floor_days = 183", "retention_floor_days = 0", "retention_floor_days"),
        ("retention_floor_days = 183", "retention_floor_days = 182", "below 183"),
        ('"Europe/Luxembourg"', '"tomorrow"', "time_zone 'tomorrow'"),
        ('article = "4"\n', "", "article"),
        ("2025-02-02", "soon", "country pack|Country pack"),
        ('id = "lu"\nlanguages', 'colour = 1\nid = "lu"\nlanguages', "colour"),
    ],
)
def test_a_pack_with_a_hole_is_refused_by_name(old: str, new: str, hole: str) -> None:
    assert old in PACK
    with pytest.raises(Invalid, match=hole):
        Country.parse(PACK.replace(old, new, 1).encode(), "lu")


@pytest.mark.parametrize(
    ("old", "new", "hole"),
    [
        ('"eu:secret", ', "", "level 'eu:secret' has no equivalent"),
        ('  ["internal:confidential"],\n', "", "'internal:confidential' has no equivalent"),
        ('"eu:secret", ', '"eu:geheim", ', "unknown level 'eu:geheim'"),
        ('"eu:secret", ', '"us:secret", ', "unknown level 'us:secret'"),
        ('"nato:secret"', '"nato:secret", "eu:restricted"', "'eu:restricted' has two places"),
        (
            '"nato:confidential"],\n  ["lu:secret", "eu:secret", "nato:secret"]',
            '"nato:secret"],\n  ["lu:secret", "eu:secret", "nato:confidential"]',
            "cycle: 'nato:secret' is above 'nato:confidential'",
        ),
        (
            '["internal:internal"],\n  ["internal:confidential"]',
            '["internal:internal", "internal:confidential"]',
            "of one policy are said to be equivalent",
        ),
        (
            '["lu:secret", "eu:secret", "nato:secret"]',
            '["lu:secret"], ["eu:secret", "nato:secret"]',
            "no level of the house's own policies is equivalent to 'eu:secret'",
        ),
        ('id = "eu"\n', 'id = "nato"\n', "policy 'nato' is there twice"),
        ('AT = "AUT"', 'AT = "BEL"', "three-letter code 'BEL' is there twice"),
        ('marking = "NATO SECRET"', 'marking = ""', "policy 'nato': marking of level 'secret'"),
        ('[policy]\nid = "lu"', '[policy]\nbinds = true\nid = "lu"', "own and cannot bind"),
    ],
)
def test_equivalences_with_a_hole_are_refused_by_name(old: str, new: str, hole: str) -> None:
    assert old in PACK
    with pytest.raises(Invalid, match=hole):
        Country.parse(PACK.replace(old, new, 1).encode(), "lu")


def test_a_pack_of_one_policy_needs_no_equivalences() -> None:
    start, end = PACK.index("equivalences = ["), PACK.index("]\n\n[name]") + 2
    others, after = PACK.index("[[other]]"), PACK.index("[[authority]]")
    alone = PACK[:start] + PACK[end:others] + PACK[after:]
    policy = Country.parse(alone.encode(), "lu").policy
    assert list(policy.scale.policies) == ["lu"]
    assert policy.parse("secret").dominates(policy.parse("restricted"))
    with pytest.raises(Invalid, match="'nato'"):
        policy.parse("nato:secret")


def test_the_luxembourg_pack_understands_the_labels_of_its_partners() -> None:
    scale = Country.load("lu").policy.scale
    assert list(scale.policies) == ["lu", "internal", "eu", "nato"]
    assert [one.id for one in scale.policies.values() if one.binds] == ["eu", "nato"]


def test_higher_levels_ask_for_every_layer_of_the_lower_ones() -> None:
    country = Country.load("lu")
    asked = [country.isolation(country.policy.parse(one.id)) for one in country.policy.levels]
    assert asked[0] == {"network"}
    assert asked[1:] == [frozenset(LAYERS)] * 4
    assert all(lower <= higher for lower, higher in pairwise(asked))


def test_a_label_of_an_unknown_policy_asks_for_every_layer() -> None:
    country = Country.load("lu")
    other = replace(country.policy, id="xx")
    assert country.isolation(other.lowest()) == frozenset(LAYERS)


@pytest.mark.parametrize(
    ("label", "layers"),
    [
        ("internal:strictly-confidential", {"network"}),
        ("nato:restricted", set(LAYERS)),
        ("eu:unclassified", {"network"}),
    ],
)
def test_a_label_of_another_policy_asks_for_the_layers_of_its_equivalent(
    label: str, layers: set[str]
) -> None:
    country = Country.load("lu")
    assert country.isolation(country.policy.parse(label)) == layers


def test_an_unknown_layer_is_a_hole() -> None:
    with pytest.raises(Invalid, match="isolation layer 'moat' of level 'unclassified'"):
        Country.parse(PACK.replace('["network"]', '["moat"]').encode(), "lu")


@pytest.mark.parametrize(
    ("old", "new", "hole"),
    [
        ('id = "emotions"\nversion = 1', 'id = "manipulation"\nversion = 1',
         "version 1 of question 'manipulation' is there twice"),
        ('id = "emotions"\nversion = 1', 'id = "emotions"\nversion = 0', "has a version below 1"),
        ('lb = "Soll et virausso', 'xx = "Soll et virausso',
         "text of question 'crime-prediction' lacks lb"),
        ('id = "face-scraping"\nversion = 1', 'id = "face-scraping"\nversion = "1"', "question"),
    ],
)  # fmt: skip
def test_a_pack_with_a_hole_in_its_screening_is_refused_by_name(
    old: str, new: str, hole: str
) -> None:
    assert old in PACK
    with pytest.raises(Invalid, match=hole):
        Country.parse(PACK.replace(old, new, 1).encode(), "lu")


def test_a_pack_that_asks_nothing_is_refused() -> None:
    with pytest.raises(Invalid, match="no question about prohibited practices"):
        Country.parse((PACK[: PACK.index("[[question]]")] + "\n").replace(
            'id = "lu"\n', 'id = "lu"\nquestion = []\n', 1).encode(), "lu")  # fmt: skip
