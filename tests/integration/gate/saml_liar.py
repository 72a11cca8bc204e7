"""A SAML provider that can be told to lie: it writes and signs whatever a test wants.

Honest flows are also tested with a provider that we did not write, see ``test_saml_peer``.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
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
_VALUE = "<saml:AttributeValue>{}</saml:AttributeValue>"
_ATTRIBUTE = """<saml:Attribute Name="{name}">{values}</saml:Attribute>"""


@dataclass(frozen=True)
class Signer:
    """A key, and a certificate that says whose it is."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

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


def metadata(signer: Signer, issuer: str = ISSUER) -> str:
    return METADATA.format(issuer=issuer, certificate=signer.base64)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
