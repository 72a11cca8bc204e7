"""Retention: content goes when its time is over, never before six months, never under a hold."""

from __future__ import annotations

import datetime

import pytest
import sqlalchemy as sa
from house_builders import DOG_TAX, FEES, House

from casemate.errors import Invalid, NotFound, Refused
from casemate.gate.caller import Caller
from casemate.gate.country import RETENTION_FLOOR_DAYS
from casemate.ledger.verify import verify
from casemate.store.tables import use_cases


@pytest.fixture
def asked(house: House) -> tuple[House, Caller, str]:
    house.add("notes", fees=FEES)
    bob = house.person("bob")
    return house, bob, house.ask(DOG_TAX, bob).run


Asked = tuple[House, Caller, str]


def days_later(house: House, days: int) -> None:
    acts = house.installation.gate.acts
    now = datetime.datetime.now(datetime.UTC)
    acts.clock = lambda: now + datetime.timedelta(days=days)


def applied_in(house: House) -> list[dict[str, object]]:
    return [entry for entry in house.entries() if entry["kind"] == "retention.applied"]


def test_old_content_is_erased_and_the_record_of_it_stays(asked: Asked) -> None:
    house, bob, run = asked
    kept = house.installation.runs.receipt(bob, run)
    days_later(house, 184)
    (done,) = house.installation.retention.run(house.owner)
    assert (done.use_case, done.runs, done.openings, done.held) == ("documents", 1, 4, 0)
    (entry,) = applied_in(house)
    assert entry["use_cases"] == {
        "documents": {"before": done.before, "runs": 1, "openings": 4, "held": 0}
    }
    with pytest.raises(NotFound, match="erased"):
        house.installation.runs.receipt(bob, run)
    assert house.installation.runs.get(bob, run).question == ""
    assert len(house.entries_of(run)) == 2
    verify(kept, vkey=house.installation.ledger.vkey)
    house.installation.retention.run(house.owner)
    assert len(applied_in(house)) == 1  # nothing was left to erase


def test_what_is_younger_than_the_floor_stays_whatever_the_use_case_says(asked: Asked) -> None:
    house, bob, run = asked
    with house.installation.database.write() as connection:
        connection.execute(sa.update(use_cases).values(retention_days=1))
    days_later(house, RETENTION_FLOOR_DAYS - 1)
    assert [one.runs for one in house.installation.retention.run(house.owner)] == [0]
    assert house.installation.runs.get(bob, run).question == DOG_TAX
    assert applied_in(house) == []


def test_a_use_case_that_keeps_longer_is_given_its_time(house: House) -> None:
    house.add("notes", fees=FEES)
    house.use_case("office", "unclassified")  # 400 days
    house.ask(DOG_TAX, house.person("bob"), use_case="office")
    for days, runs in ((399, 0), (401, 1)):
        days_later(house, days)
        found = {one.use_case: one for one in house.installation.retention.run(house.owner)}
        assert found["office"].runs == runs


def test_a_hold_keeps_old_content_and_is_counted(asked: Asked) -> None:
    house, bob, run = asked
    house.ask(DOG_TAX, bob)
    house.installation.holds.place(house.owner, "run", run, "Inquiry.", "open")
    days_later(house, 184)
    (done,) = house.installation.retention.daily()
    assert (done.runs, done.held) == (1, 1)
    assert house.installation.runs.get(bob, run).question == DOG_TAX
    assert applied_in(house)[0]["actor"] == "installation"


def test_words_of_reviews_go_with_what_they_are_about(asked: Asked) -> None:
    house, _, run = asked
    auditor = house.person("carla", roles=("auditor", "user"))
    house.installation.reviews.decide(auditor, run, "approved", "Forty euros is right.")
    days_later(house, 184)
    house.installation.retention.run(house.owner)
    (review,) = house.installation.reviews.of(auditor, run)
    assert (review.decision, review.reason) == ("approved", "")


def test_only_who_administers_runs_it(asked: Asked) -> None:
    house, bob, _ = asked
    with pytest.raises(Refused, match="administer"):
        house.installation.retention.run(bob)


def test_a_use_case_below_the_floor_is_refused_by_name(house: House) -> None:
    with pytest.raises(Invalid, match=r"Use case quick .*182 days.*183.*19\(1\) and 26\(6\)"):
        house.installation.gate.use_cases.register(
            house.owner,
            "quick",
            purpose="To be quick.",
            legal_basis="None that we know.",
            risk="minimal",
            models=("quote",),
            ceiling=house.label("unclassified"),
            oversight="none",
            retention_days=182,
            screening={},
        )
