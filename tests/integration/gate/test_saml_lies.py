"""Signing in with a SAML provider that lies, or with what somebody made of its answer."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from gate_builders import Watch
from lxml import etree
from saml_liar import SamlLiar, a_signer
from saml_stage import Stage, a_stage, one, parsed

from casemate.gate.sign_in_refusal import Untrusted
from casemate.store.tables import principals


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with a_stage(tmp_path_factory.mktemp("saml")) as made:
        yield made


@pytest.fixture
def stage(theatre: Stage) -> Stage:
    """The one stage of these tests, where nothing is left of the lie before."""
    theatre.reset()
    return theatre


# Assertions that lie


def _set(path: str, name: str, value: str | None) -> Callable[[Any], None]:
    def change(root: Any) -> None:
        element = one(root, path)
        if value is None:
            del element.attrib[name]
        else:
            element.set(name, value)

    return change


def _text(path: str, text: str) -> Callable[[Any], None]:
    def change(root: Any) -> None:
        one(root, path).text = text

    return change


def _drop(path: str) -> Callable[[Any], None]:
    def change(root: Any) -> None:
        element = one(root, path)
        element.getparent().remove(element)

    return change


def _twice(path: str) -> Callable[[Any], None]:
    def change(root: Any) -> None:
        element = one(root, path)
        element.getparent().append(copy.deepcopy(element))

    return change


def _condition(root: Any) -> None:
    etree.SubElement(one(root, ".//saml:Conditions"), "{urn:x}OnlyOnSundays")


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
    "over already": (_set(STATEMENT, "SessionNotOnOrAfter", _at()), "SessionNotOnOrAfter"),
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
    signature = one(root, ".//{http://www.w3.org/2000/09/xmldsig#}Signature")
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
    text = parsed(stage.liar.visit(stage.begin().address))
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


def evil(signed: Any) -> Any:
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
    one(signed, "saml:Subject").append(evil)


WRAPPINGS = [
    _before, _behind, _evil_around, _evil_with_its_signature, _same_name, _in_extensions, _inside,
]  # fmt: skip


@pytest.mark.parametrize("wrap", WRAPPINGS)
def test_a_signature_that_is_wrapped_lends_nothing(
    stage: Stage, wrap: Callable[[Any, Any, Any], None]
) -> None:
    def after(root: Any) -> None:
        signed = one(root, "saml:Assertion")
        wrap(root, signed, evil(signed))

    stage.liar.after = after
    with pytest.raises(Untrusted):
        stage.sign_in()
    with stage.world.database.read() as connection:
        found = connection.execute(principals.select()).all()
    assert not [row for row in found if row.clearance == "lu:secret"]


def test_a_comment_in_a_name_does_not_cut_it(stage: Stage) -> None:
    """Signatures leave comments out, so a name split by one must be read whole."""

    def after(root: Any) -> None:
        name = one(root, ".//saml:NameID")
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
