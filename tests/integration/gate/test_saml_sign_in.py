"""Signing in with a SAML provider: what an honest answer gives, to whom, and how often."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from gate_builders import a_world
from lxml import etree
from saml_liar import CONTEXT, a_signer, metadata
from saml_stage import ANSWER, BASE, PROVIDER, US, Stage, a_stage, form_of, one, parsed

from casemate.errors import Invalid, NotFound, Unauthenticated, Unavailable
from casemate.gate.sign_in_refusal import Barred, Cancelled, Late, Unassured, Unentitled, Untrusted


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with a_stage(tmp_path_factory.mktemp("saml")) as made:
        yield made


@pytest.fixture
def stage(theatre: Stage) -> Stage:
    """The one stage of these tests, where nothing is left of the lie before."""
    theatre.reset()
    return theatre


# Honest


def test_the_first_sign_in_makes_the_principal(stage: Stage) -> None:
    done = stage.sign_in()
    caller = stage.caller(done)
    who = caller.principal
    assert (who.name, who.roles, str(who.clearance)) == ("Claire", {"user"}, "lu:restricted")
    assert (caller.assurance, done.after, done.id_token) == ("substantial", "/runs", "")
    assert {"principal.created", "principal.linked", "session.opened"} <= set(
        stage.world.ledger.kinds()
    )
    stage.liar.attributes["uid"] = ["Claire Married"]
    assert stage.caller(stage.sign_in()).principal.id == who.id


def test_a_session_ends_no_later_than_the_provider_says(stage: Stage) -> None:
    end = (stage.world.watch.moment + timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    stage.liar.change = lambda root: one(root, ".//saml:AuthnStatement").set(
        "SessionNotOnOrAfter", end
    )
    done = stage.sign_in()
    stage.world.watch.pass_by(minutes=9)
    assert stage.caller(done)
    stage.world.watch.pass_by(minutes=1)
    with pytest.raises(Unauthenticated):
        stage.caller(done)


def test_metadata_that_have_ended_are_not_used(tmp_path: Path) -> None:
    with a_stage(tmp_path, until="2026-03-02T09:01:00Z") as stage:
        stage.reset()
        begun = stage.begin()
        form = stage.liar.visit(begun.address)
        stage.world.watch.pass_by(minutes=1)
        with pytest.raises(Unavailable, match="out of date"):
            stage.begin()
        with pytest.raises(Unavailable, match="out of date"):
            stage.answer(form)
    with pytest.raises(Invalid, match="validUntil"), a_stage(tmp_path / "b", until="soon"):
        pass


def test_rights_follow_and_their_absence_ends_what_is_open(stage: Stage) -> None:
    done = stage.sign_in()
    stage.liar.attributes["clearance"] = ["lu:confidential"]
    assert str(stage.caller(stage.sign_in()).principal.clearance) == "lu:confidential"
    stage.liar.attributes["clearance"] = []
    with pytest.raises(Unentitled, match="no clearance"):
        stage.sign_in()
    with pytest.raises(Unauthenticated):
        stage.caller(done)


def test_a_weak_means_is_refused_and_who_was_disabled_stays_so(stage: Stage) -> None:
    stage.liar.values["subject"] = "person-8"
    stage.liar.attributes["uid"] = ["Weak"]
    stage.liar.values["context"] = "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"
    with pytest.raises(Unassured):
        stage.sign_in()
    stage.liar.values["context"] = CONTEXT
    stage.sign_in()
    stage.world.gate.principals.disable(stage.world.owner, "Weak")
    with pytest.raises(Barred):
        stage.sign_in()


def test_what_is_sent_asks_for_what_is_needed(stage: Stage) -> None:
    begun = stage.begin()
    assert begun.address.startswith("https://idp.example.lu/sso?SAMLRequest=")
    assert begun.browser not in begun.address
    described = etree.fromstring(stage.saml.description("state", BASE))
    assert described.get("entityID") == US
    (place,) = described.iter("{urn:oasis:names:tc:SAML:2.0:metadata}AssertionConsumerService")
    assert place.get("Location") == ANSWER
    with pytest.raises(NotFound):
        stage.saml.description("other", BASE)


# The browser that began


def test_an_answer_is_given_once_and_to_the_browser_that_began(stage: Stage) -> None:
    begun, other = stage.begin(), stage.begin()
    held = stage.answer(stage.liar.visit(begun.address))
    for browser in ("", other.browser):
        with pytest.raises(Late):
            stage.back(held, browser)
    assert stage.back(held, begun.browser)
    with pytest.raises(Late):
        stage.back(held, begun.browser)


def test_an_answer_waits_for_a_minute(stage: Stage) -> None:
    begun = stage.begin()
    held = stage.answer(stage.liar.visit(begun.address))
    stage.world.watch.pass_by(minutes=1)
    for name in (held, "", "x"):
        with pytest.raises(Late):
            stage.back(name, begun.browser)


def test_an_answer_that_nobody_asked_for_is_late(stage: Stage) -> None:
    for request in ("", "_x", "_" + "a" * 43):
        with pytest.raises(Late):
            stage.answer(stage.liar.form(request, ANSWER, US))
    begun = stage.begin()
    stage.world.watch.pass_by(minutes=10)
    with pytest.raises(Late):
        stage.answer(stage.liar.visit(begun.address))


def test_an_answer_works_once(stage: Stage) -> None:
    begun = stage.begin()
    form = stage.liar.visit(begun.address)
    stage.answer(form)
    with pytest.raises(Untrusted, match="ID"):
        stage.answer(form)
    stage.sign_in()
    with pytest.raises((Late, Untrusted)):
        stage.answer(form)


def test_one_assertion_does_not_serve_two_requests(stage: Stage) -> None:
    first, second = stage.begin(), stage.begin()
    old = parsed(stage.liar.visit(first.address))
    new = parsed(stage.liar.visit(second.address))
    old.set("InResponseTo", new.get("InResponseTo"))
    with pytest.raises(Untrusted, match="InResponseTo"):
        stage.answer(form_of(old))


def test_who_turns_back_at_the_provider_is_told_so(stage: Stage) -> None:
    status = "urn:oasis:names:tc:SAML:2.0:status:Responder"
    stage.liar.after = lambda root: one(root, ".//samlp:StatusCode").set("Value", status)
    with pytest.raises(Cancelled):
        stage.sign_in()


# What is no answer


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not an XML"),
        (b"<x", "not an XML"),
        (b"<x/>", "not a SAML"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "type declaration"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "type declaration"),
        (b"\xff\xfe\x00", "not an XML"),
    ],
)
def test_what_is_no_response_is_refused(stage: Stage, content: bytes, why: str) -> None:
    with pytest.raises(Untrusted, match=why):
        stage.answer(base64.b64encode(content).decode())


def test_what_is_no_form_is_refused(stage: Stage) -> None:
    for text, why in (("%%", "base64"), ("é", "base64"), ("A" * 600_000, "too long")):
        with pytest.raises(Untrusted, match=why):
            stage.answer(text)
    with pytest.raises(NotFound):
        asyncio.run(stage.saml.answer("other", BASE, ""))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "does not exist"),
        ("<x", "can be read"),
        ("<x/>", "do not describe"),
        (metadata(a_signer("idp")).replace("HTTP-Redirect", "HTTP-POST"), "HTTP-Redirect"),
        (metadata(a_signer("idp")).replace('use="signing"', 'use="encryption"'), "no key"),
        (metadata(a_signer("idp")).replace("https://idp.example.lu/sso", "http://x/"), "https"),
        (metadata(a_signer("idp")).replace("MII", "%%%"), "certificate"),
        (f'<!DOCTYPE x []>{metadata(a_signer("idp"))}', "can be read"),
    ],
)  # fmt: skip
def test_metadata_that_lack_something_are_refused_by_the_providers_name(
    tmp_path: Path, content: str | None, why: str
) -> None:
    if content is not None:
        (tmp_path / "state-idp.xml").write_text(content)
    (tmp_path / "providers.toml").write_text(PROVIDER)
    with (
        pytest.raises(Invalid) as caught,
        a_world(tmp_path, identity_providers=str(tmp_path / "providers.toml")),
    ):
        pass
    assert caught.value.what.startswith("Provider 'state': ")
    assert why in caught.value.what


def test_a_name_stands_for_one_provider_of_either_kind(tmp_path: Path) -> None:
    (tmp_path / "state-idp.xml").write_text(metadata(a_signer("idp")))
    (tmp_path / "providers.toml").write_text(PROVIDER + PROVIDER)
    with (
        pytest.raises(Invalid, match="two providers"),
        a_world(tmp_path, identity_providers=str(tmp_path / "providers.toml")),
    ):
        pass
