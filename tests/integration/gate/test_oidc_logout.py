"""Signing out with a provider: its word ends sessions here, once, and no other token does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from gate_builders import Watch
from oidc_stage import BASE, Stage, a_stage

from casemate.errors import Unauthenticated
from casemate.gate.sign_in_refusal import (
    Untrusted,
)


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with a_stage(tmp_path_factory.mktemp("logout")) as made:
        yield made


@pytest.fixture
def stage(theatre: Stage) -> Stage:
    """The one stage of these tests, where nothing is left of the test before."""
    theatre.reset()
    return theatre


NOW = int(Watch().moment.timestamp())


def test_a_logout_there_ends_the_session_here_at_once(stage: Stage) -> None:
    done = stage.sign_in()
    assert stage.caller(done)
    assert stage.end(stage.liar.logout_token()) == 1
    with pytest.raises(Unauthenticated):
        stage.caller(done)
    ended = stage.world.ledger.entries[-1]
    assert (ended["kind"], ended["provider"]) == ("session.ended", "ministry")


def test_a_logout_of_one_session_leaves_others(stage: Stage) -> None:
    first = stage.sign_in()
    stage.liar.claims["sid"] = "session-2"
    second = stage.sign_in()
    assert stage.end(stage.liar.logout_token(sub=None)) == 1
    with pytest.raises(Unauthenticated):
        stage.caller(first)
    assert stage.caller(second)
    assert stage.end(stage.liar.logout_token(jti="2", sub="another", sid="session-2")) == 0
    assert stage.end(stage.liar.logout_token(jti="3", sub="nobody known", sid=None)) == 0
    assert stage.caller(second)
    assert stage.end(stage.liar.logout_token(jti="4", sid=None)) == 1


def test_a_logout_token_works_once(stage: Stage) -> None:
    stage.sign_in()
    token = stage.liar.logout_token()
    stage.end(token)
    again = stage.sign_in()
    with pytest.raises(Untrusted, match="jti"):
        stage.end(token)
    assert stage.caller(again)
    stage.world.watch.pass_by(minutes=4)
    with pytest.raises(Untrusted, match="exp"):
        stage.end(token)


def test_a_logout_token_that_lives_long_cannot_be_used_after_it_is_forgotten(
    stage: Stage,
) -> None:
    stage.sign_in()
    token = stage.liar.logout_token(exp=NOW + 86_400)
    stage.end(token)
    for minutes in (5, 5, 2, 600):
        stage.world.watch.pass_by(minutes=minutes)
        with pytest.raises(Untrusted, match=r"jti|iat"):
            stage.end(token)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aud": "other"}, "aud"),
        ({"iss": "https://evil.example"}, "iss"),
        ({"exp": NOW - 61}, "exp"),
        ({"iat": NOW + 61}, "iat"),
        ({"iat": NOW - 700}, "iat"),
        ({"events": None}, "events"),
        ({"events": {}}, "events"),
        ({"events": {"http://schemas.openid.net/event/backchannel-logout": True}}, "events"),
        ({"nonce": "x"}, "nonce"),
        ({"jti": None}, "jti"),
        ({"jti": 7}, "jti"),
        ({"sub": None, "sid": None}, "sub, sid"),
        ({"sid": 7}, "sid"),
        ({"sub": 7}, "sub"),
    ],
)
def test_a_logout_token_with_one_wrong_claim_is_refused_by_name(
    stage: Stage, changes: dict[str, Any], why: str
) -> None:
    done = stage.sign_in()
    with pytest.raises(Untrusted, match=rf"\({why}\)"):
        stage.end(stage.liar.logout_token(**changes))
    assert stage.caller(done)


def test_an_id_token_ends_no_session(stage: Stage) -> None:
    done = stage.sign_in()
    with pytest.raises(Untrusted, match="events"):
        stage.end(done.id_token)
    with pytest.raises(Untrusted, match="typ"):
        stage.end(stage.liar.token({"iss": stage.liar.issuer}, "at+jwt"))
    assert stage.caller(done)


def test_signing_out_leads_to_the_provider_that_offers_it(stage: Stage) -> None:
    done = stage.sign_in()
    address = asyncio.run(stage.sign_ins.farewell("ministry", BASE, done.id_token))
    assert address is not None
    assert address.startswith(f"{stage.liar.issuer}/end?id_token_hint={done.id_token}&post_logout")
    without = asyncio.run(stage.sign_ins.farewell("ministry", BASE, None))
    assert without is not None
    assert without.startswith(f"{stage.liar.issuer}/end?client_id=casemate&post_logout")
    assert asyncio.run(stage.sign_ins.farewell("gone", BASE, None)) is None


def test_a_provider_that_does_not_answer_holds_nobody_who_leaves(stage: Stage) -> None:
    stage.liar.get = lambda path, authorization: (503, {})  # type: ignore[method-assign]
    assert asyncio.run(stage.sign_ins.farewell("ministry", BASE, None)) is None
