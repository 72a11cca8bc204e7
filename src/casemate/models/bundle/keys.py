"""Keys of the people who vouch for bundles: Ed25519 (RFC 8032) in PEM (PKCS #8, RFC 8410).

A signature says "this manifest" and nothing else: the signed text names the format and the digest,
so that it cannot be taken for a signature of anything but a bundle.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from casemate.errors import Conflict, Invalid, NotFound, Refused, Tampered
from casemate.ledger.receipt import ReceiptError, canonical, parse_canonical
from casemate.models.bundle.manifest import FORMAT

SIGNATURES = ("manifest.sig.1", "manifest.sig.2")  # their names in the archive
_PEM = serialization.Encoding.PEM
_DER = serialization.Encoding.DER
_INFO = serialization.PublicFormat.SubjectPublicKeyInfo
_LONGEST_FILE = 8192
_MAKE = "Make one with `casemate bundle key`."


@dataclass(frozen=True)
class BundleKey:
    """A public key that bundles are signed by."""

    raw: bytes  # 32 bytes

    @classmethod
    def parse(cls, pem: bytes) -> BundleKey:
        """A public key from PEM. Raises Invalid."""
        if b"PRIVATE KEY" in pem:
            raise Invalid(
                "This is a private key; a public one is needed.",
                "`casemate bundle key` wrote one beside it, with .pub at the end.",
            )
        try:
            key = serialization.load_pem_public_key(pem)
        except ValueError:
            raise Invalid("This is not a public key in PEM.", _MAKE) from None
        if not isinstance(key, Ed25519PublicKey):
            raise Invalid("This key is not of the kind Ed25519.", _MAKE)
        return cls(key.public_bytes_raw())

    @property
    def pem(self) -> str:
        """Its PEM text."""
        return self._key.public_bytes(_PEM, _INFO).decode()

    @property
    def fingerprint(self) -> str:
        """ "sha256:…" of its SubjectPublicKeyInfo, DER."""
        return "sha256:" + hashlib.sha256(self._key.public_bytes(_DER, _INFO)).hexdigest()

    @property
    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.raw)


@dataclass(frozen=True)
class SigningKey:
    """A private key that signs bundles."""

    key: Ed25519PrivateKey

    @classmethod
    def read(cls, place: Path) -> SigningKey:
        """A private key from a PEM file that only its owner can read. Raises Invalid, Refused."""
        content = _read(place)
        if place.stat().st_mode & 0o077:
            raise Refused(
                "The signing key can be read by other accounts.",
                f"Take their access away: chmod 600 {place.name}",
            )
        try:
            key = serialization.load_pem_private_key(content, None)
        except TypeError:
            raise Invalid(
                "The signing key is locked with a password.", "Unlock it first."
            ) from None
        except ValueError:
            raise Invalid("This is not a private key in PEM.", _MAKE) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise Invalid("The signing key is not of the kind Ed25519.", _MAKE)
        return cls(key)

    @property
    def public(self) -> BundleKey:
        """Its public half."""
        return BundleKey(self.key.public_key().public_bytes_raw())

    def sign(self, digest: str) -> Signature:
        """Vouch for the manifest with this digest."""
        return Signature(self.public, self.key.sign(_text(digest)))


@dataclass(frozen=True)
class Signature:
    """A signature of a manifest, with the public key that it is said to be by."""

    key: BundleKey
    signature: bytes  # 64 bytes

    @classmethod
    def parse(cls, raw: bytes) -> Signature:
        """A signature from its canonical JSON. Raises Tampered."""
        try:
            parts = msgspec.convert(parse_canonical(raw), _Parts)
            one = cls(BundleKey(b64decode(parts.key)), b64decode(parts.signature))
            if one.canonical() != raw:
                raise ValueError("another spelling")
        except (ReceiptError, msgspec.ValidationError, ValueError):
            raise Tampered(
                "A signature of the bundle is damaged.", "Get the bundle again from who made it."
            ) from None
        return one

    def canonical(self) -> bytes:
        """Its canonical JSON; always as long."""
        return canonical(
            {
                "v": 1,
                "key": b64encode(self.key.raw).decode(),
                "signature": b64encode(self.signature).decode(),
            }
        )

    def verify(self, digest: str) -> None:
        """Raise Tampered unless it is of the manifest with this digest."""
        try:
            self.key._key.verify(self.signature, _text(digest))
        except (InvalidSignature, ValueError):
            raise Tampered(
                "A signature of the bundle does not belong to its manifest.",
                "Get the bundle again from who made it; do not use this one.",
            ) from None


SIGNATURE_SIZE = len(Signature(BundleKey(bytes(32)), bytes(64)).canonical())


class _Parts(msgspec.Struct, forbid_unknown_fields=True):
    v: int
    key: str
    signature: str


def make_key(place: Path) -> BundleKey:
    """Make a key: the private half in ``place``, the public one beside it with ``.pub``.

    Raises Conflict if either is there already, Invalid if they cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = BundleKey(key.public_key().public_bytes_raw())
    beside = place.with_name(place.name + ".pub")
    if place.exists() or beside.exists():
        raise Conflict("There is a file of that name already.", "Choose another name.")
    try:
        for path, content, mode in (
            (place, private, 0o600),
            (beside, public.pem.encode(), 0o644),
        ):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(path, flags, mode), "wb") as file:
                file.write(content)
    except OSError as problem:
        raise Invalid(
            f"The key cannot be written: {problem.strerror}.", "Choose another place."
        ) from None
    return public


def read_public(place: Path) -> BundleKey:
    """A public key from a PEM file. Raises Invalid, NotFound."""
    return BundleKey.parse(_read(place))


def _read(place: Path) -> bytes:
    try:
        with place.open("rb") as file:
            return file.read(_LONGEST_FILE)
    except OSError as problem:
        raise NotFound(
            f"The key {place.name} cannot be read: {problem.strerror}.", "Check its name."
        ) from None


def _text(digest: str) -> bytes:
    return f"{FORMAT}\n{digest}\n".encode()
