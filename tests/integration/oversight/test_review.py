"""Reviews: a person's decision on a run, recorded like the run itself."""

from __future__ import annotations

import pytest
from house_builders import DOG_TAX, FEES, House

from casemate.errors import CasemateError, Invalid, NotFound
from casemate.gate.caller import Caller


@pytest.fixture
def reviewed(house: House) -> tuple[House, str, Caller]:
    house.add("notes", fees=FEES)
    bob = house.person("bob")
    return house, house.ask(DOG_TAX, bob).run, house.person("carla", roles=("auditor", "user"))


Reviewed = tuple[House, str, Caller]


@pytest.mark.parametrize("decision", ["approved", "rejected"])
def test_a_decision_is_kept_and_recorded_without_its_reason(
    reviewed: Reviewed, decision: str
) -> None:
    house, run, carla = reviewed
    reviews = house.installation.reviews
    made = reviews.decide(carla, run, decision, "  It names the right fee.  ")
    assert (made.run, made.decision, made.reason) == (run, decision, "It names the right fee.")
    assert reviews.of(carla, run) == [made]
    entry = house.entries()[made.entry]
    assert (entry["kind"], entry["run"], entry["decision"]) == ("run.reviewed", run, decision)
    assert entry["actor"] == carla.principal.pseudonym
    assert "right fee" not in str(entry)


def test_reviews_are_listed_oldest_first(reviewed: Reviewed) -> None:
    house, run, carla = reviewed
    reviews = house.installation.reviews
    made = [
        reviews.decide(carla, run, decision, "Because.") for decision in ("rejected", "approved")
    ]
    assert reviews.of(carla, run) == made


@pytest.mark.parametrize(
    ("decision", "reason"),
    [("maybe", "x"), ("", "x"), ("approved", ""), ("approved", " "), ("approved", "x" * 2_001)],
)
def test_a_decision_without_sense_or_reason_is_refused(
    reviewed: Reviewed, decision: str, reason: str
) -> None:
    house, run, carla = reviewed
    before = len(house.entries())
    with pytest.raises(Invalid):
        house.installation.reviews.decide(carla, run, decision, reason)
    assert len(house.entries()) == before


def test_who_is_no_auditor_reviews_nothing(reviewed: Reviewed) -> None:
    house, run, _ = reviewed
    for name in ("bob", house.owner.principal.name):
        who = Caller(house.installation.gate.principals.named(name), None, "local")
        if "auditor" in who.principal.roles:
            continue
        with pytest.raises(CasemateError):
            house.installation.reviews.decide(who, run, "approved", "Mine.")


def test_a_run_that_is_absent_or_not_finished_cannot_be_reviewed(reviewed: Reviewed) -> None:
    from casemate.reasoning.event import Request

    house, _, carla = reviewed
    admission = house.installation.gate.admit(house.owner, use_case=None)
    open_run = house.installation.runs.open(
        admission, Request(question=DOG_TAX), "sha256:" + "0" * 64, house.label("unclassified")
    )
    for run in (open_run.id, "r_absent"):
        with pytest.raises(NotFound, match="no such run"):
            house.installation.reviews.decide(carla, run, "approved", "Fine.")
