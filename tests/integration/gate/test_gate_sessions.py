from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from gate_builders import PASSWORD, World

from casemate.errors import Refused, Unauthenticated
from casemate.gate.attempts import account
from casemate.gate.password import Passwords
from casemate.gate.session import SecondStep
from casemate.store.tables import attempts, links, sessions


def answer(world: World, name: str, password: str) -> tuple[str, str]:
    with pytest.raises(Unauthenticated) as caught:
        world.gate.sessions.sign_in(name, password)
    return caught.value.what, caught.value.next


def with_password(world: World, name: str = "Bob") -> None:
    world.person(name)
    world.gate.principals.set_password(world.owner, name, PASSWORD)


def test_a_link_signs_in_once(world: World) -> None:
    link = world.gate.sessions.link_for(world.owner.principal)
    session = world.gate.sessions.redeem(link)
    caller = world.gate.sessions.caller(session)
    assert (caller.principal.name, caller.via, caller.use_case) == ("Anne", "session", None)
    with pytest.raises(Unauthenticated, match="used already"):
        world.gate.sessions.redeem(link)


def test_a_link_opened_by_many_at_one_moment_signs_in_one(world: World) -> None:
    for _ in range(5):
        link = world.gate.sessions.link_for(world.owner.principal)
        start = threading.Barrier(8)

        def redeem(_: int, link: str = link, start: threading.Barrier = start) -> bool:
            start.wait()
            try:
                world.gate.sessions.redeem(link)
            except Unauthenticated:
                return False
            return True

        with ThreadPoolExecutor(8) as crowd:
            assert sum(crowd.map(redeem, range(8))) == 1


def test_a_link_too_old_signs_nobody_in(world: World) -> None:
    link = world.gate.sessions.link_for(world.owner.principal)
    world.watch.pass_by(minutes=30)
    with pytest.raises(Unauthenticated):
        world.gate.sessions.redeem(link)


@pytest.mark.parametrize("token", ["", "x", "é", "\ud800", "a" * 10_000])
def test_what_is_no_token_is_refused_like_a_wrong_one(world: World, token: str) -> None:
    with pytest.raises(Unauthenticated):
        world.gate.sessions.redeem(token)
    with pytest.raises(Unauthenticated):
        world.gate.sessions.caller(token)


def test_tokens_are_kept_as_hashes_and_never_recorded(world: World) -> None:
    link = world.gate.sessions.link_for(world.owner.principal)
    other = world.gate.sessions.link_for(world.owner.principal)
    session = world.gate.sessions.redeem(link)
    with world.database.read() as connection:
        kept = str([connection.execute(sa.select(table)).all() for table in (links, sessions)])
    for token in (link, other, session):
        assert token not in kept
        assert token not in json.dumps(world.ledger.entries)


def test_a_session_ends_by_time_and_by_signing_out(world: World) -> None:
    sign_in = lambda: world.gate.sessions.redeem(  # noqa: E731
        world.gate.sessions.link_for(world.owner.principal)
    )
    first, second = sign_in(), sign_in()
    world.gate.sessions.sign_out(first)
    world.gate.sessions.sign_out(first)
    with pytest.raises(Unauthenticated):
        world.gate.sessions.caller(first)
    assert world.gate.sessions.caller(second)
    world.watch.pass_by(hours=12)
    with pytest.raises(Unauthenticated):
        world.gate.sessions.caller(second)


def test_a_session_that_nobody_uses_ends(world: World) -> None:
    with_password(world)
    used, idle = (world.gate.sessions.sign_in("Bob", PASSWORD) for _ in range(2))
    for _ in range(3):
        world.watch.pass_by(minutes=29)
        assert world.gate.sessions.caller(used)
    with pytest.raises(Unauthenticated, match="no longer"):
        world.gate.sessions.caller(idle)
    world.watch.pass_by(minutes=60)
    with pytest.raises(Unauthenticated, match="no longer"):
        world.gate.sessions.caller(used)


def test_using_a_session_changes_no_right(world: World) -> None:
    """Otherwise everybody's admission would be read anew each minute."""
    with_password(world)
    session = world.gate.sessions.sign_in("Bob", PASSWORD)
    before = world.database.rights_changes()
    world.watch.pass_by(minutes=1)
    world.gate.sessions.caller(session)
    assert world.database.rights_changes() == before


def test_a_session_knows_whether_it_was_opened_with_two_factors(world: World) -> None:
    with_password(world)
    plain = world.gate.sessions.caller(world.gate.sessions.sign_in("Bob", PASSWORD))
    assert (plain.strength.second_factor, plain.strength.level) == (False, 0)
    made = world.gate.second_factors.enrol(world.caller("Bob"), "Bob")
    with pytest.raises(SecondStep) as step:
        world.gate.sessions.sign_in("Bob", PASSWORD)
    session = world.gate.sessions.complete(step.value.ticket, made.recovery_codes[0])
    assert world.gate.sessions.caller(session).strength.second_factor


@pytest.mark.parametrize("other", ["BOB", "ｂｏｂ", "Böb", "Bo\u0301b", " bob  ", "𝐛𝐨𝐛"])
def test_spellings_that_a_directory_takes_for_one_name_are_guessed_at_as_one(other: str) -> None:
    assert account(other) == account("bob")


def test_other_names_are_counted_for_themselves() -> None:
    names = ("bob", "bo b", "rob", "bobo", "b0b", "")
    assert len({account(name) for name in names}) == len(names)


def test_a_password_signs_in_and_a_new_one_ends_old_sessions(world: World) -> None:
    with_password(world)
    session = world.gate.sessions.sign_in("Bob", PASSWORD)
    assert world.gate.sessions.caller(session).principal.name == "Bob"
    world.gate.principals.set_password(world.caller("Bob"), "Bob", PASSWORD + " again")
    with pytest.raises(Unauthenticated):
        world.gate.sessions.caller(session)
    answer(world, "Bob", PASSWORD)
    assert world.gate.sessions.sign_in("Bob", PASSWORD + " again")


def test_unknown_names_wrong_passwords_and_closed_names_get_one_answer(world: World) -> None:
    with_password(world)
    world.person("Without password")
    answers = {
        answer(world, name, "wrong wrong wrong") for name in ("Bob", "Nobody", "", "\x00", "\ud800")
    }
    answers.add(answer(world, "Without password", PASSWORD))
    for _ in range(6):
        answers.add(answer(world, "Bob", "wrong wrong wrong"))
    answers.add(answer(world, "Bob", PASSWORD))
    assert len(answers) == 1


def test_a_password_that_is_replaced_while_it_is_checked_opens_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To check one takes a while, and the sessions that a new one ends are those of before."""
    with_password(world)
    verify = Passwords.verify

    def slow(self: Passwords, stored: str | None, password: str) -> bool:
        right = verify(self, stored, password)
        monkeypatch.undo()
        world.gate.principals.set_password(world.owner, "Bob", PASSWORD + " again")
        return right

    monkeypatch.setattr(Passwords, "verify", slow)
    answer(world, "Bob", PASSWORD)
    assert world.gate.sessions.sign_in("Bob", PASSWORD + " again")


def test_each_failure_is_a_line_of_the_log_without_a_name(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with_password(world)
    for name in ("Bob", "Nobody"):
        answer(world, name, "wrong wrong wrong")
    lines = [one for one in caplog.records if one.getMessage() == "a sign-in failed"]
    facts = [getattr(one, "casemate") for one in lines]  # noqa: B009
    assert facts[0]["subject"] == world.gate.principals.named("Bob").pseudonym
    assert [sorted(one) for one in facts] == [["open", "subject"]] * 2
    assert not [one for one in facts if {"Bob", "Nobody"} & set(map(str, one.values()))]


def test_an_unknown_name_costs_the_same_verification(world: World) -> None:
    with_password(world)
    passwords = world.gate.principals._passwords
    calls: list[str] = []

    class Counting:
        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            return hasher.hash(password, salt=salt)

        def verify(self, hash: str | bytes, password: str | bytes) -> object:
            calls.append("verify")
            return hasher.verify(hash, password)

    hasher = passwords._hasher
    assert hasher is not None
    passwords._hasher = Counting()
    for name in ("Bob", "Nobody"):
        calls.clear()
        answer(world, name, "wrong wrong wrong")
        assert calls == ["verify"]


def test_pauses_grow_with_failures_and_end_with_time(world: World) -> None:
    with_password(world)
    for _ in range(5):
        answer(world, "Bob", "wrong wrong wrong")
    answer(world, "Bob", PASSWORD)
    world.watch.pass_by(seconds=59)
    answer(world, "Bob", PASSWORD)
    world.watch.pass_by(seconds=1)
    answer(world, "Bob", "wrong wrong wrong")
    world.watch.pass_by(seconds=119)
    answer(world, "Bob", PASSWORD)
    world.watch.pass_by(seconds=1)
    assert world.gate.sessions.sign_in("Bob", PASSWORD)
    with world.database.read() as connection:
        assert connection.execute(sa.select(attempts)).all() == []


def test_a_pause_never_exceeds_a_quarter_of_an_hour(world: World) -> None:
    with_password(world)
    for _ in range(30):
        answer(world, "Bob", "wrong wrong wrong")
        world.watch.pass_by(minutes=15)
    assert world.gate.sessions.sign_in("Bob", PASSWORD)


def test_guesses_sent_all_at_once_do_not_pass_under_the_limit(world: World) -> None:
    with_password(world)

    def guess(number: int) -> None:
        with pytest.raises(Unauthenticated):
            world.gate.sessions.sign_in("Bob", f"wrong guess number {number}")

    with ThreadPoolExecutor(12) as crowd:
        list(crowd.map(guess, range(12)))
    with world.database.read() as connection:
        bob = connection.execute(sa.select(attempts)).one()
    assert bob.failures == 5
    assert bob.locked_until is not None


def test_a_link_opens_a_name_that_is_closed_for_a_while(world: World) -> None:
    with_password(world)
    for _ in range(6):
        answer(world, "Bob", "wrong wrong wrong")
    bob = world.gate.principals.named("Bob")
    link = world.gate.sessions.link_for(bob, actor=world.owner)
    assert world.gate.sessions.caller(world.gate.sessions.redeem(link)).principal == bob


def test_services_do_not_sign_in(world: World) -> None:
    world.person("robot", kind="service")
    with pytest.raises(Refused, match="person"):
        world.gate.sessions.link_for(world.gate.principals.named("robot"))
    with pytest.raises(Refused, match="password"):
        world.gate.principals.set_password(world.owner, "robot", PASSWORD)
