"""Identity providers: whose word is taken, how far, and what it means here.

A TOML file, named by the setting ``identity_providers``::

    [[provider]]
    name = "ministry"                            # in addresses, entries of the ledger and commands
    title = "Ministry of Specimens"              # on the button of the sign-in page
    issuer = "https://login.example.lu"
    client_id = "casemate"
    client_secret = "file:ministry.secret"       # or "variable:NAME"; never the secret itself
    tenant = { name = "home" }                   # or { claim = "org", values = { … } }
    roles = { claim = "groups", values = { clerks = ["user"] } }
    clearance = { claim = "clearance" }          # spelled as a label, or with values = { … }

Everything is parsed when the file is loaded; what is wrong is refused by the provider's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from casemate.errors import CasemateError, Invalid
from casemate.gate.address import Address
from casemate.gate.entitlement import LEVELS, Entitlements, Path_, Rule, TenantRule
from casemate.gate.oidc.secret import Secret
from casemate.gate.principal import ROLES
from casemate.store.folder import disk_problem

if TYPE_CHECKING:
    from casemate.gate.country import Country

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

_USUAL = ["RS256", "PS256", "ES256", "EdDSA"]
_EIDAS = {f"http://eidas.europa.eu/LoA/{level}": level for level in LEVELS}


@dataclass(frozen=True)
class Provider:
    """One provider, checked. ``authentication``: how the client proves itself to it."""

    name: str
    title: str
    issuer: str
    client_id: str
    secret: Secret | None
    authentication: str  # client_secret_basic | client_secret_post | none
    scopes: tuple[str, ...]
    algorithms: frozenset[str]
    other_audiences: frozenset[str]
    skew: int  # seconds that its clock may differ from ours
    userinfo: bool
    single_logout: bool  # signing out here signs out there
    authority: Path | None  # PEM file of who may certify its server; None: the system's
    entitlements: Entitlements


def load_providers(path: Path, country: Country) -> dict[str, Provider]:
    """The providers that a file declares, by name. Raises Invalid naming the one that is wrong."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise Invalid(
            f"The file of identity providers, {path.name}, does not exist.",
            "Write it, or take the setting `identity_providers` out.",
        ) from None
    except OSError as problem:
        raise disk_problem(problem) from problem
    return parse_providers(content, path.name, path.parent, country)


def parse_providers(
    content: bytes, file: str, folder: Path, country: Country
) -> dict[str, Provider]:
    """As ``load_providers``, of content; paths in it are relative to ``folder``."""
    advice = f"Correct {file}; docs/how-to/sign-in-with-oidc.md describes it."
    try:
        entries = msgspec.toml.decode(content, type=_File).provider
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Invalid(f"{file} is not usable: {problem}.", advice) from None
    found: dict[str, Provider] = {}
    for entry in entries:
        try:
            provider = _checked(entry, folder, country)
        except CasemateError as problem:
            what = problem.what.rstrip(".")
            raise Invalid(f"Provider {entry.name[:40]!r}: {what}.", advice) from None
        if provider.name in found:
            raise Invalid(f"There are two providers called {provider.name!r}.", advice)
        found[provider.name] = provider
    return found


class _Tenant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str = ""
    claim: str | list[str] = ""
    values: dict[str, str] = {}


class _Roles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    claim: str | list[str]
    values: dict[str, list[str]]


class _Clearance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    claim: str | list[str]
    values: dict[str, str] = {}
    ceiling: str = ""


class _Assurance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    minimum: str = ""
    values: dict[str, str] = msgspec.field(default_factory=_EIDAS.copy)


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    title: str
    issuer: str
    client_id: str
    tenant: _Tenant
    roles: _Roles
    clearance: _Clearance
    client_secret: str = ""
    client_authentication: str = ""
    person: str | list[str] = "preferred_username"
    scopes: list[str] = msgspec.field(default_factory=["openid", "profile"].copy)
    algorithms: list[str] = msgspec.field(default_factory=_USUAL.copy)
    other_audiences: list[str] = []
    clock_skew_seconds: Annotated[int, Meta(ge=0, le=300)] = 60
    userinfo: bool = False
    single_logout: bool = True
    authority: str = ""
    assurance: _Assurance = _Assurance()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    provider: list[_Entry] = []


def _checked(entry: _Entry, folder: Path, country: Country) -> Provider:
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", entry.name):
        raise Invalid("a name is 1 to 32 lower-case letters, digits and hyphens")
    if not 1 <= len(entry.title) <= 64 or not entry.title.isprintable():
        raise Invalid("title is 1 to 64 printable characters")
    if not entry.client_id or not entry.client_id.isprintable() or not entry.client_id.isascii():
        raise Invalid("client_id is missing or holds characters that do not belong there")
    check_endpoint(entry.issuer, "issuer")
    if "?" in entry.issuer or "#" in entry.issuer:
        raise Invalid("issuer has neither query nor fragment")
    odd = [one for one in entry.algorithms if one not in ALGORITHMS]
    if odd or not entry.algorithms:
        raise Invalid(f"algorithms may be {', '.join(ALGORITHMS)}")
    if "openid" not in entry.scopes or not all(
        re.fullmatch(r"[!#-\[\]-~]+", s) for s in entry.scopes
    ):
        raise Invalid("scopes are words, and openid is one of them")
    secret = Secret.parse(entry.client_secret, folder) if entry.client_secret else None
    return Provider(
        entry.name,
        entry.title,
        entry.issuer,
        entry.client_id,
        secret,
        _authentication(entry.client_authentication, secret),
        tuple(entry.scopes),
        frozenset(entry.algorithms),
        frozenset(entry.other_audiences),
        entry.clock_skew_seconds,
        entry.userinfo,
        entry.single_logout,
        folder / entry.authority if entry.authority else None,
        _entitlements(entry, country),
    )


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


def _authentication(wanted: str, secret: Secret | None) -> str:
    chosen = wanted or ("client_secret_basic" if secret else "none")
    if chosen not in ("client_secret_basic", "client_secret_post", "none"):
        raise Invalid("client_authentication is client_secret_basic, client_secret_post or none")
    if (chosen == "none") != (secret is None):
        raise Invalid(f"client_authentication {chosen} does not go with client_secret")
    return chosen


def _entitlements(entry: _Entry, country: Country) -> Entitlements:
    roles = {
        value: frozenset(_known_role(role) for role in given)
        for value, given in entry.roles.values.items()
    }
    if not roles:
        raise Invalid("roles.values gives no role to anybody")
    tenant = TenantRule(entry.tenant.name, _path(entry.tenant.claim), entry.tenant.values)
    if bool(tenant.name) == bool(tenant.path):
        raise Invalid("tenant needs either a name or a claim")
    parse = country.policy.parse
    assurance = entry.assurance
    if assurance.minimum not in ("", *LEVELS) or not set(assurance.values.values()) <= set(LEVELS):
        raise Invalid(f"levels of assurance are {', '.join(LEVELS)}")
    return Entitlements(
        policy=country.policy,
        person=_path(entry.person),
        tenant=tenant,
        roles=Rule(_path(entry.roles.claim), roles),
        clearance=Rule(
            _path(entry.clearance.claim),
            {value: parse(text) for value, text in entry.clearance.values.items()},
        ),
        ceiling=parse(entry.clearance.ceiling) if entry.clearance.ceiling else None,
        levels=dict(assurance.values),
        minimum=assurance.minimum or None,
    )


def _known_role(role: str) -> str:
    if role == "owner":
        raise Invalid("no provider can make somebody the owner")
    if role not in ROLES:
        raise Invalid(f"there is no role {role[:40]!r}")
    return role


def _path(claim: str | list[str]) -> Path_:
    return tuple(claim) if isinstance(claim, list) else ((claim,) if claim else ())
