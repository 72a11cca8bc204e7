"""The relay leads a client that we did not write along checked ways, and nobody else anywhere."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from casemate.errors import Refused, Unavailable
from casemate.gate.country import Country
from casemate.gate.perimeter import Route
from casemate.gate.place import Place
from casemate.gate.relay import Relay

LOWEST = Country.load("lu").policy.lowest()


@contextmanager
def a_server() -> Iterator[tuple[int, list[bytes]]]:
    """Takes what comes until it pauses, answers, and closes."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    caller, _ = listener.accept()
                except OSError:
                    return
                with caller:
                    got.append(caller.recv(1 << 16))
                    caller.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], got
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def a_relay(port: int) -> Iterator[tuple[Relay, list[str]]]:
    """Leads ``letters.example`` to this port of loopback, whatever DNS says."""
    asked: list[str] = []

    def route(url: str) -> Route:
        asked.append(url)
        if urlsplit(url).hostname != "letters.example":
            raise Refused("Outside.", "Declare it.")
        place = Place("letters", "letters.example", (port,), "LU", LOWEST)
        return Route(place, "letters.example", port, ("127.0.0.1",))

    relay = Relay.open(route, 0)
    try:
        yield relay, asked
    finally:
        relay.close()


def said(relay: Relay, request: str, *more: bytes, password: bool = True) -> bytes:
    parts = urlsplit(relay.address)
    secret = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    given = f"Proxy-Authorization: Basic {secret}\r\n" if password else ""
    with socket.create_connection(("127.0.0.1", relay.port), 30) as client:
        client.sendall(f"{request}\r\n{given}Connection: keep-alive\r\n\r\n".encode())
        answer = b""
        for piece in more:
            answer += client.recv(1 << 16)
            client.sendall(piece)
        while piece := client.recv(1 << 16):
            answer += piece
    return answer


def test_a_plain_request_is_passed_on_without_the_password() -> None:
    with a_server() as (port, got), a_relay(port) as (relay, asked):
        answer = said(relay, "GET http://letters.example/a/b?c=d HTTP/1.1\r\nHost: letters.example")
        assert answer.endswith(b"\r\n\r\nhi")
        assert asked == ["http://letters.example"]
        (request,) = got
        assert request.startswith(b"GET /a/b?c=d HTTP/1.1\r\nHost: letters.example\r\n")
        assert b"Connection: close" in request
        assert b"authorization" not in request.lower()


def test_a_tunnel_carries_bytes_unopened() -> None:
    with a_server() as (port, got), a_relay(port) as (relay, asked):
        answer = said(relay, "CONNECT letters.example:443 HTTP/1.1", b"\x16\x03\x01 hello")
        assert answer.startswith(b"HTTP/1.1 200 Connected\r\n\r\nHTTP/1.1 200 OK")
        assert got == [b"\x16\x03\x01 hello"]
        assert asked == ["https://letters.example:443"]


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET http://evil.example/x HTTP/1.1", b"403"),
        ("CONNECT evil.example:443 HTTP/1.1", b"403"),
        ("CONNECT 169.254.169.254:80 HTTP/1.1", b"403"),
        ("GET /etc/passwd HTTP/1.1", b"400"),
        ("GET ftp://letters.example/ HTTP/1.1", b"400"),
        ("GET https://letters.example/ HTTP/1.1", b"400"),
        ("nonsense", b"400"),
    ],
)
def test_whatever_else_is_asked_is_refused_and_nothing_is_connected(
    request_line: str, status: bytes
) -> None:
    with a_server() as (port, got), a_relay(port) as (relay, _):
        assert said(relay, request_line).startswith(b"HTTP/1.1 " + status)
        assert got == []


def test_without_the_password_nothing_is_even_looked_at() -> None:
    with a_server() as (port, got), a_relay(port) as (relay, asked):
        for line in (
            "GET http://letters.example/ HTTP/1.1",
            "CONNECT letters.example:443 HTTP/1.1",
        ):
            assert said(relay, line, password=False).startswith(b"HTTP/1.1 407 ")
        assert said(
            relay,
            "GET http://letters.example/ HTTP/1.1\r\nProxy-Authorization: Basic eDp5",
            password=False,
        ).startswith(b"HTTP/1.1 407 ")
        assert (asked, got) == ([], [])


def test_a_place_that_does_not_answer_is_a_bad_gateway() -> None:
    with a_server() as (port, _):
        pass
    with a_relay(port) as (relay, _):
        answer = said(relay, "CONNECT letters.example:443 HTTP/1.1")
    assert answer.startswith(b"HTTP/1.1 502 ")


def test_a_port_that_is_taken_is_told() -> None:
    with a_server() as (port, _), pytest.raises(Unavailable, match="relay_port"):
        Relay.open(lambda url: pytest.fail(url), port)


def test_a_closed_relay_takes_nobody() -> None:
    with a_server() as (port, _), a_relay(port) as (relay, _):
        relay.close()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", relay.port), 5)
