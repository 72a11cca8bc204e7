"""A SAML provider that can be told to lie: it writes and signs whatever a test wants.

Honest flows are also tested with a provider that we did not write, see ``test_saml_peer``.
"""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from lxml import etree
from signxml import methods
from signxml.signer import XMLSigner

ISSUER = "https://idp.example.lu/saml"
CONTEXT = "http://eidas.europa.eu/LoA/substantial"
NAMES = {
    "saml": "urn:oasis:names:tc:SAML:2.0:assertion",
    "samlp": "urn:oasis:names:tc:SAML:2.0:protocol",
}
METADATA = """<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{issuer}">
<IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
<KeyDescriptor use="signing"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data>
<X509Certificate>{certificate}</X509Certificate></X509Data></KeyInfo></KeyDescriptor>
<SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
 Location="https://idp.example.lu/slo"/>
<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
 Location="https://idp.example.lu/sso"/>
</IDPSSODescriptor></EntityDescriptor>"""
RESPONSE = """<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"
 xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_r1" Version="2.0"
 IssueInstant="{now}" Destination="{address}" InResponseTo="{request}">
<saml:Issuer>{issuer}</saml:Issuer>
<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>
<saml:Assertion ID="{id}" Version="2.0" IssueInstant="{now}">
<saml:Issuer>{issuer}</saml:Issuer>
<saml:Subject>
<saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">{subject}</saml:NameID>
<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">
<saml:SubjectConfirmationData Recipient="{address}" InResponseTo="{request}" NotOnOrAfter="{end}"/>
</saml:SubjectConfirmation></saml:Subject>
<saml:Conditions NotBefore="{now}" NotOnOrAfter="{end}"><saml:AudienceRestriction>
<saml:Audience>{us}</saml:Audience></saml:AudienceRestriction></saml:Conditions>
<saml:AuthnStatement AuthnInstant="{now}" SessionIndex="s1"><saml:AuthnContext>
<saml:AuthnContextClassRef>{context}</saml:AuthnContextClassRef></saml:AuthnContext>
</saml:AuthnStatement>
<saml:AttributeStatement>{attributes}</saml:AttributeStatement>
</saml:Assertion></samlp:Response>"""
LOGOUT = """<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"
 xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="{id}" Version="2.0" IssueInstant="{now}"
 Destination="{address}"><saml:Issuer>{issuer}</saml:Issuer><saml:NameID>{subject}</saml:NameID>
{sessions}</samlp:LogoutRequest>"""
_VALUE = "<saml:AttributeValue>{}</saml:AttributeValue>"
_ATTRIBUTE = """<saml:Attribute Name="{name}">{values}</saml:Attribute>"""


@dataclass(frozen=True)
class Signer:
    """A key, and a certificate that says whose it is."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    def write(self, path: Path) -> Path:
        """The private key and the certificate in one file."""
        form = PrivateFormat.PKCS8
        key = self.key.private_bytes(Encoding.PEM, form, NoEncryption())
        path.write_bytes(key + self.certificate.public_bytes(Encoding.PEM))
        path.chmod(0o600)
        return path

    @property
    def base64(self) -> str:
        return base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()


@cache
def a_signer(name: str, bits: int = 2048) -> Signer:
    key = rsa.generate_private_key(65537, bits)
    subject = x509.Name.from_rfc4514_string(f"CN={name}")
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    # It has expired, as such certificates often have: the metadata say whether it counts.
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(long_ago)
        .not_valid_after(long_ago + timedelta(days=365))
    )
    return Signer(key, made.sign(key, SHA256()))


@dataclass
class SamlLiar:
    """``change``: what a lie does to the response before it is signed; ``after``: once it is."""

    clock: Callable[[], datetime]
    signer: Signer
    attributes: dict[str, list[str]] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    change: Callable[[Any], Any] = lambda root: None
    after: Callable[[Any], Any] = lambda root: None
    algorithms: dict[str, str] = field(default_factory=dict)
    assertions: int = 0
    logouts: int = 0

    def visit(self, address: str) -> str:
        """The form that the browser of somebody who signs in at ``address`` sends back."""
        packed = parse_qs(urlsplit(address).query)["SAMLRequest"][0]
        asked = etree.fromstring(zlib.decompress(base64.b64decode(packed), -15))
        return self.form(
            asked.get("ID"),
            asked.get("AssertionConsumerServiceURL"),
            asked.findtext("saml:Issuer", namespaces=NAMES),
        )

    def form(self, request: str, address: str, us: str) -> str:
        now = self.clock()
        self.assertions += 1
        words = {
            "now": _time(now),
            "end": _time(now + timedelta(minutes=5)),
            "issuer": ISSUER,
            "subject": "person-7",
            "id": f"_a{self.assertions}",
            "context": CONTEXT,
            "request": request,
            "address": address,
            "us": us,
            "attributes": "".join(
                _ATTRIBUTE.format(
                    name=name,
                    values="".join(_VALUE.format(value) for value in found),
                )
                for name, found in self.attributes.items()
            ),
            **self.values,
        }
        root = etree.fromstring(RESPONSE.format(**words))
        self.change(root)
        signed = self.signed(root)
        self.after(signed)
        return base64.b64encode(etree.tostring(signed)).decode()

    def signed(self, root: Any) -> Any:
        """The response with its assertion signed in place."""
        assertion = root.find("saml:Assertion", NAMES)
        if assertion is None:
            return root
        root.replace(assertion, self.sign(assertion))
        return root

    def sign(self, assertion: Any) -> Any:
        signer = XMLSigner(
            method=methods.enveloped,
            c14n_algorithm="http://www.w3.org/2001/10/xml-exc-c14n#",
            **{"signature_algorithm": "rsa-sha256", "digest_algorithm": "sha256"} | self.algorithms,
        )
        return signer.sign(
            assertion,
            key=self.signer.key,
            cert=[self.signer.certificate],
            reference_uri=assertion.get("ID"),
            id_attribute="ID",
        )

    def logout(
        self, address: str, subject: str, *sessions: str, relay: str = "", **values: str
    ) -> str:
        """The query with which a browser comes to ``address`` once ``subject`` signed out here."""
        self.logouts += 1
        words = {
            "id": f"_l{self.logouts}",
            "now": _time(self.clock()),
            "address": address,
            "issuer": ISSUER,
            "subject": subject,
            "sessions": "".join(
                f"<samlp:SessionIndex>{one}</samlp:SessionIndex>" for one in sessions
            ),
            **values,
        }
        root = etree.fromstring(LOGOUT.format(**words))
        self.change(root)
        packing = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packing.compress(etree.tostring(root)) + packing.flush()
        query = {"SAMLRequest": base64.b64encode(packed).decode()}
        query |= {"RelayState": relay} if relay else {}
        return self.signed_query(urlencode(query | {"SigAlg": RSA_SHA256}))

    def signed_query(self, query: str) -> str:
        signature = self.signer.key.sign(query.encode(), PKCS1v15(), SHA256())
        return f"{query}&{urlencode({'Signature': base64.b64encode(signature).decode()})}"


ENC, ENC11 = "http://www.w3.org/2001/04/xmlenc#", "http://www.w3.org/2009/xmlenc11#"
DSIG = "http://www.w3.org/2000/09/xmldsig#"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"


def encrypted(
    content: bytes,
    to: Signer,
    *,
    cipher: str = f"{ENC11}aes256-gcm",
    wrapping: str = f"{ENC}rsa-oaep-mgf1p",
    mask: str = "",
    digest: str = "",
    spoil: Callable[[bytes], bytes] = lambda raw: raw,
) -> Any:
    """An EncryptedAssertion that holds ``content``, for whoever has the key of ``to``."""
    bits = int(cipher.rpartition("aes")[2][:3]) if "aes" in cipher else 192
    key, nonce = os.urandom(bits // 8), os.urandom(12)
    sealed = spoil(nonce + AESGCM(key).encrypt(nonce, content, None))
    named = {"": SHA1, "sha1": SHA1, "sha256": SHA256, "sha512": SHA512}
    masked, digested = named[mask.rpartition("mgf1")[2]], named[digest.rpartition("#")[2]]
    padding = OAEP(MGF1(masked()), digested(), None)
    raw = to.certificate.public_key().encrypt(key, padding)  # type: ignore[union-attr]
    assertion = etree.Element(f"{{{NAMES['saml']}}}EncryptedAssertion", nsmap=NAMES)
    data = etree.SubElement(assertion, f"{{{ENC}}}EncryptedData", Type=f"{ENC}Element")
    etree.SubElement(data, f"{{{ENC}}}EncryptionMethod", Algorithm=cipher)
    holder = etree.SubElement(data, f"{{{DSIG}}}KeyInfo")
    carrier = etree.SubElement(holder, f"{{{ENC}}}EncryptedKey")
    method = etree.SubElement(carrier, f"{{{ENC}}}EncryptionMethod", Algorithm=wrapping)
    if mask:
        etree.SubElement(method, f"{{{ENC11}}}MGF", Algorithm=mask)
    if digest:
        etree.SubElement(method, f"{{{DSIG}}}DigestMethod", Algorithm=digest)
    for where, value in ((carrier, raw), (data, sealed)):
        inside = etree.SubElement(where, f"{{{ENC}}}CipherData")
        text = base64.b64encode(value).decode()
        etree.SubElement(inside, f"{{{ENC}}}CipherValue").text = text
    return assertion


def metadata(signer: Signer, issuer: str = ISSUER) -> str:
    return METADATA.format(issuer=issuer, certificate=signer.base64)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
