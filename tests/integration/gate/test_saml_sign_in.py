"""Signing in with a SAML provider: what an honest answer gives, and what every lie gets."""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from gate_builders import Watch, World, a_world
from lxml import etree
from saml_liar import CONTEXT, NAMES, SamlLiar, a_signer, metadata

from casemate.errors import Invalid, NotFound, Unauthenticated
from casemate.gate.refusal import Barred, Cancelled, Late, Unassured, Unentitled, Untrusted
from casemate.gate.sign_in import Begun, Finished
from casemate.store.tables import principals, sessions, sign_ins, used_tokens

BASE = "https://casemate.example"
ANSWER = f"{BASE}/sign-in/with/state/answer"
US = f"{BASE}/sign-in/with/state/metadata"
PROVIDER = """
[[saml]]
name = "state"
title = "State identity"
metadata = "state-idp.xml"
person = "uid"
tenant = { name = "home" }
roles = { claim = "groups", values = { clerks = ["user"] } }
clearance = { claim = "clearance" }
assurance = { minimum = "substantial" }
"""
HONEST = {"uid": ["Claire"], "groups": ["clerks", "others"], "clearance": ["lu:restricted"]}


class Stage:
    """A world with one SAML provider, and a browser."""

    def __init__(self, world: World, liar: SamlLiar) -> None:
        self.world, self.liar = world, liar
        self.saml = world.gate.saml

    def reset(self) -> None:
        honest = SamlLiar(self.world.watch, a_signer("idp"), copy.deepcopy(HONEST))
        honest.assertions = self.liar.assertions
        vars(self.liar).clear()
        vars(self.liar).update(vars(honest))
        self.world.watch.moment = Watch().moment
        with self.world.database.write() as connection:
            for table in (sessions, sign_ins, used_tokens):
                connection.execute(table.delete())

    def begin(self) -> Begun:
        return asyncio.run(self.saml.begin("state", BASE, "/runs"))

    def answer(self, form: str) -> str:
        return asyncio.run(self.saml.answer("state", BASE, form))

    def back(self, held: str, browser: str) -> Finished:
        return asyncio.run(self.saml.finish("state", BASE, {"held": held}, browser))

    def sign_in(self) -> Finished:
        begun = self.begin()
        return self.back(self.answer(self.liar.visit(begun.address)), begun.browser)

    def caller(self, done: Finished) -> Any:
        return self.world.gate.sessions.caller(done.session)


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("saml")
    (folder / "state-idp.xml").write_text(metadata(a_signer("idp")))
    (folder / "providers.toml").write_text(PROVIDER)
    with a_world(folder, identity_providers=str(folder / "providers.toml")) as world:
        yield Stage(world, SamlLiar(world.watch, a_signer("idp")))


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
    old = _xml(stage.liar.visit(first.address))
    new = _xml(stage.liar.visit(second.address))
    old.set("InResponseTo", new.get("InResponseTo"))
    with pytest.raises(Untrusted, match="InResponseTo"):
        stage.answer(_form(old))


def test_who_turns_back_at_the_provider_is_told_so(stage: Stage) -> None:
    status = "urn:oasis:names:tc:SAML:2.0:status:Responder"
    stage.liar.after = lambda root: _one(root, ".//samlp:StatusCode").set("Value", status)
    with pytest.raises(Cancelled):
        stage.sign_in()


# Assertions that lie


def _one(root: Any, path: str) -> Any:
    found = root.find(path, NAMES)
    assert found is not None, path
    return found


def _set(path: str, name: str, value: str | None) -> Callable[[Any], None]:
    def change(root: Any) -> None:
        element = _one(root, path)
        if value is None:
            del element.attrib[name]
        else:
            element.set(name, value)

    return change


def _text(path: str, text: str) -> Callable[[Any], None]:
    def change(root: Any) -> None:
        _one(root, path).text = text

    return change


def _drop(path: str) -> Callable[[Any], None]:
    def change(root: Any) -> None:
        element = _one(root, path)
        element.getparent().remove(element)

    return change


def _twice(path: str) -> Callable[[Any], None]:
    def change(root: Any) -> None:
        element = _one(root, path)
        element.getparent().append(copy.deepcopy(element))

    return change


def _condition(root: Any) -> None:
    etree.SubElement(_one(root, ".//saml:Conditions"), "{urn:x}OnlyOnSundays")


def _at(**time: int) -> str:
    return (Watch().moment + timedelta(**time)).strftime("%Y-%m-%dT%H:%M:%SZ")


CONDITIONS, DATA = ".//saml:Conditions", ".//saml:SubjectConfirmationData"
STATEMENT = ".//saml:AuthnStatement"
LIES: dict[str, tuple[Callable[[Any], None], str]] = {
    "sent elsewhere": (_set(".", "Destination", "https://x.example/"), "Destination"),
    "a response of another": (_text("saml:Issuer", "https://evil.example"), "Issuer"),
    "an assertion of another": (_text("saml:Assertion/saml:Issuer", "x"), "Issuer"),
    "for another": (_text(".//saml:Audience", "https://other.example"), "Audience"),
    "for nobody": (_drop(".//saml:AudienceRestriction"), "Audience"),
    "no conditions": (_drop(CONDITIONS), "Conditions"),
    "an unknown condition": (_condition, "Conditions"),
    "expired": (_set(CONDITIONS, "NotOnOrAfter", _at(seconds=-60)), "NotOnOrAfter"),
    "without an end": (_set(CONDITIONS, "NotOnOrAfter", None), "NotOnOrAfter"),
    "not yet": (_set(CONDITIONS, "NotBefore", _at(seconds=61)), "NotBefore"),
    "an end that is none": (_set(CONDITIONS, "NotOnOrAfter", "soon"), "NotOnOrAfter"),
    "another address": (_set(DATA, "Recipient", "https://x.example/"), "Recipient"),
    "no address": (_set(DATA, "Recipient", None), "Recipient"),
    "another request": (_set(DATA, "InResponseTo", "_x"), "InResponseTo"),
    "no request": (_set(DATA, "InResponseTo", None), "InResponseTo"),
    "too late": (_set(DATA, "NotOnOrAfter", _at(seconds=-60)), "SubjectConfirmationData"),
    "a beginning": (_set(DATA, "NotBefore", _at()), "SubjectConfirmationData"),
    "two confirmations": (_twice(".//saml:SubjectConfirmation"), "SubjectConfirmation"),
    "not for the bearer": (
        _set(".//saml:SubjectConfirmation", "Method", "urn:x:sender-vouches"),
        "SubjectConfirmation",
    ),
    "signed in tomorrow": (_set(STATEMENT, "AuthnInstant", _at(seconds=61)), "AuthnInstant"),
    "signed in last week": (_set(STATEMENT, "AuthnInstant", _at(days=-7)), "AuthnInstant"),
    "nobody signed in": (_drop(STATEMENT), "AuthnStatement"),
    "a name for once": (
        _set(".//saml:NameID", "Format", "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"),
        "NameID",
    ),
    "no name": (_text(".//saml:NameID", ""), "NameID"),
    "two subjects": (_twice(".//saml:Subject"), "Subject"),
    "two assertions": (_twice("saml:Assertion"), "assertion"),
    "no assertion": (_drop("saml:Assertion"), "assertion"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_an_assertion_with_one_wrong_part_is_refused_by_name(stage: Stage, lie: str) -> None:
    stage.liar.change, why = LIES[lie]
    with pytest.raises(Untrusted, match=why):
        stage.sign_in()


@pytest.mark.parametrize(
    "change",
    [
        _set(CONDITIONS, "NotOnOrAfter", _at(seconds=-59)),
        _set(CONDITIONS, "NotBefore", _at(seconds=59)),
        _set(STATEMENT, "AuthnInstant", _at(seconds=59)),
    ],
)
def test_clocks_may_differ_a_little(stage: Stage, change: Callable[[Any], None]) -> None:
    stage.liar.change = change
    assert stage.sign_in()


# Signatures


def _unsigned(root: Any) -> None:
    signature = _one(root, ".//{http://www.w3.org/2000/09/xmldsig#}Signature")
    signature.getparent().remove(signature)


def _changed(root: Any) -> None:
    for value in root.iter("{urn:oasis:names:tc:SAML:2.0:assertion}AttributeValue"):
        if value.text == "lu:restricted":
            value.text = "lu:secret"


def _only_the_response(liar: SamlLiar) -> Callable[[Any], None]:
    """The response is signed and its assertion is not."""

    def change(root: Any) -> None:
        _unsigned(root)
        signed = liar.sign(copy.deepcopy(root))
        root[:] = list(signed)

    return change


@pytest.mark.parametrize("after", [_unsigned, _changed], ids=["unsigned", "changed"])
def test_an_assertion_that_is_not_as_it_was_signed_is_refused(
    stage: Stage, after: Callable[[Any], None]
) -> None:
    stage.liar.after = after
    with pytest.raises(Untrusted, match="not signed"):
        stage.sign_in()


def test_a_signature_of_the_response_alone_is_not_enough(stage: Stage) -> None:
    stage.liar.after = _only_the_response(stage.liar)
    with pytest.raises(Untrusted, match="not signed"):
        stage.sign_in()


def test_another_key_signs_nothing_even_if_it_brings_its_certificate(stage: Stage) -> None:
    stage.liar.signer = a_signer("evil")
    with pytest.raises(Untrusted, match="not signed"):
        stage.sign_in()


def test_weak_algorithms_are_not_taken(stage: Stage) -> None:
    text = _xml(stage.liar.visit(stage.begin().address))
    raw = etree.tostring(text)
    for strong, weak in (
        (b"2001/04/xmldsig-more#rsa-sha256", b"2000/09/xmldsig#rsa-sha1"),
        (b"2001/04/xmlenc#sha256", b"2000/09/xmldsig#sha1"),
        (b"xmldsig-more#rsa-sha256", b"xmldsig-more#hmac-sha256"),
    ):
        assert strong in raw
        with pytest.raises(Untrusted, match="not signed"):
            stage.answer(base64.b64encode(raw.replace(strong, weak)).decode())


# Signature wrapping (Somorovsky and others, "On Breaking SAML", USENIX Security 2012)


def _evil(signed: Any) -> Any:
    """A copy of a signed assertion that says more, without a signature."""
    made = copy.deepcopy(signed)
    made.remove(made.find("{http://www.w3.org/2000/09/xmldsig#}Signature"))
    made.set("ID", "_evil")
    for value in made.iter("{urn:oasis:names:tc:SAML:2.0:assertion}AttributeValue"):
        if value.text == "lu:restricted":
            value.text = "lu:secret"
    return made


def _before(root: Any, signed: Any, evil: Any) -> None:
    root.insert(0, evil)


def _behind(root: Any, signed: Any, evil: Any) -> None:
    root.append(evil)


def _evil_around(root: Any, signed: Any, evil: Any) -> None:
    root.replace(signed, evil)
    evil.append(signed)


def _evil_with_its_signature(root: Any, signed: Any, evil: Any) -> None:
    """The evil assertion carries the true signature, which refers to the true one inside it."""
    root.replace(signed, evil)
    signature = signed.find("{http://www.w3.org/2000/09/xmldsig#}Signature")
    evil.insert(1, signature)
    holder = etree.SubElement(signature, "{http://www.w3.org/2000/09/xmldsig#}Object")
    holder.append(signed)


def _same_name(root: Any, signed: Any, evil: Any) -> None:
    _evil_with_its_signature(root, signed, evil)
    evil.set("ID", signed.get("ID"))


def _in_extensions(root: Any, signed: Any, evil: Any) -> None:
    root.replace(signed, evil)
    hidden = etree.Element("{urn:oasis:names:tc:SAML:2.0:protocol}Extensions")
    hidden.append(signed)
    root.insert(1, hidden)


def _inside(root: Any, signed: Any, evil: Any) -> None:
    _one(signed, "saml:Subject").append(evil)


@pytest.mark.parametrize(
    "wrap",
    [
        _before, _behind, _evil_around, _evil_with_its_signature, _same_name, _in_extensions,
        _inside,
    ],
)  # fmt: skip
def test_a_signature_that_is_wrapped_lends_nothing(
    stage: Stage, wrap: Callable[[Any, Any, Any], None]
) -> None:
    def after(root: Any) -> None:
        signed = _one(root, "saml:Assertion")
        wrap(root, signed, _evil(signed))

    stage.liar.after = after
    with pytest.raises(Untrusted):
        stage.sign_in()
    with stage.world.database.read() as connection:
        found = connection.execute(principals.select()).all()
    assert not [row for row in found if row.clearance == "lu:secret"]


def test_a_comment_in_a_name_does_not_cut_it(stage: Stage) -> None:
    """Signatures leave comments out, so a name split by one must be read whole."""

    def after(root: Any) -> None:
        name = _one(root, ".//saml:NameID")
        name.text = "person"
        comment = etree.Comment("x")
        comment.tail = "-9"
        name.append(comment)

    stage.liar.values["subject"] = "person-9"
    stage.liar.attributes["uid"] = ["Nine"]
    stage.liar.after = after
    begun = stage.begin()
    stage.back(stage.answer(stage.liar.visit(begun.address)), begun.browser)
    stage.liar.after = lambda root: None
    again = stage.caller(stage.sign_in()).principal
    assert again.name == "Nine"


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


def _xml(form: str) -> Any:
    return etree.fromstring(base64.b64decode(form))


def _form(root: Any) -> str:
    return base64.b64encode(etree.tostring(root)).decode()
