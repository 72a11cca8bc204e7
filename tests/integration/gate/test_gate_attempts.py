"""Guessing is met with pauses, for a name and for an address, and tells nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from gate_builders import PASSWORD, World

from casemate.errors import Unauthenticated
from casemate.gate.attempts import Attempts
from casemate.store.database import Database
from casemate.store.tables import attempts


def guess(world: World, name: str, address: str = "", password: str = "wrong wrong") -> str:
    with pytest.raises(Unauthenticated) as caught:
        world.gate.sessions.sign_in(name, password, address)
    return str(caught.value)


def with_password(world: World, name: str = "Bob") -> None:
    world.person(name)
    world.gate.principals.set_password(world.owner, name, PASSWORD)


def closed(world: World) -> list[dict[str, object]]:
    return [one for one in world.ledger.entries if one["kind"] == "sign_in.locked"]


def test_a_closed_name_is_recorded_alike_whether_somebody_has_it_or_not(world: World) -> None:
    with_password(world)
    for name in ("Bob", "Nobody"):
        for _ in range(4):
            guess(world, name)
    assert closed(world) == []
    answers = {guess(world, name) for name in ("Bob", "Nobody") for _ in range(2)}
    assert len(answers) == 1
    bob, nobody = closed(world)
    assert bob["subject"] == world.gate.principals.named("Bob").pseudonym
    assert set(bob) == set(nobody)
    assert len(str(bob["subject"])) == len(str(nobody["subject"]))
    assert str(nobody["subject"])[0] == str(bob["subject"])[0]
    assert (bob["of"], bob["failures"]) == (nobody["of"], nobody["failures"]) == ("account", 5)


def test_an_unknown_name_keeps_its_stand_in_while_it_is_guessed_at(world: World) -> None:
    for _ in range(8):
        guess(world, "Nobody")
        world.watch.pass_by(minutes=15)
    assert len({one["subject"] for one in closed(world)}) == 1
    assert len(closed(world)) == 4


def test_one_address_that_tries_many_names_is_closed_for_all_of_them(world: World) -> None:
    with_password(world)
    for number in range(20):
        guess(world, f"name {number}", "192.0.2.7")
    guess(world, "name 20", "192.0.2.7")
    guess(world, "Bob", "192.0.2.7", PASSWORD)
    assert [one["of"] for one in closed(world)] == ["address"]
    assert "192.0.2.7" not in str(world.ledger.entries)
    assert world.gate.sessions.sign_in("Bob", PASSWORD, "192.0.2.8")
    world.watch.pass_by(minutes=2)
    assert world.gate.sessions.sign_in("Bob", PASSWORD, "192.0.2.7")


def test_an_account_of_ones_own_does_not_open_an_address_again(world: World) -> None:
    with_password(world)
    for number in range(19):
        guess(world, f"name {number}", "192.0.2.7")
        assert world.gate.sessions.sign_in("Bob", PASSWORD, "192.0.2.7")
    guess(world, "name 19", "192.0.2.7")
    guess(world, "Bob", "192.0.2.7", PASSWORD)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_addresses_are_counted_by_who_can_have_them(
    world: World, first: str, second: str, same: bool
) -> None:
    for number in range(20):
        guess(world, f"name {number}", first)
    with_password(world)
    if same:
        guess(world, "Bob", second, PASSWORD)
    else:
        assert world.gate.sessions.sign_in("Bob", PASSWORD, second)


def test_this_machine_itself_is_not_closed(world: World) -> None:
    with_password(world)
    for number in range(30):
        guess(world, f"name {number}", ("127.0.0.1", "::1")[number % 2])
    assert world.gate.sessions.sign_in("Bob", PASSWORD, "127.0.0.1")


def test_names_that_differ_by_case_are_guessed_at_as_one(world: World) -> None:
    for name in ("bob", "Bob", "BOB", "bOb", "boB"):
        guess(world, name)
    assert len(closed(world)) == 1


def test_what_was_counted_outlives_the_process_and_holds_for_another(
    world: World, tmp_path: Path
) -> None:
    with_password(world)
    for _ in range(5):
        guess(world, "Bob")
    other = Database.open(tmp_path / "data" / "casemate.sqlite")
    try:
        again = Attempts(other, world.gate.acts, lambda size: b"x" * size)
        assert not again.begin("Bob", "").open_now
        assert again.begin("Kim", "").open_now
    finally:
        other.close()


def test_failures_are_forgotten_after_a_day_and_leave_nothing(world: World) -> None:
    for number in range(30):
        guess(world, f"name {number}", "192.0.2.7")
    world.watch.pass_by(days=1, minutes=1)
    guess(world, "another")
    with world.database.read() as connection:
        assert len(connection.execute(sa.select(attempts)).all()) == 1


def test_a_new_password_opens_a_closed_name(world: World) -> None:
    with_password(world)
    for _ in range(6):
        guess(world, "Bob")
    world.gate.principals.set_password(world.owner, "Bob", PASSWORD)
    assert world.gate.sessions.sign_in("Bob", PASSWORD)
