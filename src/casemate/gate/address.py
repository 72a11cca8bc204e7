"""Addresses: a URL reduced to the one thing it connects to, or refused.

Attackers write one address in many ways (RFC 3986, section 7.4; WHATWG URL, host parsing; SSRF
lists). Every way but the plain one is refused rather than normalised, so that what was checked is
what is connected to.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from casemate.errors import Refused

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[1-9][0-9]{0,4})?")
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")  # ends in a number, as browsers see it
# 0: no port is usual, so the address has to name one.
_PORTS = {"http": 80, "https": 443, "ldap": 389, "ldaps": 636, "tcp": 0, "tls": 0, "udp": 0}
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._@+-]+)+")  # no dot segments, no escapes

# Services that hand out credentials of the machine, and addresses that mean another network.
NEVER = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
            "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32",
            "::/128", "fe80::/10", "fec0::/10", "ff00::/8",
            "fd00:ec2::254/128", "fd20:ce::254/128",
            "::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16",
        ),
    )
)  # fmt: skip
_LOOPBACK6 = ipaddress.IPv6Address("::1")


@dataclass(frozen=True)
class Address:
    """Where a URL leads. ``host``: a name, an IP in its plain form, or a socket's path."""

    scheme: str
    host: str
    port: int | None  # None: a Unix socket
    ip: IPAddress | None  # None: a name or a socket

    @property
    def transport(self) -> str:
        """tcp or udp."""
        return "udp" if self.scheme == "udp" else "tcp"

    @classmethod
    def parse(cls, url: str) -> Address:
        """The address of a URL: http, https, ldap, ldaps, tcp, tls, udp or unix.

        Raises Refused, saying what is odd.
        """
        if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
            raise _refused("the address holds characters that do not belong there")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise _refused("it is not a well-formed address") from None
        scheme = parts.scheme.lower()
        if scheme == "unix":
            if parts.netloc or parts.query or parts.fragment or not _PATH.fullmatch(parts.path):
                raise _refused("a Unix socket is written unix:///path, without dots or escapes")
            return cls(scheme, parts.path, None, None)
        if scheme not in _PORTS:
            raise _refused(f"only {', '.join(_PORTS)} and unix addresses are reached")
        if "@" in parts.netloc:
            raise _refused("it carries a name or password before the host")
        # urlsplit forgives text around brackets, a missing port and leading zeros; this does not.
        if not _AUTHORITY.fullmatch(parts.netloc):
            raise _refused("its host or port is not written plainly")
        host = parts.hostname or ""
        ip = parse_ip(host, bracketed=parts.netloc.startswith("["))
        if ip is None and not is_host_name(host):
            raise _refused("its host is not a plain host name or address")
        if ip is not None:
            check_reachable(ip)
        port = port or _PORTS[scheme]
        if not port:
            raise _refused(f"an address that begins with {scheme}:// names its port")
        return cls(scheme, host if ip is None else str(ip), port, ip)


def parse_ip(host: str, *, bracketed: bool) -> IPAddress | None:
    """The IP that ``host`` is, or None if it is a name. Raises Refused for odd spellings."""
    try:
        if bracketed:
            return ipaddress.IPv6Address(host)
        if _NUMERIC.fullmatch(host):
            return ipaddress.IPv4Address(host)  # strict: four decimal parts, no leading zeros
    except ValueError:
        raise _refused("its IP address is not written plainly") from None
    return None


def is_host_name(host: str) -> bool:
    """Whether ``host`` is a name in lower-case ASCII, without a dot at the end."""
    return len(host) <= 253 and _HOST.fullmatch(host) is not None


def is_socket_path(path: str) -> bool:
    """Whether ``path`` is absolute and has one spelling only."""
    return _PATH.fullmatch(path) is not None


def check_reachable(ip: IPAddress) -> None:
    """Refuse what no declaration opens: link-local, metadata, multicast, embedded IPv4."""
    if ip != _LOOPBACK6 and any(ip in network for network in NEVER):
        raise _refused("it leads to a link-local, metadata or otherwise special address")


def _refused(why: str) -> Refused:
    return Refused(
        f"This address is outside the perimeter: {why}.",
        "Use the address as it is declared; `casemate perimeter list` shows the places.",
    )
