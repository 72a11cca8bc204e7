"""Responses: what a provider says, of which only the signed part is looked at.

SAML 2.0 Core 2.3 and 3.3.3, Profiles 4.1.4.2 and 4.1.4.3. The assertion is cut out of the
response, its own signature is checked, and what the signature covers is parsed anew from the very
bytes that were digested: whatever else is wrapped around it, before or after, is never read.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from casemate.gate.saml.encryption import decrypted
from casemate.gate.saml.names import (
    ASSERTION,
    BEARER,
    PROTOCOL,
    SUCCESS,
    TRANSIENT,
    only,
    read,
    text_of,
    time_of,
)
from casemate.gate.saml.provider import SamlProvider
from casemate.gate.sign_in_refusal import Cancelled, Untrusted

if TYPE_CHECKING:
    from lxml.etree import _Element

_LONGEST = 512 * 1024  # characters, in base64
_SMALLEST_RSA = 2048  # bits
_OLDEST = timedelta(hours=24)  # since the person signed in at the provider
_KNOWN_CONDITIONS = frozenset(
    {f"{ASSERTION}AudienceRestriction", f"{ASSERTION}OneTimeUse", f"{ASSERTION}ProxyRestriction"}
)


@dataclass(frozen=True)
class Said:
    """What an assertion says. ``attributes``: their values by name; ``until``: its last moment.

    called: the NameID, if it has one: what a logout will call the person. ends: when the session
    is over at the latest.
    """

    id: str
    subject: str
    attributes: Mapping[str, list[str]]
    context: str | None
    session: str | None
    until: datetime
    called: str | None
    ends: datetime | None


def request_of(text: str) -> tuple[_Element, str]:
    """A response as it came, in base64, and which request it says that it answers.

    Nothing in it is to be believed yet. Raises Untrusted, Cancelled.
    """
    if len(text) > _LONGEST:
        raise Untrusted("it is too long")
    try:
        root = read(base64.b64decode("".join(text.split()), validate=True))
    except (binascii.Error, ValueError):
        raise Untrusted("it is not in base64") from None
    if root.tag != f"{PROTOCOL}Response" or root.get("Version") != "2.0":
        raise Untrusted("it is not a SAML 2.0 response")
    status = root.find(f"{PROTOCOL}Status/{PROTOCOL}StatusCode")
    if status is None or status.get("Value") != SUCCESS:
        raise Cancelled("The sign-in service did not sign anybody in.")
    return root, root.get("InResponseTo", "")


def check(
    root: _Element, provider: SamlProvider, *, request: str, address: str, us: str, now: datetime
) -> Said:
    """What a response says to ``us`` at ``address`` about ``request``. Raises Untrusted."""
    if root.get("Destination") not in (None, address):
        raise Untrusted("it was sent to another address (Destination)")
    issuer = root.find(f"{ASSERTION}Issuer")
    if issuer is not None and text_of(issuer) != provider.issuer:
        raise Untrusted("another provider issued it (Issuer)")
    assertion = _signed(_assertion(root, provider), provider)
    if text_of(only(assertion, f"{ASSERTION}Issuer", "Issuer")) != provider.issuer:
        raise Untrusted("another provider issued it (Issuer)")
    skew = timedelta(seconds=provider.skew)
    until = _conditions(assertion, us, now, skew)
    subject = only(assertion, f"{ASSERTION}Subject", "Subject")
    _confirmation(subject, request, address, now, skew)
    statement = only(assertion, f"{ASSERTION}AuthnStatement", "AuthnStatement")
    signed_in = time_of(statement, "AuthnInstant")
    if signed_in is None or not now - _OLDEST <= signed_in <= now + skew:
        raise Untrusted("the person did not sign in there lately (AuthnInstant)")
    context = statement.find(f"{ASSERTION}AuthnContext/{ASSERTION}AuthnContextClassRef")
    attributes = _attributes(assertion)
    return Said(
        assertion.get("ID", ""),
        _subject(subject, attributes, provider),
        attributes,
        text_of(context) or None,
        statement.get("SessionIndex"),
        until + skew,
        text_of(subject.find(f"{ASSERTION}NameID")) or None,
        _end(statement, now),
    )


def _assertion(root: _Element, provider: SamlProvider) -> _Element:
    """The one assertion of a response, decrypted if it has to be. Raises Untrusted."""
    hidden = list(root.iter(f"{ASSERTION}EncryptedAssertion"))
    if not hidden:
        if provider.encrypted_only:
            raise Untrusted("its assertion is not encrypted, as was agreed")
        return only(root, f"{ASSERTION}Assertion", "assertion")
    if len(hidden) > 1 or hidden[0].getparent() is not root or _has_plain(root):
        raise Untrusted("it has not exactly one assertion")
    return decrypted(hidden[0], provider.own)


def _has_plain(root: _Element) -> bool:
    return next(root.iter(f"{ASSERTION}Assertion"), None) is not None


def _signed(assertion: _Element, provider: SamlProvider) -> _Element:
    """The assertion as it was signed by one of the provider's keys. Raises Untrusted."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from signxml.algorithms import DigestAlgorithm, SignatureMethod
    from signxml.exceptions import SignXMLException
    from signxml.verifier import SignatureConfiguration, XMLVerifier

    methods = [SignatureMethod[f"{kind}_SHA{bits}"] for kind, bits in _METHODS]
    expected = SignatureConfiguration(
        # The assertion's own child: a signature elsewhere signs something else.
        location="./",
        expect_references=1,
        signature_methods=frozenset(methods),
        digest_algorithms=frozenset(DigestAlgorithm[f"SHA{bits}"] for bits in (256, 384, 512)),
        require_x509=True,
        ignore_ambiguous_key_info=True,
    )
    for key in provider.keys:
        public = key.public_key()
        if isinstance(public, rsa.RSAPublicKey) and public.key_size < _SMALLEST_RSA:
            continue
        # The metadata say which keys count, and not the dates of the certificates they come in:
        # SAML V2.0 Metadata Interoperability Profile, section 2.6.1.
        at = replace(expected, verification_time=key.not_valid_before_utc)
        try:
            result = XMLVerifier().verify(
                assertion, x509_cert=key, id_attribute="ID", expect_config=at
            )
        except (SignXMLException, ValueError, TypeError, KeyError):
            continue
        signed = getattr(result, "signed_xml", None)
        if signed is None or signed.tag != f"{ASSERTION}Assertion" or not signed.get("ID"):
            raise Untrusted("what it signs is not its assertion")
        if signed.get("ID") != assertion.get("ID"):
            raise Untrusted("what it signs is another assertion")
        found: _Element = signed
        return found
    raise Untrusted("its assertion is not signed with a key of the provider")


_METHODS = [(kind, bits) for kind in ("RSA", "ECDSA") for bits in (256, 384, 512)]


def _conditions(assertion: _Element, us: str, now: datetime, skew: timedelta) -> datetime:
    conditions = only(assertion, f"{ASSERTION}Conditions", "Conditions")
    begins, ends = time_of(conditions, "NotBefore"), time_of(conditions, "NotOnOrAfter")
    if begins is not None and now + skew < begins:
        raise Untrusted("it is not valid yet (NotBefore)")
    if ends is None or now - skew >= ends:
        raise Untrusted("it has expired (NotOnOrAfter)")
    if any(one.tag not in _KNOWN_CONDITIONS for one in conditions):
        raise Untrusted("it has a condition that is not known here (Conditions)")
    restrictions = conditions.findall(f"{ASSERTION}AudienceRestriction")
    for one in restrictions:
        if us not in [text_of(audience) for audience in one.findall(f"{ASSERTION}Audience")]:
            raise Untrusted("it is for another application (Audience)")
    if not restrictions:
        raise Untrusted("it does not say whom it is for (Audience)")
    return ends


def _confirmation(
    subject: _Element, request: str, address: str, now: datetime, skew: timedelta
) -> None:
    confirmation = only(subject, f"{ASSERTION}SubjectConfirmation", "SubjectConfirmation")
    if confirmation.get("Method") != BEARER:
        raise Untrusted("it is not for who brings it (SubjectConfirmation)")
    told = only(confirmation, f"{ASSERTION}SubjectConfirmationData", "SubjectConfirmationData")
    if told.get("Recipient") != address:
        raise Untrusted("it is for another address (Recipient)")
    if told.get("InResponseTo") != request:
        raise Untrusted("it answers another request (InResponseTo)")
    ends = time_of(told, "NotOnOrAfter")
    if ends is None or now - skew >= ends:
        raise Untrusted("it has expired (SubjectConfirmationData)")
    if told.get("NotBefore") is not None:
        raise Untrusted("it names a beginning where none belongs (SubjectConfirmationData)")


def _end(statement: _Element, now: datetime) -> datetime | None:
    """When what the provider has opened is over; Core 2.7.2, Profiles 4.1.4.3."""
    end = time_of(statement, "SessionNotOnOrAfter")
    if end is not None and end <= now:
        raise Untrusted("its session is over already (SessionNotOnOrAfter)")
    return end


def _attributes(assertion: _Element) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for statement in assertion.findall(f"{ASSERTION}AttributeStatement"):
        for attribute in statement.findall(f"{ASSERTION}Attribute"):
            values = [text_of(one) for one in attribute.findall(f"{ASSERTION}AttributeValue")]
            found.setdefault(attribute.get("Name", ""), []).extend(filter(None, values))
    return found


def _subject(subject: _Element, attributes: Mapping[str, list[str]], provider: SamlProvider) -> str:
    if provider.subject:
        named = attributes.get(provider.subject, [])
        if len(named) != 1:
            raise Untrusted("it does not say who signed in (subject)")
        return named[0]
    name = only(subject, f"{ASSERTION}NameID", "NameID")
    if name.get("Format") == TRANSIENT:
        raise Untrusted("it calls the person differently each time (NameID)")
    if not text_of(name):
        raise Untrusted("it does not say who signed in (NameID)")
    return text_of(name)


def claims_of(said: Said) -> dict[str, Any]:
    """What was said, as entitlements read it; the subject under ``NameID``."""
    return {"NameID": said.subject, **said.attributes}
