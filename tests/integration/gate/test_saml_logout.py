"""A SAML provider that says whose session is over."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

import pytest
from gate_builders import Watch
from lxml import etree
from saml_liar import NAMES, a_signer
from saml_stage import OVER, Stage, a_stage, one

from casemate.errors import NotFound, Unauthenticated
from casemate.gate.sign_in_refusal import Untrusted


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with a_stage(tmp_path_factory.mktemp("saml"), 'keys = ["own.pem"]\nsubject = "uid"\n') as made:
        yield made


@pytest.fixture
def stage(theatre: Stage) -> Stage:
    """The one stage of these tests, where nothing is left of the lie before."""
    theatre.reset()
    return theatre


def is_open(stage: Stage, done: Any) -> bool:
    try:
        return bool(stage.caller(done))
    except Unauthenticated:
        return False


def a_session(stage: Stage, index: str, subject: str = "person-7") -> Any:
    stage.liar.values["subject"] = subject
    stage.liar.change = lambda root: one(root, ".//saml:AuthnStatement").set("SessionIndex", index)
    done = stage.sign_in()
    stage.liar.change = lambda root: None
    return done


def test_all_sessions_of_a_person_end_or_the_named_ones(stage: Stage) -> None:
    first, second, third = (a_session(stage, index) for index in ("s1", "s2", "s3"))
    stage.end(stage.liar.logout(OVER, "person-7", "s1", "s3"))
    assert [is_open(stage, done) for done in (first, second, third)] == [False, True, False]
    assert stage.world.ledger.kinds()[-2:] == ["session.ended", "session.ended"]
    stage.end(stage.liar.logout(OVER, "person-7"))
    assert not is_open(stage, second)


def test_a_person_is_ended_by_the_name_that_the_provider_calls_them(stage: Stage) -> None:
    """Here they are known by an attribute; a logout names them by NameID alone."""
    done = a_session(stage, "s1", "person-8")
    for other in ("Claire", "person-7", "person-80"):
        stage.end(stage.liar.logout(OVER, other))
    stage.end(stage.liar.logout(OVER, "person-7", "s1"))
    assert is_open(stage, done)
    stage.end(stage.liar.logout(OVER, "person-8"))
    assert not is_open(stage, done)


def test_the_provider_gets_an_answer_that_we_signed(stage: Stage) -> None:
    address = stage.end(stage.liar.logout(OVER, "person-7", relay="back & forth", id="_mine"))
    assert address.startswith("https://idp.example.lu/slo?SAMLResponse=")
    query = parse_qs(urlsplit(address).query)
    assert query["RelayState"] == ["back & forth"]
    assert "Signature" in query
    raw = zlib.decompress(base64.b64decode(query["SAMLResponse"][0]), -15)
    said = etree.fromstring(raw)
    assert (said.get("InResponseTo"), said.get("Destination")) == (
        "_mine",
        "https://idp.example.lu/slo",
    )
    status = said.find("samlp:Status/samlp:StatusCode", NAMES)
    assert status is not None
    assert status.get("Value", "").endswith(":Success")


def test_a_request_is_used_once(stage: Stage) -> None:
    query = stage.liar.logout(OVER, "person-7")
    stage.end(query)
    with pytest.raises(Untrusted, match="used before"):
        stage.end(query)


def _at(**time: int) -> str:
    return (Watch().moment + timedelta(**time)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _set(name: str, value: str) -> Callable[[Any], None]:
    return lambda root: root.set(name, value)


def _drop(path: str) -> Callable[[Any], None]:
    return lambda root: root.remove(one(root, path))


def _renamed(root: Any) -> None:
    root.tag = "{urn:oasis:names:tc:SAML:2.0:protocol}AuthnRequest"


LIES: dict[str, tuple[Callable[[Any], None], str]] = {
    "of another": (lambda root: setattr(one(root, "saml:Issuer"), "text", "x"), "Issuer"),
    "of nobody": (_drop("saml:Issuer"), "Issuer"),
    "sent elsewhere": (_set("Destination", OVER + "x"), "Destination"),
    "sent nowhere": (lambda root: root.attrib.pop("Destination"), "Destination"),
    "of yesterday": (_set("IssueInstant", _at(days=-1)), "IssueInstant"),
    "of tomorrow": (_set("IssueInstant", _at(days=1)), "IssueInstant"),
    "without a time": (lambda root: root.attrib.pop("IssueInstant"), "IssueInstant"),
    "expired": (_set("NotOnOrAfter", _at(seconds=-60)), "NotOnOrAfter"),
    "without a name of its own": (_set("ID", ""), "ID"),
    "about nobody": (_drop("saml:NameID"), "NameID"),
    "about no name": (lambda root: setattr(one(root, "saml:NameID"), "text", " "), "NameID"),
    "something else": (_renamed, "logout request"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_request_with_one_wrong_part_ends_nothing(stage: Stage, lie: str) -> None:
    done = a_session(stage, "s1")
    change, why = LIES[lie]
    stage.liar.change = change
    with pytest.raises(Untrusted, match=why):
        stage.end(stage.liar.logout(OVER, "person-7"))
    assert is_open(stage, done)


def _without(name: str) -> Callable[[str], str]:
    return lambda query: urlencode([pair for pair in parse_qsl(query) if pair[0] != name])


def _other_relay(query: str) -> str:
    return query.replace("&SigAlg", "&RelayState=elsewhere&SigAlg")


CHANGES: dict[str, Callable[[str], str]] = {
    "no signature": _without("Signature"),
    "no algorithm": _without("SigAlg"),
    "no request": _without("SAMLRequest"),
    "a relay that was not signed": _other_relay,
    "two requests": lambda query: f"SAMLRequest=AAAA&{query}",
    "a request under another spelling": lambda query: query.replace(
        "SAMLRequest=", "SAMLReques%74=AAAA&SAMLRequest="
    ),
    "another algorithm": lambda query: query.replace("rsa-sha256", "rsa-sha512"),
    "a weak algorithm": lambda query: query.replace(
        quote("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", safe=""),
        quote("http://www.w3.org/2000/09/xmldsig#rsa-sha1", safe=""),
    ),
    "nothing": lambda query: "",
    "too much": lambda query: query + "&x=" + "a" * 70_000,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_query_that_is_not_as_it_was_signed_ends_nothing(stage: Stage, change: str) -> None:
    done = a_session(stage, "s1")
    query = stage.liar.logout(OVER, "person-7")
    changed = CHANGES[change](query)
    assert changed != query
    with pytest.raises(Untrusted):
        stage.end(changed)
    assert is_open(stage, done)


def test_another_key_ends_nothing(stage: Stage) -> None:
    stage.liar.signer = a_signer("evil")
    with pytest.raises(Untrusted, match="Signature"):
        stage.end(stage.liar.logout(OVER, "person-7"))


def test_what_unpacks_to_a_great_deal_is_not_unpacked(stage: Stage) -> None:
    packing = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packing.compress(b" " * 5_000_000) + packing.flush()
    query = urlencode({"SAMLRequest": base64.b64encode(packed).decode()})
    algorithm = {"SigAlg": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"}
    with pytest.raises(Untrusted, match="more than it may"):
        stage.end(stage.liar.signed_query(f"{query}&{urlencode(algorithm)}"))


def test_an_unknown_provider_is_not_found(stage: Stage) -> None:
    import asyncio

    with pytest.raises(NotFound):
        asyncio.run(stage.saml.end("other", "https://casemate.example", ""))
