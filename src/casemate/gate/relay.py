"""The relay: a compiled client connects to it and to nothing else, and it goes checked ways only.

Python's guard does not see what a compiled library connects to. So the library is told that it
lives behind a proxy, on loopback and with a password, which is this: for each connection it asks
the perimeter, and connects to the addresses that were checked. TLS goes through it unopened.
Source: RFC 9110, section 9.3.6 (CONNECT); RFC 9112, section 3.2 (forms of a request's target).
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import re
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from casemate.errors import CasemateError, Unavailable
from casemate.gate.guard import Ways

if TYPE_CHECKING:
    from casemate.gate.perimeter import Route

_HERE = "127.0.0.1"
_ACCOUNT = "casemate"
_LONGEST_HEAD = 1 << 16
_PIECE = 1 << 18
_CONNECT_SECONDS, _SILENCE_SECONDS = 5.0, 120.0
_REQUEST = re.compile(r"([A-Z]+) (\S+) HTTP/1\.[01]")
_ABSOLUTE = re.compile(r"(http://[^/?#]+)(.*)")
_BETWEEN_HOPS = frozenset({"connection", "keep-alive", "proxy-authorization", "proxy-connection"})


@dataclass(frozen=True)
class _Asked:
    """The head of a request: where to, and what is passed on before the rest."""

    url: str
    passed_on: bytes
    answer: bytes


class _Odd(Exception):
    """Not a request that our own client makes; the status says why."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


class Relay:
    """Relays until it is closed. ``route`` gives the checked way for a URL, or raises."""

    def __init__(self, listener: socket.socket, route: Callable[[str], Route]) -> None:
        self._listener = listener
        self._route = route
        secret = secrets.token_urlsafe(32)
        self._expected = b"Basic " + base64.b64encode(f"{_ACCOUNT}:{secret}".encode())
        self.port: int = listener.getsockname()[1]
        self.address = f"http://{_ACCOUNT}:{secret}@{_HERE}:{self.port}"
        threading.Thread(target=self._listen, name="relay", daemon=True).start()

    @classmethod
    def open(cls, route: Callable[[str], Route], port: int) -> Self:
        """A relay on this port of loopback; 0 picks a free one. Raises Unavailable if taken."""
        try:
            listener = socket.create_server((_HERE, port))
        except OSError:
            raise Unavailable(
                f"Port {port}, which the relay to buckets listens on, is in use.",
                "Choose another with the setting `relay_port`.",
            ) from None
        return cls(listener, route)

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # else accept would wait on
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(_SILENCE_SECONDS)
            try:
                asked = self._asked(_head(client))
                upstream = _connected(self._route(asked.url))
            except _Odd as problem:
                _refuse(client, problem.status)
            except CasemateError as problem:
                _refuse(client, f"{problem.status} Refused")
            except OSError:
                _refuse(client, "502 Bad Gateway")
            else:
                with upstream:
                    client.sendall(asked.answer)
                    upstream.sendall(asked.passed_on)
                    _pass_on(client, upstream)

    def _asked(self, content: bytes) -> _Asked:
        head, _, rest = content.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = [line.partition(":") for line in lines]
        given = [text.strip() for name, _, text in fields if name.lower() == "proxy-authorization"]
        if len(given) != 1 or not hmac.compare_digest(given[0].encode("latin-1"), self._expected):
            raise _Odd("407 Proxy Authentication Required")
        request = _REQUEST.fullmatch(first)
        if request is None:
            raise _Odd("400 Bad Request")
        method, target = request.groups()
        if method == "CONNECT":
            return _Asked(f"https://{target}", rest, b"HTTP/1.1 200 Connected\r\n\r\n")
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            raise _Odd("400 Bad Request")
        origin, path = absolute.groups()
        kept = [line for line in lines if line.partition(":")[0].lower() not in _BETWEEN_HOPS]
        # One request a connection: the next may be for another place.
        passed = "\r\n".join([f"{method} {path or '/'} HTTP/1.1", *kept, "Connection: close"])
        return _Asked(origin, passed.encode("latin-1") + b"\r\n\r\n" + rest, b"")


def _head(client: socket.socket) -> bytes:
    content = b""
    while b"\r\n\r\n" not in content:
        piece = client.recv(_PIECE)
        if not piece or len(content) > _LONGEST_HEAD:
            raise _Odd("400 Bad Request")
        content += piece
    return content


def _connected(route: Route) -> socket.socket:
    ways = Ways()
    ways.allow(route)
    problem: OSError | None = None
    for address in route.addresses:
        try:
            opened = socket.create_connection((address, route.port), _CONNECT_SECONDS)
        except OSError as met:
            problem = met
            continue
        opened.settimeout(_SILENCE_SECONDS)
        return opened
    raise problem or OSError("no address")


def _refuse(client: socket.socket, status: str) -> None:
    client.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())


def _pass_on(client: socket.socket, upstream: socket.socket) -> None:
    """Both ways at once, until the one that answers has ended."""
    there = threading.Thread(target=_copy, args=(client, upstream), daemon=True)
    there.start()
    _copy(upstream, client)
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)  # and with it the other direction
    there.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
