"""Names of SAML's XML, and how its documents are read: nothing is loaded, nothing expanded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from casemate.gate.sign_in_refusal import Untrusted

if TYPE_CHECKING:
    from lxml.etree import _Element

ASSERTION = "{urn:oasis:names:tc:SAML:2.0:assertion}"
PROTOCOL = "{urn:oasis:names:tc:SAML:2.0:protocol}"
METADATA = "{urn:oasis:names:tc:SAML:2.0:metadata}"
SIGNATURE = "{http://www.w3.org/2000/09/xmldsig#}"
ENCRYPTION = "{http://www.w3.org/2001/04/xmlenc#}"
ENCRYPTION11 = "{http://www.w3.org/2009/xmlenc11#}"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"

TWO_FACTORS = "https://refeds.org/profile/mfa"  # REFEDS MFA Profile 1.2


def read(content: bytes) -> _Element:
    """The root of an XML document. Raises Untrusted if it is malformed or has a DTD."""
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_pis=True
    )
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise Untrusted("it is not an XML document") from None
    if root is None or root.getroottree().docinfo.doctype:
        raise Untrusted("it is an XML document with a type declaration")
    return root


def only(element: _Element, path: str, what: str) -> _Element:
    """The one element at ``path``. Raises Untrusted if there is none, or more than one."""
    found = element.findall(path)
    if len(found) != 1:
        raise Untrusted(f"it has not exactly one {what}")
    return found[0]


def time_of(element: _Element, name: str) -> datetime | None:
    """The moment in an attribute; None without one. Raises Untrusted if it is none."""
    text = element.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Untrusted(f"it does not say when ({name})") from None
    # SAML 2.0 Core 1.3.3: times are UTC, written with Z or without a zone.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def text_of(element: _Element | None) -> str:
    """The text of an element that holds nothing but text; empty if there is no element."""
    if element is None or len(element):
        return ""
    return (element.text or "").strip()
