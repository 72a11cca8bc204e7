"""The perimeter: the declared places where data may flow; everything else is refused.

The places lie in ``perimeter.toml`` in the data folder; ``place`` describes its form.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from casemate.errors import NotFound, Refused, Unavailable
from casemate.gate import address
from casemate.gate.acts import digest
from casemate.gate.address import Address
from casemate.gate.label import Label
from casemate.gate.place import FILE, Entry, Place, added, checked, declared, written
from casemate.gate.policy import Resource
from casemate.store.folder import disk_problem, write_durably

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.country import Country
    from casemate.gate.right import Rights

__all__ = ["FILE", "Perimeter", "Place", "Resolver", "Route", "system_resolver"]

_LOCAL_NAMES = frozenset({"localhost"})

Resolver = Callable[[str, int], Sequence[str]]


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
        return cls(path, country, declared(content, country), rights, resolve)

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
        entry = Entry(name, host, jurisdiction, str(ceiling), list(ports))
        place = checked(entry, self._country)
        with self._changing:
            places = added(self._places, place, "Remove the other first, or choose another name.")
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
        before = digest([one.plain() for one in self._places])
        after = digest([one.plain() for one in places])
        rights.acts.record(
            act, actor.principal, place=digest(place.plain()), before=before, after=after
        )
        try:
            write_durably(self._path, written(places))
        except OSError as problem:
            raise disk_problem(problem) from problem
        self._places = places

    def _allowed(self, where: Address, label: Label) -> Place:
        fitting = [place for place in self._places if place.holds(where)]
        if not fitting:
            raise Refused(
                "This address is outside the perimeter: nobody has declared it with that port.",
                "An administrator can declare it: `casemate perimeter add`.",
            )
        # The narrowest wins, as in routing: a strict rule for one host stands in a lax network.
        place = max(fitting, key=lambda place: place.narrowness)
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
