"""The leak campaign in small: nobody sees what is above them, and what is hidden is not there."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from house_builders import a_house

from casemate.gate.label import Label, LabelPolicy

sys.path.append(str(Path(__file__).parents[3] / "campaigns"))

import leak
import leak_world

SIZES = leak_world.Sizes(tenants=2, people=10, shelves=6, papers=24)
CALLS = 150


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[leak.Campaign]:
    dice = random.Random(7)
    with a_house(tmp_path_factory.mktemp("leak") / "data") as house:
        world = leak_world.build(house.installation, SIZES, dice)
        made = leak.Campaign(world, dice)
        yield made
        made.close()


def test_nobody_sees_what_is_above_them(campaign: leak.Campaign) -> None:
    report = campaign.run(CALLS, 600)
    campaign.disappearance(3)
    assert report.findings == []
    assert report.seen > 0
    assert {"search", "ask", "acts", "pages", "lists"} <= set(report.calls)


def test_the_campaign_sees_a_leak(campaign: leak.Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(campaign.report.findings)
    monkeypatch.setattr(Label, "dominates", lambda self, other: True)
    monkeypatch.setattr(LabelPolicy, "readable", lambda self, text, clearance: True)
    for person in campaign.world.people:
        campaign.http("lists", person, "GET", "/api/documents")
    leaks = campaign.report.findings[before:]
    assert leaks
    assert all(one.startswith("LEAK on lists") for one in leaks)


def test_the_rule_of_the_campaign_and_that_of_the_gate_are_one(campaign: leak.Campaign) -> None:
    policy = campaign.world.installation.gate.country.policy
    dice = random.Random(11)
    for _ in range(2000):
        held, asked = leak_world.a_mark(dice, clearance=True), leak_world.a_mark(dice)
        assert held.covers(asked) == policy.parse(held.text).dominates(policy.parse(asked.text))
