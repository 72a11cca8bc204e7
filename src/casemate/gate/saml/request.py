"""What we send: a request to sign somebody in, an answer to a logout, and our own description.

SAML 2.0 Core 3.4.1 and 3.7.2; Bindings 3.4.4.1 (DEFLATE, RFC 1951, and its signature); Metadata
2.4.4. A signature covers the parameters as they are sent.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from casemate.gate.saml.encryption import CONTENT, OAEP
from casemate.gate.saml.names import (
    ASSERTION,
    METADATA,
    PERSISTENT,
    POST,
    PROTOCOL,
    REDIRECT,
    SIGNATURE,
    SUCCESS,
)
from casemate.gate.saml.own_key import RSA_SHA256, OwnKey

if TYPE_CHECKING:
    from lxml.etree import _Element

_MAP = {
    "saml": ASSERTION.strip("{}"),
    "samlp": PROTOCOL.strip("{}"),
    "md": METADATA.strip("{}"),
}


def entity(base: str, name: str) -> str:
    """What this installation is called at the provider ``name``: where its description lies."""
    return f"{base}/sign-in/with/{name}/metadata"


def answer_address(base: str, name: str) -> str:
    """Where the provider ``name`` has its answer sent."""
    return f"{base}/sign-in/with/{name}/answer"


def logout_address(base: str, name: str) -> str:
    """Where the provider ``name`` sends browsers to say that a session is over."""
    return f"{base}/sign-in/with/{name}/over"


def address(
    place: str,
    *,
    id: str,
    now: str,
    base: str,
    name: str,
    contexts: Sequence[str],
    name_format: str,
    own: Sequence[OwnKey],
) -> str:
    """Where to send a browser so that the provider at ``place`` signs somebody in.

    contexts: the authentication contexts of which one is needed; none: any. name_format: of the
    NameID; empty: whatever the provider likes. own: the first of our keys signs; none: nobody.
    """
    from lxml import etree

    root = etree.Element(
        f"{PROTOCOL}AuthnRequest",
        {
            "ID": id,
            "Version": "2.0",
            "IssueInstant": now,
            "Destination": place,
            "AssertionConsumerServiceURL": answer_address(base, name),
            "ProtocolBinding": POST,
        },
        nsmap={key: _MAP[key] for key in ("saml", "samlp")},
    )
    etree.SubElement(root, f"{ASSERTION}Issuer").text = entity(base, name)
    policy = {"AllowCreate": "true"} | ({"Format": name_format} if name_format else {})
    etree.SubElement(root, f"{PROTOCOL}NameIDPolicy", policy)
    if contexts:
        wanted = etree.SubElement(root, f"{PROTOCOL}RequestedAuthnContext", {"Comparison": "exact"})
        for one in contexts:
            etree.SubElement(wanted, f"{ASSERTION}AuthnContextClassRef").text = one
    return _sent(place, "SAMLRequest", root, "", own)


def farewell(
    place: str,
    *,
    id: str,
    now: str,
    base: str,
    name: str,
    answers: str,
    relay: str,
    own: Sequence[OwnKey],
) -> str:
    """Where to send a browser so that the provider at ``place`` knows that a session is over.

    answers: the id of the provider's request. relay: what it gave to be brought back.
    """
    from lxml import etree

    root = etree.Element(
        f"{PROTOCOL}LogoutResponse",
        {
            "ID": id,
            "Version": "2.0",
            "IssueInstant": now,
            "Destination": place,
            "InResponseTo": answers,
        },
        nsmap={key: _MAP[key] for key in ("saml", "samlp")},
    )
    etree.SubElement(root, f"{ASSERTION}Issuer").text = entity(base, name)
    status = etree.SubElement(root, f"{PROTOCOL}Status")
    etree.SubElement(status, f"{PROTOCOL}StatusCode", {"Value": SUCCESS})
    return _sent(place, "SAMLResponse", root, relay, own)


def _sent(place: str, kind: str, root: _Element, relay: str, own: Sequence[OwnKey]) -> str:
    from lxml import etree

    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = packed.compress(etree.tostring(root)) + packed.flush()
    query = {kind: base64.b64encode(raw).decode()} | ({"RelayState": relay} if relay else {})
    if own:
        query["SigAlg"] = RSA_SHA256
        query["Signature"] = own[0].sign(urlencode(query))
    return f"{place}{'&' if '?' in place else '?'}{urlencode(query)}"


def description(base: str, name: str, own: Sequence[OwnKey]) -> bytes:
    """This installation as the provider ``name`` needs to know it: SAML metadata."""
    from lxml import etree

    root = etree.Element(
        f"{METADATA}EntityDescriptor", {"entityID": entity(base, name)}, nsmap={"md": _MAP["md"]}
    )
    role = etree.SubElement(
        root,
        f"{METADATA}SPSSODescriptor",
        {
            "AuthnRequestsSigned": "true" if own else "false",
            "WantAssertionsSigned": "true",
            "protocolSupportEnumeration": _MAP["samlp"],
        },
    )
    for number, key in enumerate(own):
        for use in ("signing", "encryption") if number == 0 else ("encryption",):
            _describe(role, key, use)
    place = {"Binding": REDIRECT, "Location": logout_address(base, name)}
    etree.SubElement(role, f"{METADATA}SingleLogoutService", place)
    etree.SubElement(role, f"{METADATA}NameIDFormat").text = PERSISTENT
    etree.SubElement(
        role,
        f"{METADATA}AssertionConsumerService",
        {
            "Binding": POST,
            "Location": answer_address(base, name),
            "index": "0",
        },
    )
    content: bytes = etree.tostring(root, xml_declaration=True, encoding="utf-8")
    return content


def _describe(role: _Element, key: OwnKey, use: str) -> None:
    from lxml import etree

    names = {"md": _MAP["md"], "ds": SIGNATURE.strip("{}")}
    described = etree.SubElement(role, f"{METADATA}KeyDescriptor", {"use": use}, nsmap=names)
    holder = etree.SubElement(described, f"{SIGNATURE}KeyInfo")
    holder = etree.SubElement(holder, f"{SIGNATURE}X509Data")
    etree.SubElement(holder, f"{SIGNATURE}X509Certificate").text = key.base64
    if use == "encryption":
        for cipher in (*reversed(CONTENT), *OAEP):
            etree.SubElement(described, f"{METADATA}EncryptionMethod", {"Algorithm": cipher})
