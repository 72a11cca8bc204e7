"""Signing in with a provider: what honest answers give, and the way there and back."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gate_builders import Watch, a_world
from oidc_liar import CLIENT, SECRET, a_liar
from oidc_stage import BASE, HONEST, Stage, a_stage, state_of, the_only_provider

from casemate.errors import NotFound, Unauthenticated, Unavailable
from casemate.gate.sign_in_refusal import (
    Barred,
    Cancelled,
    Late,
    Unassured,
    Unentitled,
    Untrusted,
)
from casemate.store.tables import federated, keys, sessions, sign_ins


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with a_stage(tmp_path) as made:
        yield made


# Honest


def test_the_first_sign_in_makes_the_principal_and_the_ledger_shows_it(stage: Stage) -> None:
    done = stage.sign_in()
    caller = stage.caller(done)
    who = caller.principal
    assert (who.name, who.kind, who.roles) == ("Claire", "person", frozenset({"user"}))
    assert str(who.clearance) == "lu:restricted"
    assert who.tenant == stage.world.owner.principal.tenant
    assert (caller.via, done.after) == ("session", "/runs")
    kinds = stage.world.ledger.kinds()
    assert kinds[-3:] == ["principal.created", "principal.linked", "session.opened"]
    opened = stage.world.ledger.entries[-1]
    assert (opened["by"], opened["provider"]) == ("provider", "ministry")


def test_the_same_person_is_the_same_principal_whatever_they_are_called(stage: Stage) -> None:
    first = stage.caller(stage.sign_in()).principal
    stage.liar.claims["preferred_username"] = "Claire Married"
    assert stage.caller(stage.sign_in()).principal.id == first.id
    stage.liar.claims["sub"] = "another"
    assert stage.caller(stage.sign_in()).principal.id != first.id


def test_rights_follow_the_claims_and_the_change_is_recorded(stage: Stage) -> None:
    stage.sign_in()
    stage.liar.claims |= {"groups": ["chiefs", "singers"], "clearance": "lu:confidential"}
    who = stage.caller(stage.sign_in()).principal
    assert (who.roles, str(who.clearance)) == (frozenset({"user", "admin"}), "lu:confidential")
    changed = stage.world.ledger.entries[-2]
    assert changed["kind"] == "principal.changed"
    assert changed["provider"] == "ministry"
    assert changed["before"] != changed["after"]
    stage.sign_in()
    assert stage.world.ledger.kinds()[-2:] == ["session.opened", "session.opened"]


def test_who_was_disabled_here_stays_disabled(stage: Stage) -> None:
    done = stage.sign_in()
    stage.world.gate.principals.disable(stage.world.owner, "Claire")
    with pytest.raises(Unauthenticated):
        stage.caller(done)
    with pytest.raises(Barred):
        stage.sign_in()


def test_a_name_that_is_taken_is_not_taken_over(stage: Stage) -> None:
    stage.liar.claims["preferred_username"] = "Anne"
    assert stage.caller(stage.sign_in()).principal.name == "Anne@ministry"
    stage.liar.claims["sub"] = "another"
    with pytest.raises(Unentitled, match="taken"):
        stage.sign_in()


def test_an_owner_stays_one_and_a_provider_makes_none(stage: Stage) -> None:
    stage.sign_in()
    principals = stage.world.gate.principals
    principals.change(stage.world.owner, "Claire", roles=("owner", "user"))
    assert stage.caller(stage.sign_in()).principal.roles == {"owner", "user"}


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"clearance": None}, "no clearance"),
        ({"clearance": "lu:cosmic"}, "no meaning"),
        ({"clearance": "mars:secret"}, "no meaning"),
        ({"clearance": ["lu:restricted", "lu:secret"]}, "more than one clearance"),
        ({"clearance": {"level": "secret"}}, "not written as expected"),
        ({"clearance": 3}, "not written as expected"),
        ({"clearance": "lu:secret//rel=none"}, "no meaning"),
        ({"groups": []}, "none of its groups"),
        ({"groups": ["singers"]}, "none of its groups"),
        ({"groups": "owner"}, "none of its groups"),
        ({"groups": [["clerks"]]}, "not written as expected"),
        ({"preferred_username": None}, "no name"),
        ({"preferred_username": "a\nb"}, "name cannot be used"),
    ],
)
def test_what_is_missing_in_the_claims_denies(
    stage: Stage, claims: dict[str, Any], why: str
) -> None:
    stage.liar.claims |= claims
    with pytest.raises(Unentitled, match=why):
        stage.sign_in()
    assert stage.rows(federated) == []


def test_a_right_that_is_gone_ends_what_is_open(stage: Stage) -> None:
    done = stage.sign_in()
    _, key = stage.world.gate.keys.create(stage.world.owner, "Claire")
    stage.liar.claims["groups"] = []
    with pytest.raises(Unentitled):
        stage.sign_in()
    with pytest.raises(Unauthenticated):
        stage.caller(done)
    with pytest.raises(Unauthenticated):
        stage.world.gate.keys.caller(key)
    assert [row.revoked is not None for row in stage.rows(keys)] == [True]
    assert stage.world.ledger.entries[-1]["kind"] == "access.withdrawn"


def test_a_tenant_that_does_not_exist_or_changes_is_refused(tmp_path: Path) -> None:
    with a_stage(tmp_path, org="Tax") as stage:
        file = tmp_path / "providers.toml"
        text = file.read_text().replace('{ name = "home" }', '{ claim = "org" }')
    file.write_text(text)
    with a_liar(Watch()) as liar:
        file.write_text(text.replace(stage.liar.issuer, liar.issuer))
        (tmp_path / "again").mkdir()
        with a_world(tmp_path / "again", identity_providers=str(file)) as world:
            liar.clock, liar.claims = world.watch, HONEST | {"org": "Tax"}
            world.gate.perimeter.add(
                world.owner,
                name="login",
                host="127.0.0.1",
                ports=[int(liar.issuer.rpartition(":")[2])],
                jurisdiction="LU",
                ceiling=world.label("unclassified"),
            )
            here = Stage(world, liar)
            with pytest.raises(Unentitled, match="tenant does not exist"):
                here.sign_in()
            tax = world.gate.principals.create_tenant(world.owner, "Tax")
            assert here.caller(here.sign_in()).principal.tenant == tax
            liar.claims["org"] = "home"
            before = here.rows(sessions)
            assert before
            with pytest.raises(Unentitled, match="another tenant"):
                here.sign_in()
            assert here.rows(sessions) == []


def test_a_level_of_assurance_is_asked_for_needed_and_kept(tmp_path: Path) -> None:
    with a_stage(tmp_path, 'assurance = { minimum = "substantial" }') as stage:
        assert "LoA%2Fsubstantial+http" in stage.begin().address
        for acr in (None, "0", "http://eidas.europa.eu/LoA/low", ["x"]):
            stage.liar.claims["acr"] = acr
            with pytest.raises(Unassured, match="substantial"):
                stage.sign_in()
        stage.liar.claims["acr"] = "http://eidas.europa.eu/LoA/high"
        assert stage.caller(stage.sign_in()).assurance == "high"
        assert stage.world.ledger.entries[-1]["assurance"] == "high"


def test_two_factors_are_known_by_what_the_provider_signed(stage: Stage) -> None:
    for methods, both in ((["pwd", "otp", "mfa"], True), (["pwd"], False), ("mfa", False)):
        stage.liar.claims["amr"] = methods
        assert stage.caller(stage.sign_in()).strength.second_factor is both


def test_assurance_is_not_taken_from_what_was_not_signed(tmp_path: Path) -> None:
    more = 'userinfo = true\nassurance = { minimum = "high" }'
    with a_stage(tmp_path, more) as stage:
        stage.liar.userinfo = {"acr": "http://eidas.europa.eu/LoA/high"}
        with pytest.raises(Unassured):
            stage.sign_in()


def test_userinfo_adds_claims_and_overrides_none(tmp_path: Path) -> None:
    with a_stage(tmp_path, "userinfo = true", clearance=None) as stage:
        del stage.liar.claims["clearance"]
        stage.liar.userinfo = {"clearance": "lu:confidential", "groups": ["chiefs"]}
        who = stage.caller(stage.sign_in()).principal
        assert (str(who.clearance), who.roles) == ("lu:confidential", frozenset({"user"}))
        stage.liar.userinfo["sub"] = "somebody else"
        with pytest.raises(Untrusted, match="another person"):
            stage.sign_in()


def test_a_ceiling_bounds_what_a_provider_can_give(tmp_path: Path) -> None:
    with a_stage(tmp_path, clearance="lu:secret/alpha") as stage:
        file = tmp_path / "providers.toml"
        assert stage.caller(stage.sign_in()).principal.clearance.level == "secret"
    text = file.read_text().replace(
        'claim = "clearance"', 'claim = "clearance", ceiling = "restricted"'
    )
    file.write_text(text)
    provider = the_only_provider(file)
    given = provider.entitlements.of(HONEST | {"clearance": "lu:secret/alpha"}, None)
    assert str(given.clearance) == "lu:restricted"


# The way there and back


def test_the_way_there_asks_for_a_code_with_pkce_and_holds_no_secret(stage: Stage) -> None:
    begun = stage.begin()
    stage.liar.visit(begun.address)
    (asked,) = stage.liar.codes.values()
    assert asked["redirect_uri"] == f"{BASE}/sign-in/with/ministry/back"
    assert asked["client_id"] == CLIENT
    assert asked["scope"] == "openid profile"
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["state"]) == len(asked["nonce"]) == len(asked["code_challenge"]) == 43
    assert begun.browser not in begun.address
    (row,) = stage.rows(sign_ins)
    for secret in (begun.browser, asked["state"], asked["nonce"], asked["code_challenge"]):
        assert secret not in str(row)


def test_the_secret_goes_to_the_provider_alone(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    done = stage.sign_in()
    (sent,) = stage.liar.seen
    name, _, secret = base64.b64decode(sent.removeprefix("Basic ")).decode().partition(":")
    assert (name, secret) == (CLIENT, "a+secret+of+nobody%27s")
    kept = json.dumps(stage.world.ledger.entries) + caplog.text + str(stage.rows(sessions))
    for hidden in (SECRET, done.session, done.id_token, "248289761001", "session-1", "Claire"):
        assert hidden not in kept


def test_a_state_works_once(stage: Stage) -> None:
    begun = stage.begin()
    answer = stage.liar.visit(begun.address)
    stage.finish(begun, answer)
    with pytest.raises(Late):
        stage.finish(begun, answer)


def test_a_code_works_once_even_with_a_newstate_of(stage: Stage) -> None:
    begun = stage.begin()
    code = stage.liar.visit(begun.address)["code"]
    other = stage.begin()
    with pytest.raises(Untrusted, match="invalid_grant"):
        stage.finish(other, stage.liar.visit(other.address) | {"code": code})
    with pytest.raises(Untrusted, match="invalid_grant"):
        stage.finish(begun, {"code": code, "state": state_of(begun)})


def test_another_browser_cannot_finish_and_does_not_spoil_it(stage: Stage) -> None:
    begun, other = stage.begin(), stage.begin()
    answer = stage.liar.visit(begun.address)
    for browser in ("", other.browser, "x"):
        with pytest.raises(Late):
            stage.finish(begun, answer, browser)
    assert stage.finish(begun, answer)


def test_a_state_of_ten_minutes_ago_is_too_old(stage: Stage) -> None:
    begun = stage.begin()
    answer = stage.liar.visit(begun.address)
    stage.world.watch.pass_by(minutes=10)
    with pytest.raises(Late):
        stage.finish(begun, answer)


def test_a_state_of_another_provider_is_none(stage: Stage) -> None:
    begun = stage.begin()
    with pytest.raises(NotFound):
        asyncio.run(stage.sign_ins.finish("other", BASE, {"state": "x"}, begun.browser))
    with pytest.raises(NotFound):
        asyncio.run(stage.sign_ins.begin("other", BASE, "/"))


@pytest.mark.parametrize("answer", [{}, {"code": "x"}, {"state": ""}, {"state": "é\ud800"}])
def test_an_answer_without_a_state_of_ours_is_late(stage: Stage, answer: dict[str, str]) -> None:
    with pytest.raises(Late):
        stage.finish(stage.begin(), answer)


def test_who_turns_back_at_the_provider_is_told_so(stage: Stage) -> None:
    begun = stage.begin()
    with pytest.raises(Cancelled, match="not allowed"):
        stage.finish(begun, {"state": state_of(begun), "error": "access_denied"})
    begun = stage.begin()
    with pytest.raises(Untrusted, match="no code"):
        stage.finish(begun, {"state": state_of(begun)})


def test_an_answer_of_another_issuer_is_refused(stage: Stage) -> None:
    begun = stage.begin()
    with pytest.raises(Untrusted, match="iss"):
        stage.finish(begun, stage.liar.visit(begun.address) | {"iss": "https://evil.example"})
    stage.liar.description["authorization_response_iss_parameter_supported"] = True
    stage.world.watch.pass_by(hours=1)
    begun = stage.begin()
    with pytest.raises(Untrusted, match="iss"):
        stage.finish(begun, stage.liar.visit(begun.address))
    begun = stage.begin()
    assert stage.finish(begun, stage.liar.visit(begun.address) | {"iss": stage.liar.issuer})


@pytest.mark.parametrize("mode", [0o604, 0o777])
def test_a_secret_that_everybody_may_read_is_not_used(
    tmp_path: Path, stage: Stage, mode: int
) -> None:
    (tmp_path / "secret").chmod(mode)
    with pytest.raises(Unavailable, match="everybody may read"):
        stage.sign_in()
    (tmp_path / "secret").unlink()
    with pytest.raises(Unavailable, match="missing"):
        stage.sign_in()
