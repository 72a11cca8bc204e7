"""OpenID Connect providers: whose word is taken, and how their answers are checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from casemate.errors import CasemateError, Invalid
from casemate.gate.address import Address
from casemate.gate.entitlement import Entitlements
from casemate.gate.oidc.client_key import ClientKey
from casemate.gate.oidc.secret import Secret

ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
"""Signatures that can be allowed: none without a key, none with a key that both sides share."""

METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt", "none")
AUDIENCES = ("issuer", "endpoint")


@dataclass(frozen=True)
class Provider:
    """One provider, checked.

    authentication: one of ``METHODS``, how the client proves itself to it. audience: whom an
    assertion of the client's key is for, the "issuer" or the "endpoint" that is asked.
    front_channel: whether browsers may bring the word that a session is over.
    """

    name: str
    title: str
    issuer: str
    client_id: str
    secret: Secret | None
    key: ClientKey | None
    authentication: str
    audience: str
    scopes: tuple[str, ...]
    algorithms: frozenset[str]
    other_audiences: frozenset[str]
    skew: int  # seconds that its clock may differ from ours
    userinfo: bool
    single_logout: bool  # signing out here signs out there
    front_channel: bool
    authority: Path | None  # PEM file of who may certify its server; None: the system's
    entitlements: Entitlements


def check_endpoint(url: object, what: str) -> str:
    """``url`` if it is https, or http on this machine. Raises Invalid saying that ``what`` is not.

    Who may be reached is the perimeter's to say; this keeps codes and secrets off open wires.
    """
    if not isinstance(url, str):
        raise Invalid(f"{what} is missing")
    try:
        where = Address.parse(url)
    except CasemateError:
        raise Invalid(f"{what} is not a plain https address") from None
    local = where.host == "localhost" or (where.ip is not None and where.ip.is_loopback)
    if where.scheme != "https" and not (where.scheme == "http" and local):
        raise Invalid(f"{what} is not https")
    if urlsplit(url).fragment:
        raise Invalid(f"{what} has a fragment")
    return url
