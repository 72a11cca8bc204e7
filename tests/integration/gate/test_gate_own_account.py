"""What people do with their own account, and what somebody at their browser cannot."""

from __future__ import annotations

import pytest
from gate_builders import PASSWORD, World

from casemate.errors import Invalid, NotFound, Refused, Unauthenticated
from casemate.gate.caller import Caller
from casemate.gate.own_account import WrongPassword

NEW = "nine quiet otters under the bridge"


def signed_in(world: World, name: str = "Bob") -> tuple[str, Caller]:
    token = world.gate.sessions.sign_in(name, PASSWORD)
    return token, world.gate.sessions.caller(token)


@pytest.fixture
def bob(world: World) -> Caller:
    world.person("Bob")
    world.gate.principals.set_password(world.owner, "Bob", PASSWORD)
    return signed_in(world)[1]


def test_everybody_sees_their_own_open_sessions_and_no_others(world: World, bob: Caller) -> None:
    world.person("Anna")
    world.gate.principals.set_password(world.owner, "Anna", PASSWORD)
    signed_in(world, "Anna")
    world.watch.pass_by(minutes=5)
    token, other = signed_in(world)
    first, second = world.gate.own_accounts.sessions(other)
    assert (first.this, second.this) == (True, False)
    assert (first.begun, second.begun) == ("2026-03-02T09:05:00Z", "2026-03-02T09:00:00Z")
    assert token not in repr(first)
    world.watch.pass_by(hours=12)
    assert world.gate.own_accounts.sessions(other) == []


def test_all_other_sessions_end_at_once_and_on_record(world: World, bob: Caller) -> None:
    other, _ = signed_in(world)
    assert world.gate.own_accounts.end_others(bob) == 1
    with pytest.raises(Unauthenticated):
        world.gate.sessions.caller(other)
    assert world.gate.sessions.stands(bob.credential)
    assert world.ledger.kinds()[-1] == "session.ended"
    assert world.gate.own_accounts.end_others(bob) == 0


def test_who_administers_ends_the_sessions_of_one_or_of_all(world: World, bob: Caller) -> None:
    world.person("Anna")
    world.gate.principals.set_password(world.owner, "Anna", PASSWORD)
    _, anna = signed_in(world, "Anna")
    with pytest.raises(Refused):
        world.gate.own_accounts.sign_out(bob, "Anna")
    assert world.gate.own_accounts.sign_out(world.owner, "Anna") == 1
    assert [world.gate.sessions.stands(one.credential) for one in (anna, bob)] == [False, True]
    ended = world.ledger.entries[-1]
    assert (ended["kind"], ended["subject"]) == ("session.ended", anna.principal.pseudonym)
    _, again = signed_in(world, "Anna")
    assert world.gate.own_accounts.sign_out(world.owner, None) == 2
    assert not world.gate.sessions.stands(again.credential)
    with pytest.raises(NotFound):
        world.gate.own_accounts.sign_out(world.owner, "Nobody")


def test_a_new_password_needs_the_one_of_before_and_ends_every_session(
    world: World, bob: Caller
) -> None:
    with pytest.raises(WrongPassword):
        world.gate.own_accounts.change_password(bob, "not it at all", NEW)
    world.gate.own_accounts.change_password(bob, PASSWORD, NEW)
    assert not world.gate.sessions.stands(bob.credential)
    assert world.gate.sessions.sign_in("Bob", NEW)
    with pytest.raises(Unauthenticated):
        world.gate.sessions.sign_in("Bob", PASSWORD)
    assert "principal.password_set" in world.ledger.kinds()


def test_whoever_finds_a_browser_open_cannot_guess_on_and_on(world: World, bob: Caller) -> None:
    for _ in range(5):
        with pytest.raises(WrongPassword):
            world.gate.own_accounts.change_password(bob, "a guess of somebody", NEW)
    with pytest.raises(WrongPassword):
        world.gate.own_accounts.change_password(bob, PASSWORD, NEW)
    assert world.ledger.kinds()[-1] == "sign_in.locked"
    world.watch.pass_by(minutes=1)
    world.gate.own_accounts.change_password(bob, PASSWORD, NEW)


def test_a_new_password_that_is_easy_to_guess_changes_nothing(world: World, bob: Caller) -> None:
    with pytest.raises(Invalid):
        world.gate.own_accounts.change_password(bob, PASSWORD, "password1234")
    assert world.gate.sessions.sign_in("Bob", PASSWORD)


def test_without_a_password_there_is_none_to_change(world: World) -> None:
    world.person("Link")
    link = world.gate.sessions.link_for(world.gate.principals.named("Link"), actor=world.owner)
    caller = world.gate.sessions.caller(world.gate.sessions.redeem(link))
    with pytest.raises(Refused, match="no password"):
        world.gate.own_accounts.change_password(caller, "", NEW)


def test_a_key_changes_nothing_of_its_holders_account(world: World, bob: Caller) -> None:
    key = world.caller("Bob", via="key")
    with pytest.raises(Refused):
        world.gate.own_accounts.change_password(key, PASSWORD, NEW)
    with pytest.raises(Refused):
        world.gate.own_accounts.end_others(key)
