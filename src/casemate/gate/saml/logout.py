"""Single logout: a provider's word, by way of the browser, that somebody's session there is over.

SAML 2.0 Core 3.7, Bindings 3.4 (HTTP-Redirect), Profiles 4.4. The signature covers the query as it
was sent, so that is what is taken apart: the parameters as they stand, none of them twice.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from casemate.gate.saml.names import ASSERTION, PROTOCOL, only, read, text_of, time_of
from casemate.gate.saml.provider import SamlProvider
from casemate.gate.sign_in_refusal import Untrusted

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from lxml.etree import _Element

_LONGEST = 64 * 1024  # characters of a query, and bytes of what it unpacks to
_OLDEST = timedelta(minutes=10)
_SMALLEST_RSA = 2048  # bits
_ALGORITHMS = {
    f"http://www.w3.org/2001/04/xmldsig-more#{kind}-sha{bits}": (kind, bits)
    for kind in ("rsa", "ecdsa")
    for bits in (256, 384, 512)
}


@dataclass(frozen=True)
class Ended:
    """Whose sessions are over: of ``called`` (a NameID), all or the named ones.

    id: of the request, used once until ``until``. relay: what the provider wants back.
    """

    id: str
    called: str
    sessions: tuple[str, ...]
    relay: str
    until: datetime


def ended(query: str, provider: SamlProvider, *, address: str, now: datetime) -> Ended:
    """What a query that was sent to ``address`` says. Raises Untrusted, naming the check."""
    parts = _parts(query)
    _check_signature(parts, provider)
    root = _unpacked(_plain(parts["SAMLRequest"]))
    if root.tag != f"{PROTOCOL}LogoutRequest" or root.get("Version") != "2.0":
        raise Untrusted("it is not a SAML 2.0 logout request")
    if text_of(only(root, f"{ASSERTION}Issuer", "Issuer")) != provider.issuer:
        raise Untrusted("another provider issued it (Issuer)")
    if root.get("Destination") != address:
        raise Untrusted("it was sent to another address (Destination)")
    skew = timedelta(seconds=provider.skew)
    made, ends = time_of(root, "IssueInstant"), time_of(root, "NotOnOrAfter")
    if made is None or not now - _OLDEST - skew <= made <= now + skew:
        raise Untrusted("it was not made lately (IssueInstant)")
    if ends is not None and now - skew >= ends:
        raise Untrusted("it has expired (NotOnOrAfter)")
    id = root.get("ID", "")
    if not 1 <= len(id) <= 255:
        raise Untrusted("it has no name of its own (ID)")
    called = text_of(only(root, f"{ASSERTION}NameID", "NameID"))
    if not called:
        raise Untrusted("it does not say whose session is over (NameID)")
    named = [text_of(one) for one in root.findall(f"{PROTOCOL}SessionIndex")]
    if not all(named):
        raise Untrusted("it does not say which session is over (SessionIndex)")
    relay = _plain(parts["RelayState"]) if "RelayState" in parts else ""
    return Ended(id, called, tuple(named), relay, made + _OLDEST + 2 * skew)


def _parts(query: str) -> dict[str, str]:
    """The parameters of SAML as they stand in the query."""
    if len(query) > _LONGEST:
        raise Untrusted("it is too long")
    found: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if unquote_plus(name) != name and unquote_plus(name) in _NAMES:
            raise Untrusted("its parameters are not written plainly")
        if name not in _NAMES:
            continue
        if name in found:
            raise Untrusted(f"it has {name} twice")
        found[name] = value
    if "SAMLRequest" not in found:
        raise Untrusted("it brings no request (SAMLRequest)")
    return found


_NAMES = ("SAMLRequest", "RelayState", "SigAlg", "Signature")


def _check_signature(parts: dict[str, str], provider: SamlProvider) -> None:
    algorithm = _ALGORITHMS.get(_plain(parts.get("SigAlg", "")))
    if algorithm is None or "Signature" not in parts:
        raise Untrusted("it is not signed in a way that is known here (SigAlg)")
    signed = "&".join(f"{name}={parts[name]}" for name in _NAMES[:3] if name in parts).encode()
    signature = _decoded(_plain(parts["Signature"]))
    if not any(_good(key, algorithm, signed, signature) for key in provider.keys):
        raise Untrusted("it is not signed with a key of the provider (Signature)")


def _good(key: Certificate, algorithm: tuple[str, int], signed: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

    kind, bits = algorithm
    hash: hashes.HashAlgorithm = getattr(hashes, f"SHA{bits}")()
    public = key.public_key()
    try:
        if kind == "rsa" and isinstance(public, rsa.RSAPublicKey):
            if public.key_size < _SMALLEST_RSA:
                return False
            public.verify(signature, signed, padding.PKCS1v15(), hash)
            return True
        if kind == "ecdsa" and isinstance(public, ec.EllipticCurvePublicKey):
            half = len(signature) // 2  # XML Signature 1.1, 6.4.3: r and s, one after the other
            r, s = (int.from_bytes(part) for part in (signature[:half], signature[half:]))
            public.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(hash))
            return True
    except InvalidSignature:
        return False
    return False


def _unpacked(text: str) -> _Element:
    unpacking = zlib.decompressobj(-15)
    try:
        content = unpacking.decompress(_decoded(text), _LONGEST)
    except zlib.error:
        raise Untrusted("it cannot be unpacked (DEFLATE)") from None
    if unpacking.unconsumed_tail:
        raise Untrusted("it unpacks to more than it may")
    return read(content)


def _plain(value: str) -> str:
    return unquote_plus(value)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Untrusted("it is not in base64") from None
