"""Our own keys: what requests are signed with, and what providers encrypt their answers to.

A PEM file each, with a private RSA key and the certificate that carries it to a provider. The first
of several signs; each of them opens what comes, so that a key can be changed without a gap.
"""

from __future__ import annotations

import base64
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from casemate.errors import Invalid

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_SMALLEST_RSA = 2048  # bits
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"


@dataclass(frozen=True, repr=False)
class OwnKey:
    """A private key, and its certificate."""

    private: RSAPrivateKey
    certificate: x509.Certificate

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises Invalid, saying what is wrong with the file."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            content, mode = path.read_bytes(), path.stat().st_mode
        except OSError:
            raise Invalid(f"its own key, {path.name}, cannot be read") from None
        if stat.S_IMODE(mode) & 0o007:
            raise Invalid(f"its own key, {path.name}, may be read by everybody: chmod 600")
        what = (
            f"{path.name} does not hold an RSA key of {_SMALLEST_RSA} bits without a password, and "
            "its certificate"
        )
        try:
            private = load_pem_private_key(content, None)
            certificate = x509.load_pem_x509_certificates(content)[0]
        except (ValueError, TypeError):
            raise Invalid(what) from None
        if not isinstance(private, RSAPrivateKey) or private.key_size < _SMALLEST_RSA:
            raise Invalid(what)
        if certificate.public_key() != private.public_key():
            raise Invalid(f"the certificate in {path.name} is not that of its key")
        return cls(private, certificate)

    @property
    def base64(self) -> str:
        """The certificate as metadata hold it."""
        from cryptography.hazmat.primitives.serialization import Encoding

        return base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()

    def sign(self, content: str) -> str:
        """A signature with RSA and SHA-256 of what stands in an address, in base64."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        return base64.b64encode(self.private.sign(content.encode(), PKCS1v15(), SHA256())).decode()
