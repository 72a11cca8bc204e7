"""The guard: this process reaches out along ways that the perimeter checked, and no others.

Python announces what a program is about to do (PEP 578, ``sys.addaudithook``), and the guard stops
it there: a connection, a datagram, the look-up of a name, a socket of an unusual kind, a program
that is started. Once it stands it cannot be taken away.

What compiled libraries do by themselves is not announced, and neither is a name that Python's own
``connect`` looks up. For these stand the checks of the configuration and the kernel's rules
(``casemate perimeter rules``). The guard holds against mistakes and against libraries that phone
out; code that is hostile and runs in this very process could go around it.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
import sys
import weakref
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.gate.refusal import Refusal, refusals

if TYPE_CHECKING:
    from casemate.gate.perimeter import Route

_PACKAGE = str(Path(__file__).resolve().parents[1])
_PROXIES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"})
_USUAL_FAMILIES = (-1, socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
_USUAL_KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
_KIND_BITS = 0xF  # the rest of a socket's type are flags
# Between who reaches out and the socket; not worth naming.
_BETWEEN = frozenset(
    {"aiohappyeyeballs", "asyncio", "concurrent", "contextlib", "http", "os", "selectors",
     "socket", "ssl", "subprocess", "threading", "urllib", __name__}
)  # fmt: skip

_asked: ContextVar[str] = ContextVar("asked", default="")
_open: dict[int, weakref.ref[Ways]] = {}
_standing = False


class Outside(PermissionError):
    """What was attempted leads outside the perimeter."""

    def __init__(self) -> None:
        super().__init__(errno.EPERM, "outside the perimeter")


class Ways:
    """The ways that the perimeter allowed, by host; a newer one to a host replaces the older.

    As long as it lives this process may connect along them. It is the one thing that opens them.
    """

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}
        self._sockets: frozenset[str] = frozenset()
        me = id(self)
        _open[me] = weakref.ref(self, lambda _: _open.pop(me, None))

    def allow(self, route: Route) -> None:
        """Let connections to the host of ``route`` go to its addresses."""
        self._routes = {**self._routes, route.host: route}  # replaced: the guard reads it meanwhile

    def own(self, socket: str) -> None:
        """Let connections go to this Unix socket, which Casemate itself serves."""
        self._sockets |= {socket}

    def to(self, host: str) -> tuple[str, ...]:
        """The addresses that were checked for ``host``; none if it never was."""
        route = self._routes.get(host)
        return () if route is None else route.addresses

    def lead_to(self, address: str, port: int | None) -> bool:
        """Whether one of them leads to this IP and port, or to this path of a socket."""
        if port is None and address in self._sockets:
            return True
        return any(
            route.port == port and address in route.addresses and route.in_force()
            for route in self._routes.values()
        )


@contextmanager
def asking_for(host: str) -> Iterator[None]:
    """Let the name ``host`` be looked up meanwhile."""
    before = _asked.set(host)
    try:
        yield
    finally:
        _asked.reset(before)


def stand(environment: MutableMapping[str, str] = os.environ) -> None:
    """Guard this process from now on, and forget the proxies that its environment names.

    A library that finds a proxy there would send everything to it; so do compiled ones, which the
    guard does not see.
    """
    global _standing
    for name in [name for name in environment if name.lower() in _PROXIES]:
        del environment[name]
    if not _standing:
        _standing = True
        sys.addaudithook(_heed)


def standing() -> bool:
    """Whether this process is guarded."""
    return _standing


def _heed(event: str, arguments: tuple[Any, ...]) -> None:
    judge = _JUDGES.get(event)
    if judge is None:
        return
    refusal = judge(*arguments)
    if refusal is not None:
        refusals.count(refusal)
        raise Outside


def _sending(by: socket.socket, address: Any) -> Refusal | None:
    if address is None:  # along a connection that was judged when it was made
        return None
    way = "UDP" if by.type == socket.SOCK_DGRAM else "TCP"
    if by.family == socket.AF_UNIX:
        path = os.fsdecode(address) if isinstance(address, str | bytes) else ""
        reach = "abstract socket" if path.startswith("\0") else "socket"
        return None if _led_to(path, None) else _refusal("Unix", reach)
    if by.family not in (socket.AF_INET, socket.AF_INET6):
        return _refusal("unusual socket", "unknown")
    host, port = address[0], address[1]
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return _refusal(way, "name", port)
    return None if _led_to(str(ip), port) else _refusal(way, _reach(ip), port)


def _led_to(address: str, port: int | None) -> bool:
    for reference in list(_open.values()):
        ways = reference()
        if ways is not None and ways.lead_to(address, port):
            return True
    return False


def _asking(host: Any, *_: Any) -> Refusal | None:
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if not name or name == _asked.get():
        return None
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return _refusal("name", "name")
    return None


def _asking_back(*_: Any) -> Refusal | None:
    return _refusal("name", "name")


def _opening(_: socket.socket, family: int, kind: int, *__: Any) -> Refusal | None:
    usual = family in _USUAL_FAMILIES and (kind == -1 or kind & _KIND_BITS in _USUAL_KINDS)
    return None if usual else _refusal("unusual socket", "unknown")


def _starting(executable: Any, arguments: Any, *_: Any) -> Refusal | None:
    return None if _is_own(executable, arguments) else _refusal("program", "program")


def _starting_anything(*_: Any) -> Refusal | None:
    return _refusal("program", "program")


def _is_own(executable: Any, arguments: Any) -> bool:
    """Whether it is this Python, which takes nothing from outside (-I), with a script of ours."""
    if not isinstance(arguments, list | tuple) or len(arguments) < 4:
        return False
    interpreter, isolated, unwritten, script, *_ = map(os.fsdecode, arguments)
    return (
        os.fsdecode(executable) == interpreter == sys.executable
        and (isolated, unwritten) == ("-I", "-B")
        and os.path.realpath(script).startswith(_PACKAGE + os.sep)
    )


_JUDGES: dict[str, Callable[..., Refusal | None]] = {
    "socket.connect": _sending,
    "socket.sendto": _sending,
    "socket.sendmsg": _sending,
    "socket.__new__": _opening,
    "socket.getaddrinfo": _asking,
    "socket.gethostbyname": _asking,
    "socket.gethostbyaddr": _asking_back,
    "socket.getnameinfo": _asking_back,
    "subprocess.Popen": _starting,
    "os.posix_spawn": _starting,
    "os.exec": _starting_anything,
    "os.fork": _starting_anything,
    "os.forkpty": _starting_anything,
    "os.spawn": _starting_anything,
    "os.system": _starting_anything,
    "pty.spawn": _starting_anything,
    "syslog.openlog": _starting_anything,
    "syslog.syslog": _starting_anything,
}


def _reach(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    kinds = ("is_loopback", "is_link_local", "is_multicast", "is_private")
    found = next((kind for kind in kinds if getattr(ip, kind)), "is_global")
    return found.removeprefix("is_").replace("_", "-")


def _refusal(way: str, reach: str, port: int = 0) -> Refusal:
    return Refusal(way, reach, port, _who())


def _who() -> str:
    """The package that reaches out: the nearest one that is no part of the way to a socket."""
    frame = sys._getframe(1)
    last = "unknown"
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        package = module.partition(".")[0]
        if re.fullmatch(r"\w{1,64}", package):
            last = package
            if module not in _BETWEEN and package not in _BETWEEN:
                return package
        frame = frame.f_back  # type: ignore[assignment]
    return last
