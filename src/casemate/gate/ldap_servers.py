"""Servers of an LDAP directory, as ``directory.toml`` declares them, checked before it is asked."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from casemate.errors import Invalid

_PORTS = {"ldap": 389, "ldaps": 636}
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9;-]{0,63}")


class Servers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[ldap]`` of the file, as somebody wrote it.

    servers: ldaps://HOST[:PORT], or ldap://HOST[:PORT] with StartTLS; asked in this order.
    unprotected: "loopback" lets a server on this machine go without TLS. ca: PEM file in the data
    folder; left out: the system's authorities. bind_dn: who searches; its password comes from the
    environment. filter: finds one person; {name} is what they typed. name: the attribute that is
    their name here; unique: one that nobody else ever gets. member_of: the attribute of a person
    that names groups; group_filter: or a search for them below group_base, {dn} being a person or
    a group. nesting: how many groups deep. tenant: its name here; or tenant_attribute and what its
    values mean. clearance_attribute and what its values mean: then groups give roles alone.
    """

    servers: list[str]
    base: str
    filter: str
    unprotected: str = ""
    ca: str = ""
    bind_dn: str = ""
    name: str = "uid"
    unique: str = "entryUUID"
    member_of: str = ""
    group_base: str = ""
    group_filter: str = ""
    nesting: int = 5
    seconds: int = 5
    tenant: str = ""
    tenant_attribute: str = ""
    tenants: dict[str, str] = {}
    clearance_attribute: str = ""
    clearances: dict[str, str] = {}


@dataclass(frozen=True)
class Server:
    """One server. ``tls``: by its scheme, or by StartTLS."""

    scheme: str
    host: str
    port: int
    tls: bool

    @property
    def url(self) -> str:
        """As the perimeter reads addresses: host and port are what counts."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


def check(said: Servers) -> None:
    """Raise Invalid naming the setting that is wrong."""
    for problem, what, advice in (
        (not said.servers, "it names no server", "Name at least one: ldaps://HOST"),
        (said.filter.count("{name}") != 1 or not _balanced(said.filter),
         "its filter does not hold {name} once, in round brackets",
         "For instance (&(objectClass=person)(uid={name}))"),
        (bool(said.group_filter) != bool(said.group_base),
         "group_filter and group_base go together", "Give both, or none"),
        (bool(said.group_filter)
         and (said.group_filter.count("{dn}") != 1 or not _balanced(said.group_filter)),
         "its group_filter does not hold {dn} once, in round brackets",
         "For instance (&(objectClass=groupOfNames)(member={dn}))"),
        (said.unprotected not in ("", "loopback"), "unprotected can only be loopback",
         "Leave it out: then every server is asked over TLS"),
        (not 1 <= said.seconds <= 60, "seconds is not a number from 1 to 60", "Give 5"),
        (not 0 <= said.nesting <= 20, "nesting is not a number from 0 to 20", "Give 5"),
        (bool(said.tenant) == bool(said.tenant_attribute and said.tenants),
         "it says no tenant, or says it twice", "Give tenant, or tenant_attribute and tenants"),
        (bool(said.clearance_attribute) != bool(said.clearances),
         "clearance_attribute and clearances go together", "Give both, or none"),
    ):  # fmt: skip
        if problem:
            raise wrong(what, advice)
    for name in (
        said.name,
        said.unique,
        said.member_of,
        said.tenant_attribute,
        said.clearance_attribute,
    ):
        if name and not _ATTRIBUTE.fullmatch(name):
            raise wrong(f"{name[:40]!r} is no attribute", "Give its name, for instance memberOf")
    if not (said.unique and said.name):
        advice = "Give uid and entryUUID, or sAMAccountName and objectGUID for Active Directory"
        raise wrong("name or unique is empty", advice)


def server(url: str, unprotected: str) -> Server:
    """The server at ``url``. Raises Invalid."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        scheme, host, port = "", "", None
    plain = scheme in _PORTS and host and not parts.path and "@" not in parts.netloc
    if not plain or parts.query or parts.fragment:
        raise wrong(f"{url[:80]!r} is no server", "Give ldaps://HOST or ldap://HOST")
    bare = scheme == "ldap" and unprotected == "loopback" and host in _LOOPBACK
    return Server(scheme, host, port or _PORTS[scheme], tls=not bare)


def context(authorities: Path | None) -> ssl.SSLContext:
    """How servers are known: by the file, or by the system's authorities. Raises Invalid."""
    try:
        made = ssl.create_default_context(cafile=authorities)
    except (OSError, ssl.SSLError):
        raise wrong(
            "its ca is no file of certificates", "Put the PEM file in the data folder"
        ) from None
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def _balanced(filter: str) -> bool:
    depth = 0
    for sign in filter:
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            return False
    return depth == 0 and filter.startswith("(") and filter.endswith(")")


def wrong(what: str, advice: str) -> Invalid:
    """What to raise for a setting that is wrong."""
    return Invalid(f"directory.toml: ldap: {what}.", f"{advice}.")
