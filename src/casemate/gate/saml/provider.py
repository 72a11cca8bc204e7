"""SAML identity providers, as the file of the setting ``identity_providers`` declares them.

::

    [[saml]]
    name = "state"
    title = "State identity"
    metadata = "state-idp.xml"     # the provider's own description: who it is, where, which keys
    keys = ["casemate-saml.pem"]   # our own, to sign requests and read encrypted answers; or none
    encrypted_only = true          # take no answer that is not encrypted; left out: take both
    person = "urn:oid:0.9.2342.19200300.100.1.1"
    tenant, roles, clearance, assurance    # as for [[provider]]; a claim is an attribute's name
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.errors import CasemateError, Invalid
from casemate.gate.oidc.provider import check_endpoint
from casemate.gate.saml.names import METADATA, REDIRECT, SIGNATURE, read, text_of, time_of
from casemate.store.folder import disk_problem

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from lxml.etree import _Element

    from casemate.gate.entitlement import Entitlements
    from casemate.gate.saml.own_key import OwnKey


@dataclass(frozen=True)
class SamlProvider:
    """One provider, checked. ``keys``: certificates that hold the keys it signs with.

    logout: where to answer when it ends a session. own: our keys, the first signs. until: when its
    metadata end. subject: attribute that names the person for good; empty: the NameID.
    """

    name: str
    title: str
    issuer: str
    address: str  # where browsers are sent, HTTP-Redirect binding
    logout: str | None
    keys: tuple[Certificate, ...]
    own: tuple[OwnKey, ...]
    encrypted_only: bool
    until: datetime | None
    subject: str
    skew: int
    entitlements: Entitlements


@dataclass(frozen=True)
class Description:
    """What a provider's metadata say."""

    issuer: str
    address: str
    logout: str | None
    keys: tuple[Certificate, ...]
    until: datetime | None

    @classmethod
    def load(cls, path: Path) -> Description:
        """The metadata in a file. Raises Invalid, saying what is missing in it."""
        try:
            root = read(path.read_bytes())
        except FileNotFoundError:
            raise Invalid(f"its metadata file {path.name} does not exist") from None
        except OSError as problem:
            raise disk_problem(problem) from problem
        except CasemateError:
            raise Invalid("its metadata are not an XML document that can be read") from None
        issuer = root.get("entityID", "")
        role = root.find(f"{METADATA}IDPSSODescriptor")
        if root.tag != f"{METADATA}EntityDescriptor" or not issuer or role is None:
            raise Invalid("its metadata do not describe one identity provider")
        found = [one.get("Location") for one in _redirects(role, "SingleSignOnService")]
        ends = [
            one.get("ResponseLocation") or one.get("Location")
            for one in _redirects(role, "SingleLogoutService")
        ]
        if not found:
            raise Invalid("its metadata name no address for HTTP-Redirect")
        keys = tuple(_keys(role))
        if not keys:
            raise Invalid("its metadata name no key that it signs with")
        logout = check_endpoint(ends[0], "its address for logouts") if ends else None
        try:
            ends_at = [time_of(one, "validUntil") for one in (root, role)]
        except CasemateError:
            raise Invalid("its metadata do not say until when they hold (validUntil)") from None
        until = min((moment for moment in ends_at if moment is not None), default=None)
        return cls(issuer, check_endpoint(found[0], "its address"), logout, keys, until)


def _redirects(role: _Element, service: str) -> list[_Element]:
    places = role.findall(f"{METADATA}{service}")
    return [one for one in places if one.get("Binding") == REDIRECT]


def _keys(role: _Element) -> list[Certificate]:
    from cryptography import x509

    path = f"{SIGNATURE}KeyInfo/{SIGNATURE}X509Data/{SIGNATURE}X509Certificate"
    found = []
    for key in role.findall(f"{METADATA}KeyDescriptor"):
        if key.get("use", "signing") != "signing":
            continue
        for certificate in key.findall(path):
            try:
                der = base64.b64decode("".join(text_of(certificate).split()), validate=True)
                found.append(x509.load_der_x509_certificate(der))
            except (binascii.Error, ValueError):
                raise Invalid("its metadata hold a certificate that cannot be read") from None
    return found
