"""What we send: a request to sign somebody in, and our own description.

SAML 2.0 Core 3.4.1; Bindings 3.4.4.1 (DEFLATE, RFC 1951); Metadata 2.4.4.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from urllib.parse import urlencode

from casemate.gate.saml.names import ASSERTION, METADATA, PERSISTENT, POST, PROTOCOL

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


def address(
    place: str,
    *,
    id: str,
    now: str,
    base: str,
    name: str,
    contexts: Sequence[str],
    name_format: str,
) -> str:
    """Where to send a browser so that the provider at ``place`` signs somebody in.

    contexts: the authentication contexts of which one is needed; none: any. name_format: of the
    NameID; empty: whatever the provider likes.
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
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = packed.compress(etree.tostring(root)) + packed.flush()
    sent = urlencode({"SAMLRequest": base64.b64encode(raw).decode()})
    return f"{place}{'&' if '?' in place else '?'}{sent}"


def description(base: str, name: str) -> bytes:
    """This installation as the provider ``name`` needs to know it: SAML metadata."""
    from lxml import etree

    root = etree.Element(
        f"{METADATA}EntityDescriptor", {"entityID": entity(base, name)}, nsmap={"md": _MAP["md"]}
    )
    role = etree.SubElement(
        root,
        f"{METADATA}SPSSODescriptor",
        {
            "AuthnRequestsSigned": "false",
            "WantAssertionsSigned": "true",
            "protocolSupportEnumeration": _MAP["samlp"],
        },
    )
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
