"""Declared identity providers: whose word is taken, how far, and what it means here.

A TOML file, named by the setting ``identity_providers``::

    [[provider]]                                 # OpenID Connect
    name = "ministry"                            # in addresses, entries of the ledger and commands
    title = "Ministry of Specimens"              # on the button of the sign-in page
    issuer = "https://login.example.lu"
    client_id = "casemate"
    client_secret = "file:ministry.secret"       # or "variable:NAME"; never the secret itself
    tenant = { name = "home" }                   # or { claim = "org", values = { … } }
    roles = { claim = "groups", values = { clerks = ["user"] } }
    clearance = { claim = "clearance" }          # spelled as a label, or with values = { … }

    [[saml]]                                     # SAML 2.0; a claim is the name of an attribute
    name = "state"
    title = "State identity"
    metadata = "state-idp.xml"                   # the provider's own description
    tenant, roles, clearance                     # as above

Everything is parsed when the file is loaded; what is wrong is refused by the provider's name.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
from msgspec import Meta

from casemate.errors import CasemateError, Invalid
from casemate.gate.caller import LEVELS
from casemate.gate.entitlement import Entitlements, Path_, Rule, TenantRule
from casemate.gate.mapping import GIVEN
from casemate.gate.oidc.client_key import ALGORITHMS as SIGNING
from casemate.gate.oidc.client_key import ClientKey
from casemate.gate.oidc.provider import (
    ALGORITHMS,
    AUDIENCES,
    METHODS,
    Provider,
    check_endpoint,
)
from casemate.gate.oidc.secret import Secret
from casemate.gate.saml.own_key import OwnKey
from casemate.gate.saml.provider import Description, SamlProvider
from casemate.store.folder import disk_problem

if TYPE_CHECKING:
    from casemate.gate.country import Country

_USUAL = ["RS256", "PS256", "ES256", "EdDSA"]
_EIDAS = {f"http://eidas.europa.eu/LoA/{level}": level for level in LEVELS}
_P = TypeVar("_P", Provider, SamlProvider)
_E = TypeVar("_E", "_Entry", "_SamlEntry")


@dataclass(frozen=True)
class Declared:
    """The providers of one installation, by name; no name stands twice."""

    oidc: dict[str, Provider] = field(default_factory=dict)
    saml: dict[str, SamlProvider] = field(default_factory=dict)


def load(path: Path, country: Country) -> Declared:
    """The providers that a file declares. Raises Invalid naming the one that is wrong."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise Invalid(
            f"The file of identity providers, {path.name}, does not exist.",
            "Write it, or take the setting `identity_providers` out.",
        ) from None
    except OSError as problem:
        raise disk_problem(problem) from problem
    return parse(content, path.name, path.parent, country)


def parse(content: bytes, file: str, folder: Path, country: Country) -> Declared:
    """As ``load``, of content; paths in it are relative to ``folder``."""
    advice = f"Correct {file}; docs/how-to/sign-in-with-oidc.md and -saml.md describe it."
    try:
        entries = msgspec.toml.decode(content, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Invalid(f"{file} is not usable: {problem}.", advice) from None
    oidc = _each(entries.provider, lambda one: _oidc(one, folder, country), advice)
    saml = _each(entries.saml, lambda one: _saml(one, folder, country), advice)
    names = [*(one.name for one in oidc), *(two.name for two in saml)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise Invalid(f"There are two providers called {twice[0]!r}.", advice)
    return Declared({one.name: one for one in oidc}, {two.name: two for two in saml})


def _each(entries: Sequence[_E], check: Callable[[_E], _P], advice: str) -> list[_P]:
    found = []
    for entry in entries:
        try:
            _check_name(entry)
            found.append(check(entry))
        except CasemateError as problem:
            what = problem.what.rstrip(".")
            raise Invalid(f"Provider {entry.name[:40]!r}: {what}.", advice) from None
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


class _Common(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    title: str
    tenant: _Tenant
    roles: _Roles
    clearance: _Clearance
    clock_skew_seconds: Annotated[int, Meta(ge=0, le=300)] = 60
    assurance: _Assurance = _Assurance()


class _Entry(_Common, frozen=True, forbid_unknown_fields=True, kw_only=True):
    issuer: str
    client_id: str
    client_secret: str = ""
    client_key: str = ""
    client_key_algorithm: str = ""
    client_audience: str = "issuer"
    client_authentication: str = ""
    person: str | list[str] = "preferred_username"
    scopes: list[str] = msgspec.field(default_factory=["openid", "profile"].copy)
    algorithms: list[str] = msgspec.field(default_factory=_USUAL.copy)
    other_audiences: list[str] = []
    userinfo: bool = False
    single_logout: bool = True
    front_channel_logout: bool = False
    authority: str = ""


class _SamlEntry(_Common, frozen=True, forbid_unknown_fields=True, kw_only=True):
    metadata: str
    person: str
    subject: str = ""
    keys: list[str] = []
    encrypted_only: bool = False


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    provider: list[_Entry] = []
    saml: list[_SamlEntry] = []


def _check_name(entry: _Common) -> None:
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", entry.name):
        raise Invalid("a name is 1 to 32 lower-case letters, digits and hyphens")
    if not 1 <= len(entry.title) <= 64 or not entry.title.isprintable():
        raise Invalid("title is 1 to 64 printable characters")


def _saml(entry: _SamlEntry, folder: Path, country: Country) -> SamlProvider:
    if importlib.util.find_spec("signxml") is None:
        raise Invalid("SAML needs an extra: pip install 'casemate[saml]'")
    found = Description.load(folder / entry.metadata)
    own = tuple(OwnKey.load(folder / one) for one in entry.keys)
    if entry.encrypted_only and not own:
        raise Invalid("encrypted_only needs a key of ours to decrypt with: keys")
    return SamlProvider(
        entry.name,
        entry.title,
        found.issuer,
        found.address,
        found.logout,
        found.keys,
        own,
        entry.encrypted_only,
        found.until,
        entry.subject,
        entry.clock_skew_seconds,
        _entitlements(entry, entry.person, country),
    )


def _oidc(entry: _Entry, folder: Path, country: Country) -> Provider:
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
    key = _client_key(entry, folder)
    if entry.client_audience not in AUDIENCES:
        raise Invalid(f"client_audience is {' or '.join(AUDIENCES)}")
    return Provider(
        entry.name,
        entry.title,
        entry.issuer,
        entry.client_id,
        secret,
        key,
        _authentication(entry.client_authentication, secret, key),
        entry.client_audience,
        tuple(entry.scopes),
        frozenset(entry.algorithms),
        frozenset(entry.other_audiences),
        entry.clock_skew_seconds,
        entry.userinfo,
        entry.single_logout,
        entry.front_channel_logout,
        folder / entry.authority if entry.authority else None,
        _entitlements(entry, entry.person, country),
    )


def _client_key(entry: _Entry, folder: Path) -> ClientKey | None:
    known = [one for several in SIGNING.values() for one in several]
    if entry.client_key_algorithm not in ("", *known):
        raise Invalid(f"client_key_algorithm is {', '.join(known)}")
    if not entry.client_key:
        return None
    try:
        return ClientKey(Secret.parse(entry.client_key, folder), entry.client_key_algorithm)
    except Invalid:
        raise Invalid("client_key is a reference, file:PATH or variable:NAME") from None


def _authentication(wanted: str, secret: Secret | None, key: ClientKey | None) -> str:
    usual = "client_secret_basic" if secret else "private_key_jwt" if key else "none"
    chosen = wanted or usual
    if chosen not in METHODS:
        raise Invalid(f"client_authentication is {', '.join(METHODS)}")
    if secret is not None and key is not None:
        raise Invalid("client_secret and client_key are two ways: give one")
    if chosen.startswith("client_secret") != (secret is not None):
        raise Invalid(f"client_authentication {chosen} does not go with client_secret")
    if (chosen == "private_key_jwt") != (key is not None):
        raise Invalid(f"client_authentication {chosen} does not go with client_key")
    return chosen


def _entitlements(entry: _Common, person: str | list[str], country: Country) -> Entitlements:
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
        person=_path(person),
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
    if role not in GIVEN:
        raise Invalid(f"{role[:40]!r} is no role that a provider gives")
    return role


def _path(claim: str | list[str]) -> Path_:
    return tuple(claim) if isinstance(claim, list) else ((claim,) if claim else ())
