"""The perimeter: the declared places where data may flow; everything else is refused.

``perimeter.toml`` in the data folder lists them::

    [[place]]
    name = "models"
    host = "llm.example.lu"      # or an IP, a network such as 10.1.0.0/16, or a socket's path
    ports = [8000]               # none for a socket
    jurisdiction = "LU"
    ceiling = "lu:restricted"    # the highest label that may go there
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from casemate.errors import CasemateError, Conflict, Invalid, NotFound, Refused, Unavailable
from casemate.gate import address
from casemate.gate.acts import digest
from casemate.gate.address import Address
from casemate.gate.label import Label
from casemate.gate.policy import Resource
from casemate.store.folder import disk_problem, write_durably

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.country import Country
    from casemate.gate.right import Rights

FILE = "perimeter.toml"
_REPAIR = f"Correct {FILE} in the data folder."
_LOCAL_NAMES = frozenset({"localhost"})

Resolver = Callable[[str, int], Sequence[str]]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Place:
    """A declared place."""

    name: str
    host: str  # name, IP, network, or absolute path of a socket
    ports: tuple[int, ...]
    jurisdiction: str
    ceiling: Label


@dataclass(frozen=True)
class Route:
    """A checked way to a place. Connect to ``addresses``: a name may mean another one later."""

    place: Place
    host: str
    port: int | None
    addresses: tuple[str, ...]  # IPs, or the one path of a socket


def system_resolver(host: str, port: int) -> list[str]:
    """The IPs of ``host`` as this machine sees them. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Perimeter:
    """The places of one installation. An empty perimeter refuses everything."""

    def __init__(
        self,
        path: Path,
        country: Country,
        places: tuple[Place, ...],
        rights: Rights | None,
        resolve: Resolver,
    ) -> None:
        self._path = path
        self._country = country
        self._places = places
        self._rights = rights
        self._resolve = resolve
        self._changing = threading.Lock()

    @classmethod
    def load(
        cls,
        path: Path,
        country: Country,
        rights: Rights | None = None,
        *,
        resolve: Resolver = system_resolver,
    ) -> Self:
        """The places in the file ``path``; none if it does not exist.

        ``rights`` None: to look only, ``add`` and ``remove`` refuse. Raises Invalid naming the
        place that is wrong; Unavailable if the file cannot be read.
        """
        try:
            content = path.read_bytes() if path.exists() else b""
        except OSError as problem:
            raise disk_problem(problem) from problem
        try:
            declared = msgspec.toml.decode(content, type=_File).place
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise Invalid(f"{FILE} is not usable: {problem}.", _REPAIR) from None
        places: tuple[Place, ...] = ()
        try:
            for entry in declared:
                places = _with(places, _place(entry, country), _REPAIR)
        except Conflict as problem:
            raise Invalid(f"{FILE} is not usable: {problem.what}", problem.next) from None
        return cls(path, country, places, rights, resolve)

    @property
    def places(self) -> tuple[Place, ...]:
        """The places, as declared."""
        return self._places

    def check(self, url: str, label: Label) -> Place:
        """The place ``url`` lies in, if information labelled ``label`` may go there.

        Raises Refused, saying why; Unavailable if a declared name has no address now.
        """
        return self.route(url, label).place

    def declared(self, url: str, label: Label) -> Place:
        """Like ``check``, but without asking what a name means now: for decisions in advance.

        Who connects asks ``route`` again.
        """
        return self._allowed(Address.parse(url), label)

    def route(self, url: str, label: Label) -> Route:
        """Like ``check``, with the addresses that were checked, for who connects."""
        where = Address.parse(url)
        place = self._allowed(where, label)
        if where.ip is not None or where.port is None:
            return Route(place, where.host, where.port, (where.host,))
        return Route(place, where.host, where.port, self._resolved(where.host, where.port))

    def add(
        self,
        actor: Caller,
        *,
        name: str,
        host: str,
        ports: Iterable[int] = (),
        jurisdiction: str,
        ceiling: Label,
    ) -> Place:
        """Declare a place, durably and on record. Raises Invalid, Refused, Conflict."""
        rights = self._changer(actor)
        entry = _Place(name, host, jurisdiction, str(ceiling), list(ports))
        place = _place(entry, self._country)
        with self._changing:
            places = _with(self._places, place, "Remove the other first, or choose another name.")
            self._change(rights, actor, "perimeter.added", place, places)
        return place

    def remove(self, actor: Caller, name: str) -> None:
        """Take a place out, durably and on record. Raises Refused, NotFound."""
        rights = self._changer(actor)
        with self._changing:
            gone = [place for place in self._places if place.name == name]
            if not gone:
                raise NotFound("There is no place of that name.", "See `casemate perimeter list`.")
            rest = tuple(place for place in self._places if place.name != name)
            self._change(rights, actor, "perimeter.removed", gone[0], rest)

    def _changer(self, actor: Caller) -> Rights:
        if self._rights is None:
            raise Refused("This perimeter is open for looking only.", "Change it in its own place.")
        # Its own id, so that policies can keep it for the owner: it holds for every tenant.
        self._rights.require(
            actor, "administer", Resource("Installation", "perimeter", actor.principal.tenant)
        )
        return self._rights

    def _change(
        self, rights: Rights, actor: Caller, act: str, place: Place, places: tuple[Place, ...]
    ) -> None:
        before = digest([_plain(one) for one in self._places])
        after = digest([_plain(one) for one in places])
        rights.acts.record(
            act, actor.principal, place=digest(_plain(place)), before=before, after=after
        )
        try:
            write_durably(self._path, _toml(places).encode())
        except OSError as problem:
            raise disk_problem(problem) from problem
        self._places = places

    def _allowed(self, where: Address, label: Label) -> Place:
        fitting = [place for place in self._places if _holds(place, where)]
        if not fitting:
            raise Refused(
                "This address is outside the perimeter: nobody has declared it with that port.",
                "An administrator can declare it: `casemate perimeter add`.",
            )
        # The narrowest wins, as in routing: a strict rule for one host stands in a lax network.
        place = max(fitting, key=_narrowness)
        if not place.ceiling.dominates(label):
            raise Refused(
                f"What is labelled {label} may not go to place {place.name!r}, "
                f"whose ceiling is {place.ceiling}.",
                "Use a place with a higher ceiling, or something with a lower label.",
            )
        return place

    def _resolved(self, host: str, port: int) -> tuple[str, ...]:
        try:
            found = [ipaddress.ip_address(text) for text in self._resolve(host, port)]
        except (OSError, ValueError):
            found = []
        if not found:
            raise Unavailable(f"The host {host} has no address now.", "Check its name and DNS.")
        for ip in found:
            address.check_reachable(ip)
            if ip.is_loopback and host not in _LOCAL_NAMES:
                raise Refused(
                    "This address is outside the perimeter: its name leads to this machine.",
                    "Declare 127.0.0.1 or localhost if that is meant.",
                )
        return tuple(str(ip) for ip in found)


class _Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    host: str
    jurisdiction: str
    ceiling: str
    ports: list[int] = []


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    place: list[_Place] = []


def _place(entry: _Place, country: Country) -> Place:
    """The entry as a value. Raises Invalid naming the place and what is wrong."""
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", entry.name):
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
        return place
    if not place.ports or not all(1 <= port <= 65535 for port in place.ports):
        raise Invalid(wrong + "it needs ports from 1 to 65535.", "Name each one.")
    return replace(place, host=_checked_host(place.host, wrong))


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


def _with(places: tuple[Place, ...], place: Place, advice: str) -> tuple[Place, ...]:
    for other in places:
        if other.name == place.name:
            raise Conflict(f"There are two places called {place.name!r}.", advice)
        if other.host == place.host and (set(other.ports) & set(place.ports) or not place.ports):
            raise Conflict(f"Places {other.name!r} and {place.name!r} are the same place.", advice)
    return (*places, place)


def _holds(place: Place, where: Address) -> bool:
    if where.port is None or not place.ports:
        return where.port is None and not place.ports and place.host == where.host
    if where.port not in place.ports:
        return False
    network = _network(place.host)
    if where.ip is None or network is None:
        return network is None and where.ip is None and place.host == where.host
    return where.ip in network


def _narrowness(place: Place) -> int:
    network = _network(place.host)
    return 999 if network is None else network.prefixlen


def _plain(place: Place) -> dict[str, object]:
    return {
        "name": place.name,
        "host": place.host,
        "ports": list(place.ports),
        "jurisdiction": place.jurisdiction,
        "ceiling": str(place.ceiling),
    }


def _toml(places: Iterable[Place]) -> str:
    # Every value was parsed into an alphabet without quotes, backslashes or control characters.
    lines = ["# Declared places; everything else is refused. See `casemate perimeter`.\n"]
    for place in places:
        lines.append("[[place]]")
        lines += [
            f"{key} = {value}" if isinstance(value, list) else f'{key} = "{value}"'
            for key, value in _plain(place).items()
        ]
        lines.append("")
    return "\n".join(lines)
