"""Use cases in versions: what is changed is approved again, and why is kept and committed to."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from gate_builders import World

from casemate.errors import Conflict, Invalid, NotFound, Refused
from casemate.gate.hours import Hours
from casemate.gate.usecase import quota, quota_of
from casemate.ledger.receipt import commit
from casemate.store.tables import use_case_decisions, use_case_versions

NO = {"answer": "no", "reason": "It judges nobody."}


def change(world: World, id: str, actor: Any = None, screening: Any = None, **fields: Any) -> Any:
    found = world.gate.use_cases.get(world.owner, id)
    terms = replace(found.terms, **fields)
    return world.gate.use_cases.change(actor or world.owner, id, terms, screening)


def test_a_change_of_an_approved_use_case_waits_while_the_approved_one_goes_on(
    world: World,
) -> None:
    world.use_case("office")
    admin = world.admin()
    changed = change(world, "office", retention_days=800)
    assert (changed.state, changed.version, changed.pending) == ("approved", 1, 2)
    assert changed.retention_days == 400
    assert world.gate.use_cases.get(world.owner, "office").pending == 2
    assert world.gate.admit(world.owner, use_case="office").use_case.retention_days == 400
    approved = world.gate.use_cases.approve(admin, "office", reason="The archive asks for it.")
    assert (approved.version, approved.pending, approved.retention_days) == (2, None, 800)
    assert world.gate.admit(world.owner, use_case="office").use_case.retention_days == 800


def test_who_proposed_the_change_does_not_approve_it_even_if_another_registered_the_use_case(
    world: World,
) -> None:
    world.use_case("office")
    admin = world.admin()
    change(world, "office", actor=admin, retention_days=800)
    with pytest.raises(Refused, match="second person decides"):
        world.gate.use_cases.approve(admin, "office")
    assert world.gate.use_cases.approve(world.owner, "office").version == 2


def test_a_draft_that_somebody_changed_is_approved_by_neither_without_a_second_person(
    world: World,
) -> None:
    world.use_case("office", approve=False)
    admin = world.admin()
    answers = world.gate.use_cases.not_prohibited("It judges nobody.")
    changed = change(world, "office", admin, answers, purpose="Another.")
    assert (changed.state, changed.version, changed.purpose) == ("draft", 1, "Another.")
    with pytest.raises(Refused, match="second person"):
        world.gate.use_cases.approve(admin, "office")
    assert world.gate.use_cases.approve(world.owner, "office").state == "approved"


def test_the_same_terms_again_change_nothing_and_leave_no_entry(world: World) -> None:
    world.use_case("office")
    change(world, "office", retention_days=800)
    before = len(world.ledger.entries)
    assert change(world, "office", retention_days=800).pending == 2
    assert len(world.ledger.entries) == before


def test_a_newer_proposal_takes_the_place_of_the_one_that_waited(world: World) -> None:
    world.use_case("office")
    admin = world.admin()
    change(world, "office", retention_days=800)
    assert change(world, "office", retention_days=900).pending == 3
    with pytest.raises(Conflict, match="it is 3 now"):
        world.gate.use_cases.approve(admin, "office", expected=2)
    assert world.gate.use_cases.approve(admin, "office", expected=3).retention_days == 900
    versions, _ = world.gate.use_cases.history(world.owner, "office")
    assert [one.state for one in versions] == ["replaced", "withdrawn", "in force"]


def test_a_proposal_is_withdrawn_and_nothing_else_is(world: World) -> None:
    world.use_case("office")
    change(world, "office", retention_days=800)
    withdrawn = world.gate.use_cases.withdraw(world.owner, "office", "A mistake.")
    assert (withdrawn.state, withdrawn.version, withdrawn.pending) == ("approved", 1, None)
    with pytest.raises(Conflict, match="No change"):
        world.gate.use_cases.withdraw(world.owner, "office", "Again.")
    world.use_case("draft", approve=False)
    with pytest.raises(Conflict, match="No change"):
        world.gate.use_cases.withdraw(world.owner, "draft", "A draft.")


def test_a_change_names_only_collections_that_the_second_person_may_read(world: World) -> None:
    world.use_case("office")
    low = world.admin("low", "unclassified")
    change(world, "office", collections=(world.collection("plans", "secret"),))
    with pytest.raises(Refused, match="cannot approve what you may not see"):
        world.gate.use_cases.approve(low, "office")
    with pytest.raises(NotFound, match="no collection"):
        change(world, "office", collections=("absent",))


def test_what_is_retired_is_not_changed(world: World) -> None:
    world.use_case("office")
    world.gate.use_cases.retire(world.owner, "office", "It is over.")
    with pytest.raises(Conflict, match="retired cannot be changed"):
        change(world, "office", retention_days=800)


@pytest.mark.parametrize("reason", ["", "  ", "x" * 4001, "\ud800"])
def test_suspending_and_retiring_need_a_reason(world: World, reason: str) -> None:
    for act in (world.gate.use_cases.suspend, world.gate.use_cases.retire):
        with pytest.raises(Invalid, match="needs a reason"):
            act(world.owner, "documents", reason)
    assert world.gate.use_cases.get(world.owner, "documents").state == "approved"


def test_reasons_and_answers_are_kept_and_the_ledger_commits_to_them(world: World) -> None:
    world.use_case("office")
    world.gate.use_cases.suspend(world.owner, "office", "  The guidelines changed. ")
    _, (approved, suspended) = world.gate.use_cases.history(world.owner, "office")
    assert (approved.state, approved.reason) == ("approved", "")
    assert (suspended.state, suspended.reason) == ("suspended", "The guidelines changed.")
    entry = world.ledger.entries[-1]
    registered = next(one for one in world.ledger.entries if one.get("use_case") == "office")
    with world.database.read() as connection:
        nonce = connection.execute(
            sa.select(use_case_decisions.c.nonce).order_by(use_case_decisions.c.id.desc())
        ).scalar()
        version = connection.execute(
            sa.select(use_case_versions).where(use_case_versions.c.use_case == "office")
        ).one()
    assert entry["reason"] == commit(nonce, "The guidelines changed.")
    assert registered["screening"] == commit(version.answers_nonce, json.loads(version.answers))
    assert "guidelines" not in json.dumps(world.ledger.entries)
    assert "judges" not in json.dumps(world.ledger.entries)


def test_each_entry_names_version_and_digests_before_and_after(world: World) -> None:
    world.use_case("office")
    change(world, "office", retention_days=800)
    world.gate.use_cases.approve(world.caller("second office"), "office")
    mine = [one for one in world.ledger.entries if one.get("use_case") == "office"]
    kinds = [(one["kind"], one["version"]) for one in mine]
    assert kinds == [
        ("use_case.registered", 1),
        ("use_case.approved", 1),
        ("use_case.changed", 2),
        ("use_case.approved", 2),
    ]
    registered, approved, changed, again = mine
    assert "before" not in registered
    assert approved["before"] == registered["after"]
    assert changed["before"] == again["before"] == approved["after"]
    assert again["after"] == changed["after"] != changed["before"]  # what was proposed


def test_history_is_for_those_who_administer(world: World) -> None:
    world.use_case("office")
    with pytest.raises(Refused):
        world.gate.use_cases.history(world.person("Bob"), "office")


# Screening


def test_a_yes_refuses_the_registration_and_leaves_nothing(world: World) -> None:
    answers = world.gate.use_cases.not_prohibited("It judges nobody.")
    answers["social-scoring"] = {"answer": "yes", "reason": "It scores citizens."}
    with pytest.raises(Refused, match=r"prohibited practice \(AI Act, Article 5\(1\)\(c\)\)"):
        world.use_case("scores", screening=answers)
    with pytest.raises(NotFound):
        world.gate.use_cases.get(world.owner, "scores")
    assert "use_case.registered" not in world.ledger.kinds()[4:]


def test_without_answers_nothing_is_registered(world: World) -> None:
    with pytest.raises(Invalid, match="lacks answers: manipulation, "):
        world.use_case("office", screening={})


def test_another_purpose_is_screened_anew_and_other_terms_are_not(world: World) -> None:
    world.use_case("office")
    with pytest.raises(Invalid, match="lacks answers"):
        change(world, "office", purpose="Something else.")
    assert change(world, "office", ceiling=world.label("restricted")).pending == 2


def test_a_question_that_applies_by_now_is_answered_before_anybody_approves(world: World) -> None:
    world.watch.moment = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
    world.use_case("office")
    world.use_case("early", approve=False, screening={
        **world.gate.use_cases.not_prohibited("It judges nobody."), "intimate-images": NO
    })  # fmt: skip
    world.gate.use_cases.suspend(world.owner, "office", "To look at it again.")
    world.watch.pass_by(days=1)
    second = world.caller("second office")
    with pytest.raises(Conflict, match="practices: intimate-images") as caught:
        world.gate.use_cases.approve(second, "office")
    assert "casemate usecase change office --answers" in caught.value.next
    change(world, "office", screening=world.gate.use_cases.not_prohibited("It writes letters."))
    assert world.gate.use_cases.approve(second, "office").version == 2
    assert world.gate.use_cases.approve(second, "early").state == "approved"


def test_the_shipped_use_case_is_screened_too(world: World) -> None:
    ((version,), _) = world.gate.use_cases.history(world.owner, "documents")
    assert world.gate.use_cases.unanswered(version) == ()


# Hours


def test_outside_its_hours_a_use_case_is_closed_and_says_when_it_opens(world: World) -> None:
    world.use_case("office", hours=Hours.parse("mon-fri 08:00-18:00", "Europe/Luxembourg"))
    assert world.gate.admit(world.owner, use_case="office")
    world.watch.moment = datetime(2026, 3, 6, 18, 30, tzinfo=UTC)  # a Friday
    with pytest.raises(Refused, match="open mon-fri 08:00-18:00 Europe/Luxembourg") as caught:
        world.gate.admit(world.owner, use_case="office")
    assert caught.value.next == (
        "Ask again when it opens: Monday 09 March 2026, 08:00, Europe/Luxembourg."
    )
    entry = world.ledger.entries[-1]
    assert (entry["kind"], entry["policies"]) == ("refused", ["outside-opening-hours"])
    assert world.gate.admit(world.owner, use_case="documents")


def test_hours_are_terms_and_so_are_approved(world: World) -> None:
    world.use_case("office")
    changed = change(world, "office", hours=Hours.parse("mon 08:00-09:00", "UTC"))
    assert (changed.hours, changed.pending) == (None, 2)
    world.gate.use_cases.approve(world.caller("second office"), "office")
    assert str(world.gate.use_cases.get(world.owner, "office").hours) == "mon 08:00-09:00 UTC"


# Quotas


def test_quotas_are_kept_as_they_were_declared(world: World) -> None:
    amounts = quota({"tokens/day": 200_000, "runs": 4})
    assert world.use_case("office", quota=amounts).quota == (("runs", 4), ("tokens/day", 200_000))
    assert quota_of(["tokens/day=200000", "runs=4"]) == amounts
    assert world.gate.admit(world.owner, use_case="office").use_case.quota == amounts


@pytest.mark.parametrize(
    "wrong",
    [{"tokens": 1}, {"runs/day": 1}, {"tokens/week": 1}, {"runs": -1}, {"runs": True},
     {"runs": 1.5}, {"runs": 10**16}],
)  # fmt: skip
def test_what_is_no_quota_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="quota"):
        quota(wrong)


@pytest.mark.parametrize("text", ["runs", "runs=", "runs=-1", "runs=1e3", "=1", "runs=٣"])
def test_what_is_no_quota_on_a_command_line_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        quota_of([text])
