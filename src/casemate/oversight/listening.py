"""Listeners outside the perimeter, on this machine: whoever gets out arrives here.

An attempt that fails for want of a route proves nothing. These are there, answer, and lie on
ports that nobody declared, so that what does not arrive was stopped.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import secrets
import selectors
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from casemate.gate.address import Address
from casemate.gate.place import Place

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\ncasemate"
_SECONDS = 1.0  # that an arrival may take, on one machine
_MOST_OWN = 4
_LISTENING, _ACCEPTS = "00010000", "01"  # flags and state in /proc/net/unix
_MOST_OTHERS = 16


@dataclass
class Listeners:
    """name → address and port of each listener; ``arrived`` tells what came since the last time."""

    tcp: dict[str, tuple[str, int]] = field(default_factory=dict)
    udp: dict[str, tuple[str, int]] = field(default_factory=dict)
    path: str = ""
    abstract: str = ""
    _came: threading.Event = field(default_factory=threading.Event)

    def arrived(self) -> bool:
        """Whether anybody arrived since the last time; waits a moment for those on their way."""
        came = self._came.wait(_SECONDS)
        self._came.clear()
        return came


@contextmanager
def listening(places: tuple[Place, ...]) -> Iterator[Listeners]:
    """Listeners on ports that lie in none of ``places``, until left."""
    found = Listeners()
    with ExitStack() as closing:
        folder = tempfile.mkdtemp(prefix="casemate-")
        closing.callback(shutil.rmtree, folder, ignore_errors=True)
        opened: list[socket.socket] = []
        for name, address in _addresses():
            for kind, ports in ((socket.SOCK_STREAM, found.tcp), (socket.SOCK_DGRAM, found.udp)):
                one = _bound(address, kind, places)
                if one is not None:
                    opened.append(closing.enter_context(one))
                    ports[name] = one.getsockname()[:2]
        found.path = os.path.join(folder, "outside.sock")
        found.abstract = f"\0casemate-proof-{secrets.token_hex(8)}"
        for path in (found.path, found.abstract):
            one = closing.enter_context(socket.socket(socket.AF_UNIX))
            one.bind(path)
            opened.append(one)
        for one in opened:
            if one.type == socket.SOCK_STREAM:
                one.listen()
        stop, stopped = socket.socketpair()
        thread = threading.Thread(target=_serve, args=(opened, stopped, found._came), daemon=True)
        thread.start()
        try:
            yield found
        finally:
            stop.close()
            thread.join()
            stopped.close()


def others(own: tuple[str, ...], places: tuple[Place, ...]) -> list[tuple[str, int]]:
    """Unix sockets that other programs listen at: path ("@…": abstract) and type.

    ``own``: the beginnings of paths that are Casemate's. Declared sockets are left out too.
    """
    declared = {place.host for place in places if place.is_socket}
    found = []
    try:
        lines = Path("/proc/net/unix").read_text("utf-8", "replace").splitlines()[1:]
    except OSError:
        return []
    for line in lines:
        parts = line.split(maxsplit=7)
        if len(parts) == 8 and parts[3] == _LISTENING and parts[5] == _ACCEPTS:
            path = parts[7]
            if path not in declared and not path.startswith(own):
                found.append((path, int(parts[4], 16)))
    return sorted(dict.fromkeys(found))[:_MOST_OTHERS]


def _addresses() -> Iterator[tuple[str, str]]:
    yield "this machine", "127.0.0.1"
    yield "this machine over IPv6", "::1"
    own = sorted(_own())[:_MOST_OWN]
    for address in own:
        yield f"this machine's address {address}", address


def _own() -> set[str]:
    """The addresses of this machine's interfaces, apart from loopback and link-local ones."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        trie = Path("/proc/net/fib_trie").read_text()
        found |= set(re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", trie))
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            found.add(str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))))
    kept = {text: ipaddress.ip_address(text) for text in found}
    return {text for text, ip in kept.items() if not (ip.is_loopback or ip.is_link_local)}


def _bound(address: str, kind: int, places: tuple[Place, ...]) -> socket.socket | None:
    """A socket on a port that nobody declared; None where this machine has no such address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(64):
        try:
            opened = socket.socket(family, kind)
        except OSError:
            return None
        try:
            opened.bind((address, 0))
        except OSError:
            opened.close()
            return None
        port = opened.getsockname()[1]
        scheme = "http" if kind == socket.SOCK_STREAM else "udp"
        where = Address(scheme, address, port, ipaddress.ip_address(address))
        named = Address(scheme, "localhost", port, None)
        if not any(place.holds(where) or place.holds(named) for place in places):
            return opened
        opened.close()
    return None


def _serve(opened: list[socket.socket], stopped: socket.socket, came: threading.Event) -> None:
    with selectors.DefaultSelector() as selector:
        for one in (*opened, stopped):
            selector.register(one, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                called = key.fileobj
                if called is stopped:
                    return
                came.set()
                assert isinstance(called, socket.socket)  # noqa: S101 - nothing else is registered
                with contextlib.suppress(OSError):
                    _answer(called)


def _answer(one: socket.socket) -> None:
    if one.type != socket.SOCK_STREAM:
        one.recv(1024)
        return
    caller, _ = one.accept()
    with caller:
        caller.settimeout(_SECONDS)
        caller.sendall(_ANSWER)
        caller.shutdown(socket.SHUT_WR)
        with contextlib.suppress(TimeoutError):
            while caller.recv(1 << 16):
                continue
