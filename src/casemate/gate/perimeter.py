"""The perimeter: the declared places where data may flow; everything else is refused.

The places lie in ``perimeter.toml`` in the data folder; ``place`` describes its form.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from casemate.errors import Conflict, NotFound, Refused, Unavailable
from casemate.gate import address
from casemate.gate.acts import digest
from casemate.gate.address import Address
from casemate.gate.guard import asking_for
from casemate.gate.label import Label
from casemate.gate.place import FILE, Entry, Place, added, checked, declared, written
from casemate.gate.policy import Resource
from casemate.store.folder import disk_problem, write_durably

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.country import Country
    from casemate.gate.right import Rights

__all__ = ["FILE", "Perimeter", "Place", "Resolver", "Route", "system_resolver"]

LOCAL_NAMES = frozenset({"localhost"})
KNOWN = "perimeter.digest"  # of the places as the ledger last learned of them
_MOST_ADDRESSES = 64
_MOST_DECLARED = 4096  # decisions in advance that are remembered

Resolver = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True)
class Route:
    """A checked way to a place. Connect to ``addresses``: a name may mean another one later."""

    place: Place
    host: str
    port: int | None
    addresses: tuple[str, ...]  # IPs, or the one path of a socket
    in_force: Callable[[], bool] = field(default=lambda: True, compare=False, repr=False)


def system_resolver(host: str, port: int) -> list[str]:
    """The IPs of ``host`` as this machine sees them. Raises OSError."""
    with asking_for(host):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Perimeter:
    """The places of one installation. An empty perimeter refuses everything."""

    def __init__(
        self,
        path: Path,
        country: Country,
        content: bytes,
        rights: Rights | None,
        resolve: Resolver,
    ) -> None:
        self._path = path
        self._country = country
        self._places = declared(content, country)
        self._content = content  # as it was read or written last
        self._rights = rights
        self._resolve = resolve
        self._changing = threading.Lock()
        # Told the file once other places are in force, before whoever changed them hears of it.
        self.changed: Callable[[bytes], None] = lambda content: None
        # What was decided in advance, as long as these are the places.
        self._declared: tuple[tuple[Place, ...], dict[tuple[str, Label], Place]] = (
            self._places,
            {},
        )

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
        return cls(path, country, _read(path), rights, resolve)

    @property
    def places(self) -> tuple[Place, ...]:
        """The places, as declared."""
        return self._places

    @property
    def digest(self) -> str:
        """Of the places, as entries of the ledger name it."""
        return _digest(self._places)

    @property
    def content(self) -> bytes:
        """The file, as it is in force."""
        return self._content

    @property
    def edited(self) -> bool:
        """Whether the file differs from what is in force. Raises Unavailable."""
        return _read(self._path) != self._content

    def check(self, url: str, label: Label) -> Place:
        """The place ``url`` lies in, if information labelled ``label`` may go there.

        Raises Refused, saying why; Unavailable if a declared name has no address now.
        """
        return self.route(url, label).place

    def declared(self, url: str, label: Label) -> Place:
        """Like ``check``, but without asking what a name means now: for decisions in advance.

        Who connects asks ``route`` again.
        """
        places, known = self._declared
        if places is not self._places:
            places, known = self._declared = (self._places, {})
        found = known.get((url, label))
        if found is None:
            if len(known) >= _MOST_DECLARED:
                known.clear()
            found = known[url, label] = self._allowed(Address.parse(url), label)
        return found

    def route(self, url: str, label: Label, bucket: str = "") -> Route:
        """Like ``check``, with the addresses that were checked, for who connects.

        ``bucket``: the way to a server for this bucket of it, see ``bucket``.
        """
        where = Address.parse(url)
        place = self._allowed(where, label, bucket)
        if where.ip is not None or where.port is None:
            addresses: tuple[str, ...] = (where.host,)
        else:
            addresses = self._resolved(place, where.port)
        return Route(place, where.host, where.port, addresses, lambda: place in self._places)

    def bucket(self, name: str, endpoint: str, label: Label) -> Place:
        """The place of a bucket at the server ``endpoint``, decided in advance like ``declared``.

        Raises Refused. A host that is declared for itself is not thereby declared for buckets.
        """
        return self._allowed(Address.parse(endpoint), label, name)

    def addresses(self, place: Place) -> tuple[str, ...]:
        """What the name of ``place`` means now, checked; its host where that is no name."""
        if place.is_socket or place.network is not None:
            return (place.host,)
        return self._resolved(place, place.ports[0])

    def settle(self) -> None:
        """Record it if the file was changed while nothing watched. Call once, at start."""
        if self._rights is None:
            return
        path = self._path.with_name(KNOWN)
        before = _read(path).decode("ascii", "replace").strip() or _digest(())
        after = _digest(self._places)
        if before != after:
            self._rights.acts.record("perimeter.changed", None, before=before, after=after)
        self._remember(after)

    def reload(self, actor: Caller) -> tuple[Place, ...]:
        """Put the file as it is now into force, on record; the places.

        Raises Refused; Invalid naming the place that is wrong, and then what was in force stays.
        """
        rights = self._changer(actor)
        with self._changing:
            content = _read(self._path)
            places = declared(content, self._country)
            before, after = _digest(self._places), _digest(places)
            if before != after:
                rights.acts.record("perimeter.changed", actor.principal, before=before, after=after)
            self._places, self._content = places, content
            self._remember(after)
            self.changed(content)
        return places

    def take_over(self, content: bytes) -> None:
        """Have in force here what the process that owns the file has put into force.

        Raises Invalid naming the place that is wrong.
        """
        self._places, self._content = declared(content, self._country), content

    def add(
        self,
        actor: Caller,
        *,
        name: str,
        host: str,
        ports: Iterable[int] = (),
        jurisdiction: str,
        ceiling: Label,
        within: Iterable[str] = (),
        transports: Iterable[str] = ("tcp",),
        bucket: str = "",
    ) -> Place:
        """Declare a place, durably and on record. Raises Invalid, Refused, Conflict."""
        rights = self._changer(actor)
        entry = Entry(
            name,
            host,
            jurisdiction,
            str(ceiling),
            list(ports),
            list(within),
            tuple(transports),
            bucket,
        )
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
        if self.edited:
            raise Conflict(
                "The file of the perimeter was changed by hand and is not in force yet.",
                "Put it into force first: `casemate perimeter reload`.",
            )
        before, after = _digest(self._places), _digest(places)
        rights.acts.record(
            act, actor.principal, place=digest(place.plain()), before=before, after=after
        )
        content = written(places)
        try:
            write_durably(self._path, content)
        except OSError as problem:
            raise disk_problem(problem) from problem
        self._places, self._content = places, content
        self._remember(after)
        self.changed(content)

    def _remember(self, known: str) -> None:
        try:
            write_durably(self._path.with_name(KNOWN), known.encode() + b"\n")
        except OSError as problem:
            raise disk_problem(problem) from problem

    def _allowed(self, where: Address, label: Label, bucket: str = "") -> Place:
        fitting = [place for place in self._places if place.holds(where, bucket)]
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

    def _resolved(self, place: Place, port: int) -> tuple[str, ...]:
        host = place.host
        try:
            found = [ipaddress.ip_address(text) for text in self._resolve(host, port)]
        except (OSError, ValueError):
            found = []
        if not found:
            raise Unavailable(f"The host {host} has no address now.", "Check its name and DNS.")
        for ip in found:
            address.check_reachable(ip)
            if ip.is_loopback and host not in LOCAL_NAMES:
                raise Refused(
                    "This address is outside the perimeter: its name leads to this machine.",
                    "Declare 127.0.0.1 or localhost if that is meant.",
                )
            if place.within and not any(ip in network for network in place.within):
                raise Refused(
                    f"This address is outside the perimeter: the name of place {place.name!r} "
                    "leads out of the networks it is declared to lie in.",
                    "Check the name's DNS entry, or declare the network it moved to.",
                )
        return tuple(str(ip) for ip in found)[:_MOST_ADDRESSES]


def _digest(places: Iterable[Place]) -> str:
    return digest([place.plain() for place in places])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.exists() else b""
    except OSError as problem:
        raise disk_problem(problem) from problem
