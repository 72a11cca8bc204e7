"""LDAP: a directory is asked who somebody is, and whether their password is right.

Search, then bind (RFC 4513, section 5.1.3; RFC 4515 for filters). Nothing leaves without TLS, every
server is reached along a checked route only, referrals and aliases are not followed, and an empty
password, which LDAP takes for no password at all, is refused before anybody is asked.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from casemate.errors import CasemateError, Unavailable
from casemate.gate import ldap_servers as servers
from casemate.gate.connection import Ways
from casemate.gate.ldap_servers import Server, Servers

if TYPE_CHECKING:
    import ldap3

    from casemate.gate.perimeter import Route

_LONGEST_NAME = 256
_LONGEST_PASSWORD = 512
_MOST_GROUPS = 1_000  # of one person, nested ones counted
_AT_ONCE = 50  # groups that one search asks about
_LONGEST_VALUE = 1_024
T = TypeVar("T")
_SUCCESS, _INVALID_CREDENTIALS, _SIZE_LIMIT = 0, 49, 4


@dataclass(frozen=True)
class Found:
    """Somebody who gave the right password. ``groups``: cn and DN of each; ``unique``: hex."""

    name: str
    unique: str
    groups: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]]


class Ldap:
    """Asks the servers of one directory. ``route`` refuses what is outside the perimeter."""

    def __init__(
        self,
        said: Servers,
        folder: Path,
        route: Callable[[str], Route],
        *,
        password: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises Invalid naming the setting that is wrong."""
        servers.check(said)
        self._said = said
        self._servers = tuple(servers.server(url, said.unprotected) for url in said.servers)
        if bool(said.bind_dn) != bool(password):
            raise servers.wrong(
                "bind_dn and the variable CASEMATE_LDAP_PASSWORD go together",
                "Set both, or none for a directory that answers everybody",
            )
        self._password = password
        self._route = route
        self._ways = Ways()  # what it holds, this process may connect along
        self._clock = clock
        self._context = servers.context(folder / said.ca if said.ca else None)

    def authenticate(self, name: str, password: str) -> Found | None:
        """Who ``name`` is, if the directory knows one of that name with this password.

        Raises Unavailable if no server answers, Refused for one outside the perimeter.
        """
        possible = 0 < len(name) <= _LONGEST_NAME and 0 < len(password) <= _LONGEST_PASSWORD
        if not possible or "\x00" in password or not _is_text(name + password):
            return None
        return self._anywhere(lambda asking: asking.person(name, password))

    def pretend(self, name: str) -> None:
        """As much work as for a wrong password, for a name that is not to be asked about.

        Raises like ``authenticate``.
        """
        self._anywhere(lambda asking: asking.pretend(name))

    def again(self, uniques: Sequence[str]) -> list[Found | None]:
        """Who those are now, each None if the directory has nobody of that ``unique`` any more.

        Raises like ``authenticate``.
        """
        return self._anywhere(lambda asking: asking.again(uniques), len(uniques))

    def _anywhere(self, ask: Callable[[_Asking], T], steps: int = 0) -> T:
        until = self._clock() + (3 * len(self._servers) + steps) * self._said.seconds
        trouble: CasemateError | None = None
        for server in self._servers:
            try:
                return ask(_Asking(self, server, until))
            except Unavailable as problem:
                trouble = problem
        raise trouble or _silent()


@dataclass
class _Asking:
    """One server, asked once."""

    ldap: Ldap
    server: Server
    until: float
    said: Servers = field(init=False)

    def __post_init__(self) -> None:
        self.said = self.ldap._said

    def person(self, name: str, password: str) -> Found | None:
        with self._bound(self.said.bind_dn, self.ldap._password) as searching:
            if searching is None:
                raise _silent()  # its own password is wrong: the operator's to know, nobody else's
            wanted = self._wanted()
            filter = self.said.filter.replace("{name}", escaped(name))
            entries = self._search(searching, self.said.base, filter, wanted, 2)
            # Nobody, or several: the second is a mistake of the filter, and nobody's door.
            entry = entries[0] if len(entries) == 1 else None
            with self._bound(_NOBODY if entry is None else entry["dn"], password) as own:
                if entry is None or own is None:
                    return None
            return self._found(searching, entry)

    def again(self, uniques: Sequence[str]) -> list[Found | None]:
        with self._bound(self.said.bind_dn, self.ldap._password) as searching:
            if searching is None:
                raise _silent()
            found = []
            for unique in uniques:
                value = "".join(f"\\{byte:02x}" for byte in bytes.fromhex(unique))
                filter = f"({self.said.unique}={value})"
                entries = self._search(searching, self.said.base, filter, self._wanted(), 2)
                one = self._found(searching, entries[0]) if len(entries) == 1 else None
                found.append(one)
            return found

    def _wanted(self) -> list[str]:
        said = self.said
        return [
            *(said.name, said.unique, said.member_of),
            *(said.tenant_attribute, said.clearance_attribute),
        ]

    def _found(self, searching: Any, entry: Mapping[str, Any]) -> Found | None:
        unique, names = _raw(entry, self.said.unique), _texts(entry, self.said.name)
        if len(unique) != 1 or not unique[0] or not names:
            return None
        attributes = {name: _texts(entry, name) for name in self._wanted() if name}
        groups = self._groups(searching, entry["dn"], _texts(entry, self.said.member_of))
        return Found(names[0], unique[0].hex(), groups, attributes)

    def pretend(self, name: str) -> None:
        with self._bound(self.said.bind_dn, self.ldap._password) as searching:
            if searching is None:
                raise _silent()
            self._search(searching, self.said.base, "(!(objectClass=*))", [self.said.unique], 2)
            with self._bound(_NOBODY, "nobody has this password"):
                return

    def _groups(self, searching: Any, dn: str, named: Sequence[str]) -> tuple[str, ...]:
        """cn and DN of every group that ``dn`` is in, each looked at once, however they nest."""
        seen = dict.fromkeys(named)
        names = [text for one in seen for text in (one, _cn(one))]
        edge = [dn, *seen]
        for _ in range(self.said.nesting if self.said.group_filter else 0):
            found: list[str] = []
            for some in _batches(edge):
                asked = "".join(
                    self.said.group_filter.replace("{dn}", escaped(one)) for one in some
                )
                entries = self._search(
                    searching, self.said.group_base, f"(|{asked})", ["cn"], _MOST_GROUPS
                )
                for entry in entries:
                    if entry["dn"] not in seen:
                        seen[entry["dn"]] = None
                        found.append(entry["dn"])
                        names += [entry["dn"], *_texts(entry, "cn")]
            if not found:
                break
            if len(seen) > _MOST_GROUPS:
                raise Unavailable(
                    f"Somebody is in more than {_MOST_GROUPS:,} groups of the directory.",
                    "An administrator narrows group_base or nesting in directory.toml.",
                )
            edge = found
        return tuple(dict.fromkeys(name for name in names if name))

    @contextmanager
    def _bound(self, dn: str, password: str) -> Iterator[ldap3.Connection | None]:
        """A connection bound as ``dn``, anonymously if that is empty; None for a wrong password."""
        import ldap3
        from ldap3.core.exceptions import LDAPException

        route = self.ldap._route(self.server.url)
        self.ldap._ways.allow(route)
        connection = None
        try:
            connection = ldap3.Connection(
                self._place(route),
                user=dn or None,
                password=password if dn else None,
                authentication=ldap3.SIMPLE if dn else ldap3.ANONYMOUS,
                client_strategy=ldap3.SYNC,
                auto_bind=ldap3.AUTO_BIND_NONE,
                auto_referrals=False,
                read_only=True,
                raise_exceptions=False,
                check_names=False,
                receive_timeout=self._left(),
            )
            connection.open()
            if self.server.scheme == "ldap" and self.server.tls and not connection.start_tls():
                raise _silent()
            bound = connection.bind()
            code = connection.result["result"]
        except (LDAPException, OSError, ValueError) as problem:
            _close(connection)
            raise _silent() from problem
        except CasemateError:
            _close(connection)
            raise
        try:
            if bound and code == _SUCCESS:
                yield connection
            elif dn == _NOBODY or code == _INVALID_CREDENTIALS or _refused(code):
                yield None
            else:
                raise _silent()
        finally:
            _close(connection)

    def _place(self, route: Route) -> Any:
        import ldap3

        host, context = self.server.host, self.ldap._context

        class Tls(ldap3.Tls):  # type: ignore[misc]
            """The standard library checks the name, not the library's own copy of it."""

            def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
                connection.socket = context.wrap_socket(connection.socket, server_hostname=host)

        return ldap3.Server(
            route.addresses[0],  # what was checked; a name could mean another one by now
            port=self.server.port,
            use_ssl=self.server.scheme == "ldaps",
            tls=Tls(validate=ssl.CERT_REQUIRED) if self.server.tls else None,
            get_info=ldap3.NONE,
            connect_timeout=self._left(),
        )

    def _search(
        self, connection: Any, base: str, filter: str, attributes: Sequence[str], limit: int
    ) -> list[dict[str, Any]]:
        import ldap3
        from ldap3.core.exceptions import LDAPException

        try:
            connection.search(
                base,
                filter,
                search_scope=ldap3.SUBTREE,
                dereference_aliases=ldap3.DEREF_NEVER,
                attributes=[name for name in attributes if name] or [ldap3.NO_ATTRIBUTES],
                size_limit=limit,
                time_limit=self._left(),
            )
        except (LDAPException, OSError, ValueError) as problem:
            raise _silent() from problem
        if connection.result["result"] not in (_SUCCESS, _SIZE_LIMIT):
            raise _silent()
        # Pointers to other servers come along as entries of another type: not followed.
        return [one for one in connection.response or () if one["type"] == "searchResEntry"]

    def _left(self) -> int:
        """Whole seconds for the next step. Raises Unavailable once time is over."""
        left = self.until - self.ldap._clock()
        if left <= 0:
            raise _silent()
        return max(1, min(self.said.seconds, int(left)))


_NOBODY = "cn=nobody,dc=casemate,dc=invalid"  # bound with where there is nobody, to cost the same


def escaped(text: str) -> str:
    """``text`` as a value inside a filter (RFC 4515, section 3); it can then end nothing."""
    return "".join(f"\\{ord(sign):02x}" if sign in _SPECIAL else sign for sign in text)


_SPECIAL = frozenset("\\*()\x00/&|!=<>~")


def _refused(code: int) -> bool:
    """A bind that was answered with no: a locked or expired account, a referral, a policy."""
    return code in (8, 10, 19, 32, 34, 48, 50, 53)


def _raw(entry: Mapping[str, Any], name: str) -> Sequence[bytes]:
    # Servers write the names of attributes in their own case.
    lower = {key.lower(): values for key, values in entry["raw_attributes"].items()}
    return lower.get(name.lower(), ()) if name else ()


def _texts(entry: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = []
    for raw in _raw(entry, name):
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            continue  # not text: nothing that a rule could name
        if len(text) <= _LONGEST_VALUE:
            found.append(text)
    return tuple(found)


def _cn(dn: str) -> str:
    """The cn that a DN begins with, or "": only a plainly written one."""
    plain = re.match(r"(?i)cn=([^,+\"\\<>;=]+)(?:,|$)", dn)
    return plain[1].strip() if plain else ""


def _batches(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]


def _close(connection: Any) -> None:
    if connection is not None:
        # However it ends: an answer that never comes to a goodbye is no news.
        with suppress(Exception):
            connection.unbind()


def _is_text(text: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def _silent() -> Unavailable:
    return Unavailable(
        "The directory does not answer as it should.",
        "Try again; if it stays so, an administrator looks at directory.toml and the server.",
    )
