"""The second step: nobody who has enrolled comes in without it, and no code works twice."""

from __future__ import annotations

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from gate_builders import PASSWORD, World

from casemate.errors import NotFound, Refused, Unauthenticated
from casemate.gate import totp
from casemate.gate.caller import Caller
from casemate.gate.second_factor import Enrolment
from casemate.gate.session import SecondStep
from casemate.store.tables import recovery_codes, second_factors


def enrolled(world: World, name: str = "Bob") -> Enrolment:
    world.person(name)
    world.gate.principals.set_password(world.owner, name, PASSWORD)
    return world.gate.second_factors.enrol(world.owner, name)


def secret(enrolment: Enrolment) -> bytes:
    (text,) = parse_qs(urlsplit(enrolment.address).query)["secret"]
    return base64.b32decode(text)


def now(world: World, enrolment: Enrolment, later: int = 0) -> str:
    step = int(world.watch().timestamp()) // totp.STEP_SECONDS
    return totp.code(secret(enrolment), step + later)


def ticket(world: World, name: str = "Bob") -> str:
    with pytest.raises(SecondStep) as asked:
        world.gate.sessions.sign_in(name, PASSWORD)
    return asked.value.ticket


def refused(world: World, ticket: str, code: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        world.gate.sessions.complete(ticket, code)
    return str(caught.value)


def test_a_password_and_a_code_open_a_session_and_neither_alone(world: World) -> None:
    enrolment = enrolled(world)
    half = ticket(world)
    with pytest.raises(Unauthenticated):
        world.gate.sessions.caller(half)
    session = world.gate.sessions.complete(half, now(world, enrolment))
    assert world.gate.sessions.caller(session).principal.name == "Bob"
    assert world.ledger.entries[-1]["by"] == "password+totp"


def test_a_code_that_was_used_or_is_older_than_one_that_was_is_refused(world: World) -> None:
    enrolment = enrolled(world)
    world.gate.sessions.complete(ticket(world), now(world, enrolment))
    for older in (0, -1):
        refused(world, ticket(world), now(world, enrolment, older))
    assert world.gate.sessions.complete(ticket(world), now(world, enrolment, 1))


def test_one_code_sent_by_many_at_one_moment_opens_one_session(world: World) -> None:
    enrolment = enrolled(world)
    tickets, start = [ticket(world) for _ in range(4)], threading.Barrier(4)
    code = now(world, enrolment)

    def complete(one: str) -> bool:
        start.wait()
        try:
            world.gate.sessions.complete(one, code)
        except Unauthenticated:
            return False
        return True

    with ThreadPoolExecutor(4) as crowd:
        assert sum(crowd.map(complete, tickets)) == 1


def test_a_ticket_works_once_and_not_for_long(world: World) -> None:
    enrolment = enrolled(world)
    half = ticket(world)
    world.gate.sessions.complete(half, now(world, enrolment))
    refused(world, half, now(world, enrolment, 1))
    half = ticket(world)
    world.watch.pass_by(minutes=5)
    refused(world, half, now(world, enrolment))


def test_wrong_codes_close_the_name_though_the_password_is_right(world: World) -> None:
    enrolment = enrolled(world)
    half = ticket(world)
    answers = {refused(world, half, "000000" if now(world, enrolment) != "000000" else "1")}
    for _ in range(4):
        answers.add(refused(world, half, "no"))
    # The password again does not begin the count anew.
    answers.add(refused(world, half, now(world, enrolment)))
    with pytest.raises(Unauthenticated) as caught:
        world.gate.sessions.sign_in("Bob", PASSWORD)
    assert not isinstance(caught.value, SecondStep)
    answers.add(refused(world, "no ticket", now(world, enrolment)))
    assert len(answers) == 1
    assert [one["kind"] for one in world.ledger.entries].count("sign_in.locked") > 0


def test_a_recovery_code_works_once_however_it_is_typed(world: World) -> None:
    enrolment = enrolled(world)
    assert len(set(enrolment.recovery_codes)) == 10
    first, second = enrolment.recovery_codes[:2]
    assert world.gate.sessions.complete(ticket(world), f" {first.upper()} ")
    assert world.ledger.entries[-1]["by"] == "password+recovery"
    refused(world, ticket(world), first)
    assert world.gate.sessions.complete(ticket(world), second.replace("-", " "))


def test_recovery_codes_of_others_are_of_no_use(world: World) -> None:
    enrolled(world)
    other = enrolled(world, "Kim")
    refused(world, ticket(world), other.recovery_codes[0])
    refused(world, ticket(world), now(world, other))


def test_a_link_asks_for_the_code_as_well(world: World) -> None:
    enrolment = enrolled(world)
    bob = world.gate.principals.named("Bob")
    with pytest.raises(SecondStep) as asked:
        world.gate.sessions.redeem(world.gate.sessions.link_for(bob))
    assert world.gate.sessions.complete(asked.value.ticket, now(world, enrolment))


def test_enrolling_ends_sessions_and_the_codes_from_before(world: World) -> None:
    first = enrolled(world)
    session = world.gate.sessions.complete(ticket(world), now(world, first))
    half = ticket(world)
    second = world.gate.second_factors.enrol(world.owner, "Bob")
    with pytest.raises(Unauthenticated):
        world.gate.sessions.caller(session)
    refused(world, half, now(world, second))
    refused(world, ticket(world), now(world, first))
    refused(world, ticket(world), first.recovery_codes[0])
    assert world.gate.sessions.complete(ticket(world), now(world, second))


def test_without_a_second_factor_none_is_asked_for(world: World) -> None:
    enrolled(world)
    world.gate.second_factors.remove(world.owner, "Bob")
    assert world.gate.sessions.sign_in("Bob", PASSWORD)
    with pytest.raises(NotFound):
        world.gate.second_factors.remove(world.owner, "Bob")


def test_nobody_enrols_or_removes_for_who_has_more_rights(world: World) -> None:
    enrolled(world)
    admin = world.admin("admin", "unclassified")
    world.person("Kim", "secret")
    for name in ("Kim", "Anne"):
        for act in (world.gate.second_factors.enrol, world.gate.second_factors.remove):
            with pytest.raises(Refused):
                act(admin, name)
    key = Caller(world.gate.principals.named("Bob"), None, "key")
    with pytest.raises(Refused, match="key"):
        world.gate.second_factors.remove(key, "Bob")
    with pytest.raises(Refused):
        world.gate.second_factors.enrol(world.caller("Bob"), "Kim")
    world.person("robot", kind="service")
    with pytest.raises(Refused, match="service"):
        world.gate.second_factors.enrol(world.owner, "robot")


def test_secrets_are_sealed_and_never_recorded(world: World) -> None:
    enrolment = enrolled(world)
    with world.database.read() as connection:
        kept = str(
            [connection.execute(sa.select(t)).all() for t in (second_factors, recovery_codes)]
        )
    hidden = secret(enrolment)
    for text in (
        base64.b32encode(hidden).decode(),
        str(hidden)[2:-1],
        hidden.hex(),
        *enrolment.recovery_codes,
        *(code.replace("-", "") for code in enrolment.recovery_codes),
    ):
        assert text not in kept
        assert text not in json.dumps(world.ledger.entries)


def test_who_is_disabled_between_the_steps_stays_out(world: World) -> None:
    enrolment = enrolled(world)
    half = ticket(world)
    world.gate.principals.disable(world.owner, "Bob")
    refused(world, half, now(world, enrolment))
