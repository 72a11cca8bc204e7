"""Legal holds: while one covers something, nobody erases it."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from house_builders import DOG_TAX, FEES, House, a_house, casemate

from casemate.errors import Conflict, Invalid, NotFound, Refused
from casemate.gate.caller import Caller
from casemate.ledger.receipt import commit

REASON = "Inquiry no. 4711 about the dog tax"
ANNE = "anne"


@pytest.fixture
def asked(house: House) -> tuple[House, str]:
    house.add("notes", fees=FEES)
    house.add("unused", glass="Glass is collected on Friday.")
    return house, house.ask(DOG_TAX, house.person(ANNE), collections=("notes",)).run


Asked = tuple[House, str]


@pytest.mark.parametrize("kind", ["principal", "run", "collection"])
def test_a_hold_keeps_from_forgetting_until_it_is_lifted(asked: Asked, kind: str) -> None:
    house, run = asked
    target = {"principal": ANNE, "run": run, "collection": "notes"}[kind]
    hold = house.installation.holds.place(house.owner, kind, target, REASON, "open")
    with pytest.raises(Refused, match=hold.id) as refusal:
        house.installation.forgetting.forget(house.owner, ANNE)
    assert "no. 4711" not in str(refusal.value)
    lifted = house.installation.holds.lift(house.owner, hold.id, "Closed.")
    assert (lifted.lifted is not None, lifted.lift_reason) == (True, "Closed.")
    assert house.installation.forgetting.forget(house.owner, ANNE).counts["openings"] == 4


@pytest.mark.parametrize("kind", ["principal", "collection"])
def test_a_hold_on_something_else_keeps_nobody_from_it(asked: Asked, kind: str) -> None:
    house, _ = asked
    house.person("bob")
    target = {"principal": "bob", "collection": "unused"}[kind]
    house.installation.holds.place(house.owner, kind, target, REASON, "open")
    assert house.installation.forgetting.forget(house.owner, ANNE).entry is not None


def test_a_hold_on_a_collection_of_ones_own_keeps_it(asked: Asked) -> None:
    house, _ = asked
    anne = Caller(house.installation.gate.principals.named(ANNE), None, "local")
    auditor = house.person("ada", roles=("auditor", "user", "admin"))
    house.installation.library.create_collection(auditor, "own", readers=())
    house.installation.holds.place(auditor, "collection", "own", REASON, "open")
    with pytest.raises(Refused, match="legal hold"):
        house.installation.forgetting.forget(house.owner, "ada")
    assert house.installation.forgetting.forget(house.owner, anne.principal.name).entry


def test_a_hold_ends_with_its_last_day(asked: Asked) -> None:
    house, _ = asked
    today = house.installation.gate.acts.now()[:10]
    house.installation.holds.place(house.owner, "principal", ANNE, REASON, today)
    with pytest.raises(Refused, match="legal hold"):
        house.installation.forgetting.forget(house.owner, ANNE)
    acts = house.installation.gate.acts
    later, acts.clock = acts.clock, lambda: later() + datetime.timedelta(days=1)
    assert house.installation.forgetting.forget(house.owner, ANNE).entry is not None


def test_the_ledger_commits_to_the_reason_and_does_not_show_it(asked: Asked) -> None:
    house, _ = asked
    holds = house.installation.holds
    placed = holds.place(house.owner, "principal", ANNE, REASON, "2999-12-31")
    holds.lift(house.owner, placed.id, "Closed.")
    kinds = {entry["kind"]: entry for entry in house.entries() if "hold" in entry}
    assert set(kinds) == {"hold.placed", "hold.lifted"}
    assert kinds["hold.placed"]["until"] == "2999-12-31"
    assert "no. 4711" not in str(house.entries())
    assert kinds["hold.placed"]["reason"] != commit(bytes(32), REASON)


def test_the_reason_is_sealed_on_disk_and_goes_with_who_it_is_about(asked: Asked) -> None:
    house, _ = asked
    holds = house.installation.holds
    placed = holds.place(house.owner, "principal", ANNE, REASON, "open")
    holds.lift(house.owner, placed.id, "Closed.")
    for path in house.folder.rglob("*"):
        assert not path.is_file() or REASON.encode() not in path.read_bytes()
    assert holds.list(house.owner)[0].reason == REASON
    house.installation.forgetting.forget(house.owner, ANNE)
    assert holds.list(house.owner)[0].reason is None
    name = holds.list(house.owner)[0].target
    with pytest.raises(Conflict, match="forgotten"):
        holds.place(house.owner, "principal", name, REASON, "open")


def test_who_may_not_audit_sees_holds_without_reasons_and_changes_none(asked: Asked) -> None:
    house, _ = asked
    holds = house.installation.holds
    placed = holds.place(house.owner, "principal", ANNE, REASON, "open")
    admin, user = house.person("admin", roles=("admin",)), house.person("user")
    (seen,) = holds.list(admin)
    assert (seen.id, seen.reason) == (placed.id, None)
    with pytest.raises(Refused):
        holds.list(user)
    for who in (admin, user):
        with pytest.raises(Refused, match="ledger"):
            holds.place(who, "principal", ANNE, REASON, "open")
        with pytest.raises(Refused):
            holds.lift(who, placed.id, "Because.")


@pytest.mark.parametrize(
    ("kind", "target", "reason", "until", "error"),
    [
        ("principal", "nobody", REASON, "open", NotFound),
        ("run", "r_absent", REASON, "open", NotFound),
        ("collection", "absent", REASON, "open", NotFound),
        ("model", "quote", REASON, "open", Invalid),
        ("principal", ANNE, " ", "open", Invalid),
        ("principal", ANNE, REASON, "soon", Invalid),
        ("principal", ANNE, REASON, "2001-01-01", Invalid),
    ],
)
def test_a_hold_that_cannot_be_is_refused(
    asked: Asked, kind: str, target: str, reason: str, until: str, error: type[Exception]
) -> None:
    house, _ = asked
    with pytest.raises(error):
        house.installation.holds.place(house.owner, kind, target, reason, until)
    assert house.installation.holds.list(house.owner) == []


def test_the_commands_place_list_and_lift(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with a_house(data) as house:
        house.person(ANNE)
    made = casemate(
        *("hold", "add", "--principal", ANNE, "--reason", REASON, "--until", "open", "--json"),
        data=data,
    ).json
    assert "legal hold" in casemate("forget", ANNE, "--yes", data=data).refused()
    assert [one["id"] for one in casemate("hold", "list", "--json", data=data).json] == [made["id"]]
    casemate("hold", "lift", made["id"], "--reason", "Closed.", data=data).fine()
    casemate("forget", ANNE, "--yes", data=data).fine()


def test_what_a_hold_holds_is_told_only_to_who_may_read_it(house: House) -> None:
    house.clear_owner_for("secret")
    house.collection("vault", "secret")
    house.add("vault", fees=FEES)
    house.use_case("office", "secret")
    run = house.ask(DOG_TAX, use_case="office").run
    for kind, target in (("collection", "vault"), ("run", run)):
        house.installation.holds.place(house.owner, kind, target, REASON, "open")
    seen = house.installation.holds.list(house.owner)
    assert {one.target for one in seen} == {"vault", run}
    assert {one.reason for one in seen} == {REASON}
    auditor = house.person("ada", roles=("auditor", "admin", "user"))
    shown = house.installation.holds.list(auditor)
    assert {(one.id, one.kind) for one in shown} == {(one.id, one.kind) for one in seen}
    assert {(one.target, one.reason) for one in shown} == {(None, None)}
