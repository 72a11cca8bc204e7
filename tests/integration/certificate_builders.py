"""Authorities that issue certificates, and what they issue: for services that never existed."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

CLIENT, SERVER = Purpose.CLIENT_AUTH, Purpose.SERVER_AUTH


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def write(self, path: Path, *more: Pair) -> Path:
        """Certificate, those of ``more``, and key in one file."""
        form = PrivateFormat.PKCS8
        key = self.key.private_bytes(Encoding.PEM, form, NoEncryption())
        path.write_bytes(self.pem + b"".join(one.pem for one in more) + key)
        path.chmod(0o600)
        return path


def an_authority(name: str, now: datetime, above: Pair | None = None) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    made = _builder(_name(f"CN={name},O=Specimens,C=LU"), key, now, 3650, above)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    made = made.add_extension(usage, critical=True)
    return Pair(made.sign(above.key if above else key, SHA256()), key)


def a_certificate(
    authority: Pair | None,
    now: datetime,
    *,
    subject: str = "CN=robot.example,O=Specimens,C=LU",
    names: tuple[x509.GeneralName, ...] = (x509.DNSName("robot.example"),),
    purpose: x509.ObjectIdentifier = CLIENT,
    days: int = 30,
) -> Pair:
    """One that ``authority`` issued; None: that the holder issued itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = _builder(_name(subject), key, now, days, authority)
    made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    made = made.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Pair(made.sign(authority.key if authority else key, SHA256()), key)


def a_list(
    authority: Pair,
    now: datetime,
    *revoked: Pair,
    days: float = 7,
    since: float = 0,
    key: ec.EllipticCurvePrivateKey | None = None,
    partial: bool = False,
) -> bytes:
    """A revocation list in PEM. ``key``: of who signs it in the authority's place."""
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now + timedelta(days=since))
        .next_update(now + timedelta(days=days))
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    for pair in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(pair.certificate.serial_number)
        made = made.add_revoked_certificate(entry.revocation_date(now).build())
    if partial:
        point = x509.IssuingDistributionPoint(None, None, True, False, None, False, False)
        made = made.add_extension(point, critical=True)
    return made.sign(key or authority.key, SHA256()).public_bytes(Encoding.PEM)


def loopback() -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


def _builder(
    name: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    days: int,
    above: Pair | None,
) -> x509.CertificateBuilder:
    issuer = above.certificate.subject if above else name
    upper = above.key.public_key() if above else key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(upper),
            critical=False,
        )
    )


def _name(text: str) -> x509.Name:
    return x509.Name.from_rfc4514_string(text)
