"""Encrypted assertions: what only we can open.

XML Encryption 1.1 (W3C, 2013). Whoever knows our certificate can encrypt to it, so that an
assertion is encrypted proves nothing: what comes out is checked like any other. Only ciphers that
notice a change are taken (AES-GCM, RSA-OAEP): with the older ones (CBC, PKCS 1.5) our answers could
be used to read what somebody else was sent (Jager and Somorovsky, CCS 2011).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from casemate.gate.saml.names import ASSERTION, ENCRYPTION, ENCRYPTION11, SIGNATURE, read, text_of
from casemate.gate.sign_in_refusal import Untrusted

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
    from cryptography.hazmat.primitives.hashes import HashAlgorithm
    from lxml.etree import _Element

    from casemate.gate.saml.own_key import OwnKey

CONTENT = {f"{ENCRYPTION11.strip('{}')}aes{bits}-gcm": bits // 8 for bits in (128, 192, 256)}
"""Ciphers for the content, with the bytes of their keys."""
OAEP = (f"{ENCRYPTION.strip('{}')}rsa-oaep-mgf1p", f"{ENCRYPTION11.strip('{}')}rsa-oaep")
_MASKS = {f"{ENCRYPTION11.strip('{}')}mgf1sha{bits}": f"SHA{bits}" for bits in (1, 256, 384, 512)}
_DIGESTS = {
    f"{SIGNATURE.strip('{}')}sha1": "SHA1",
    **{f"{ENCRYPTION.strip('{}')}sha{bits}": f"SHA{bits}" for bits in (256, 512)},
    "http://www.w3.org/2001/04/xmldsig-more#sha384": "SHA384",
}
_NONCE, _TAG = 12, 16
_MOST_KEYS = 5  # of several readers


def decrypted(encrypted: _Element, keys: Sequence[OwnKey]) -> _Element:
    """The assertion inside an EncryptedAssertion. Nothing in it is to be believed yet.

    Raises Untrusted; whichever step fails, it says the same, but for ciphers that are not taken.
    """
    if not keys:
        raise Untrusted("its assertion is encrypted, and no key for that is declared here")
    data = encrypted.findall(f"{ENCRYPTION}EncryptedData")
    carriers = list(encrypted.iter(f"{ENCRYPTION}EncryptedKey"))
    if len(data) != 1 or not 1 <= len(carriers) <= _MOST_KEYS:
        raise _closed()
    size = CONTENT.get(_method(data[0]))
    if size is None:
        raise Untrusted("its assertion is encrypted with a cipher that is not taken (AES-GCM is)")
    content = _value(data[0])
    if len(content) <= _NONCE + _TAG:
        raise _closed()
    for key in _unwrapped(carriers, keys, size):
        plain = _opened(key, content)
        if plain is not None:
            return _parsed(encrypted, plain)
    raise _closed()


def _unwrapped(carriers: Iterable[_Element], keys: Sequence[OwnKey], size: int) -> Iterator[bytes]:
    for carrier in carriers:
        padding, wrapped = _padding(carrier), _value(carrier)
        for own in keys:
            try:
                key = own.private.decrypt(wrapped, padding)
            except ValueError:
                continue
            if len(key) == size:
                yield key


def _padding(carrier: _Element) -> AsymmetricPadding:
    from cryptography.hazmat.primitives.asymmetric import padding

    method = carrier.find(f"{ENCRYPTION}EncryptionMethod")
    if method is None or method.get("Algorithm") not in OAEP:
        raise Untrusted("its key is encrypted with a cipher that is not taken (RSA-OAEP is)")
    mask = _hash(method.find(f"{ENCRYPTION11}MGF"), _MASKS)
    digest = _hash(method.find(f"{SIGNATURE}DigestMethod"), _DIGESTS)
    if mask is None or digest is None or method.find(f"{ENCRYPTION}OAEPparams") is not None:
        raise Untrusted("its key is encrypted in a way that is not known here")
    return padding.OAEP(padding.MGF1(mask), digest, None)


def _hash(said: _Element | None, known: Mapping[str, str]) -> HashAlgorithm | None:
    from cryptography.hazmat.primitives import hashes

    # SHA-1 is what is meant where nothing is said; inside OAEP it does not have to resist anybody.
    name = "SHA1" if said is None else known.get(said.get("Algorithm", ""))
    found: HashAlgorithm | None = None if name is None else getattr(hashes, name)()
    return found


def _opened(key: bytes, content: bytes) -> bytes | None:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(content[:_NONCE], content[_NONCE:], None)
    except InvalidTag:
        return None


def _parsed(encrypted: _Element, plain: bytes) -> _Element:
    """The one element in ``plain``, which may use the prefixes that hold where it was cut out."""
    from lxml import etree

    around = etree.tostring(etree.Element("around", nsmap=encrypted.nsmap))
    root = read(around.removesuffix(b"/>") + b">" + plain + b"</around>")
    inside = list(root)
    if len(inside) != 1 or inside[0].tag != f"{ASSERTION}Assertion" or (root.text or "").strip():
        raise _closed()
    return inside[0]


def _method(element: _Element) -> str:
    method = element.find(f"{ENCRYPTION}EncryptionMethod")
    return "" if method is None else method.get("Algorithm", "")


def _value(element: _Element) -> bytes:
    value = element.find(f"{ENCRYPTION}CipherData/{ENCRYPTION}CipherValue")
    try:
        return base64.b64decode("".join(text_of(value).split()), validate=True)
    except (binascii.Error, ValueError):
        raise _closed() from None


def _closed() -> Untrusted:
    return Untrusted("its assertion cannot be decrypted with a key of ours")
