"""Places: one entry of the perimeter each, and the file they are kept in.

``perimeter.toml`` in the data folder::

    [[place]]
    name = "models"
    host = "llm.example.lu"      # or an IP, a network such as 10.1.0.0/16, or a socket's path
    ports = [8000]               # none for a socket
    jurisdiction = "LU"
    ceiling = "lu:restricted"    # the highest label that may go there
    within = ["10.1.0.0/16"]     # optional, for a name: the only networks that it may lead to
    transports = ["tcp"]         # optional: tcp, udp or both
    bucket = "letters"           # optional: this bucket at this host, and nothing else there
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from casemate.errors import CasemateError, Conflict, Invalid, Refused
from casemate.gate import address
from casemate.gate.address import Address
from casemate.gate.label import Label

if TYPE_CHECKING:
    from casemate.gate.country import Country

FILE = "perimeter.toml"
_REPAIR = f"Correct {FILE} in the data folder."

_TRANSPORTS = ("tcp", "udp")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
# Amazon S3 User Guide, "General purpose bucket naming rules"; what is like an IP is refused too.
_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Place:
    """A declared place."""

    name: str
    host: str  # name, IP, network, or absolute path of a socket
    ports: tuple[int, ...]
    jurisdiction: str
    ceiling: Label
    within: tuple[Network, ...] = ()  # where a name may lead; everywhere if empty
    transports: tuple[str, ...] = ("tcp",)
    bucket: str = ""  # if set, the place is this bucket only

    def holds(self, where: Address, bucket: str = "") -> bool:
        """Whether ``where`` (or the bucket of that name there) lies in this place."""
        if self.bucket != bucket:
            return False
        if where.port is None or not self.ports:
            return where.port is None and not self.ports and self.host == where.host
        if where.port not in self.ports or where.transport not in self.transports:
            return False
        network = self.network
        if where.ip is None or network is None:
            return network is None and where.ip is None and self.host == where.host
        return where.ip in network

    @property
    def network(self) -> Network | None:
        """The addresses that it is; None for a name or a socket."""
        return _network(self.host)

    @property
    def is_socket(self) -> bool:
        """Whether it is a Unix socket; ``host`` is then its path."""
        return not self.ports

    @property
    def narrowness(self) -> int:
        """How few addresses it holds: for choosing among places that overlap."""
        network = self.network
        return 999 if network is None else network.prefixlen

    def plain(self) -> dict[str, object]:
        """Its parts as they are written and digested; what was left out stays out."""
        parts: dict[str, object] = {
            "name": self.name,
            "host": self.host,
            "ports": list(self.ports),
            "jurisdiction": self.jurisdiction,
            "ceiling": str(self.ceiling),
        }
        if self.within:
            parts["within"] = [str(network) for network in self.within]
        if self.transports != ("tcp",) and self.ports:
            parts["transports"] = list(self.transports)
        if self.bucket:
            parts["bucket"] = self.bucket
        return parts


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A place as somebody wrote it, nothing checked but its shape."""

    name: str
    host: str
    jurisdiction: str
    ceiling: str
    ports: list[int] = []
    within: list[str] = []
    transports: tuple[str, ...] = ("tcp",)
    bucket: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    place: list[Entry] = []


def declared(content: bytes, country: Country) -> tuple[Place, ...]:
    """The places of a file. Raises Invalid naming the place that is wrong."""
    try:
        entries = msgspec.toml.decode(content, type=_File).place
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Invalid(f"{FILE} is not usable: {problem}.", _REPAIR) from None
    places: tuple[Place, ...] = ()
    try:
        for entry in entries:
            places = added(places, checked(entry, country), _REPAIR)
    except Conflict as problem:
        raise Invalid(f"{FILE} is not usable: {problem.what}", problem.next) from None
    return places


def checked(entry: Entry, country: Country) -> Place:
    """The entry as a value. Raises Invalid naming the place and what is wrong."""
    if not _NAME.fullmatch(entry.name):
        raise Invalid(
            f"Place {entry.name[:40]!r} has no usable name.",
            "Give 1 to 64 letters, digits, dots and hyphens.",
        )
    wrong = f"Place {entry.name!r}: "
    try:
        place = Place(
            entry.name,
            entry.host,
            tuple(sorted(set(entry.ports))),
            entry.jurisdiction,
            country.policy.parse(entry.ceiling),
        )
    except Invalid as problem:
        raise Invalid(wrong + problem.what, problem.next) from None
    if not re.fullmatch(r"[A-Z]{2,8}", place.jurisdiction):
        raise Invalid(wrong + "its jurisdiction is not a country code.", "Give LU, for instance.")
    if address.is_socket_path(place.host):
        if place.ports:
            raise Invalid(wrong + "a socket has no ports.", "Leave them out.")
        if entry.within or entry.bucket:
            raise Invalid(wrong + "a socket has neither networks nor a bucket.", "Leave them out.")
        return place
    if not place.ports or not all(1 <= port <= 65535 for port in place.ports):
        raise Invalid(wrong + "it needs ports from 1 to 65535.", "Name each one.")
    return replace(
        place,
        host=_checked_host(place.host, wrong),
        within=_checked_networks(entry, wrong),
        transports=_checked_transports(entry.transports, wrong),
        bucket=_checked_bucket(entry.bucket, wrong),
    )


def _checked_networks(entry: Entry, wrong: str) -> tuple[Network, ...]:
    if entry.within and _network(entry.host) is not None:
        raise Invalid(wrong + "an IP or network leads nowhere else.", "Leave `within` out.")
    found = []
    for text in entry.within:
        network = _network(text)
        if network is None:
            raise Invalid(wrong + f"{text[:80]!r} is not a network.", "For instance 10.1.0.0/16.")
        found.append(network)
    return tuple(dict.fromkeys(found))


def _checked_transports(transports: tuple[str, ...], wrong: str) -> tuple[str, ...]:
    if not transports or not set(transports) <= set(_TRANSPORTS):
        raise Invalid(wrong + "its transports are not right.", "Give tcp, udp or both.")
    return tuple(one for one in _TRANSPORTS if one in transports)


def _checked_bucket(bucket: str, wrong: str) -> str:
    if bucket and not _BUCKET.fullmatch(bucket):
        raise Invalid(
            wrong + f"{bucket[:80]!r} is not the name of a bucket.",
            "Give the name alone, such as letters, and its server as the host.",
        )
    return bucket


def _checked_host(host: str, wrong: str) -> str:
    network = _network(host)
    if network is None:
        if not address.is_host_name(host):
            raise Invalid(
                wrong + f"{host[:80]!r} is not a host.",
                "Give a lower-case host name, an IP, a network (10.1.0.0/16) or a socket's path.",
            )
        try:
            address.parse_ip(host, bracketed=False)
        except CasemateError:
            raise Invalid(wrong + "its IP is not written plainly.", "Four decimal parts.") from None
        return host
    if network.num_addresses == 1:
        try:
            address.check_reachable(network.network_address)
        except Refused as problem:
            raise Invalid(wrong + "that address is never reached.", problem.next) from None
        return str(network.network_address)
    return str(network)


def _network(host: str) -> Network | None:
    try:
        return ipaddress.ip_network(host)
    except ValueError:
        return None


def added(places: tuple[Place, ...], place: Place, advice: str) -> tuple[Place, ...]:
    """``places`` and ``place``. Raises Conflict, with ``advice``, if it is there already."""
    for other in places:
        if other.name == place.name:
            raise Conflict(f"There are two places called {place.name!r}.", advice)
        if _overlap(other, place):
            raise Conflict(f"Places {other.name!r} and {place.name!r} are the same place.", advice)
    return (*places, place)


def _overlap(one: Place, other: Place) -> bool:
    return (
        (one.host, one.bucket) == (other.host, other.bucket)
        and (bool(set(one.ports) & set(other.ports)) or not other.ports)
        and bool(set(one.transports) & set(other.transports))
    )


def written(places: Iterable[Place]) -> bytes:
    """The content of the file that declares ``places``."""
    # Every value was parsed into an alphabet without quotes, backslashes or control characters.
    lines = ["# Declared places; everything else is refused. See `casemate perimeter`.\n"]
    for place in places:
        lines.append("[[place]]")
        lines += [f"{key} = {_toml(value)}" for key, value in place.plain().items()]
        lines.append("")
    return "\n".join(lines).encode()


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value) if isinstance(value, int) else f'"{value}"'
