"""A gateway that others wrote speaks HTTP/2 to what stands behind it: HAProxy, Debian's package."""

from __future__ import annotations

import http.client
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from house_builders import DOG_TAX, FEES, a_house, a_server
from peer_programs import program

CONFIGURATION = """
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s

frontend people
    bind 127.0.0.1:{port}
    http-request set-header X-Forwarded-For 203.0.113.7
    default_backend house

backend house
    server casemate 127.0.0.1:{behind} proto h2
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """The port of a gateway before a house, and the key of its owner."""
    haproxy, folder = program("haproxy"), tmp_path_factory.mktemp("gateway")
    with a_house(folder / "data") as house:
        house.add("notes", fees=FEES)
        key = house.key(house.owner.principal.name)
    with a_server(folder / "data") as running:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        configuration = folder / "haproxy.cfg"
        configuration.write_text(CONFIGURATION.format(port=port, behind=running.port))
        with subprocess.Popen([haproxy, "-db", "-f", str(configuration)]) as process:
            try:
                _reached(port)
                yield port, key
            finally:
                process.terminate()


def _reached(port: int) -> None:
    for _ in range(100_000):
        with socket.socket() as knocking:
            if not knocking.connect_ex(("127.0.0.1", port)):
                return
    raise AssertionError("the gateway does not listen")


def asked(
    port: int, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, named)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_many_people_ask_at_a_time_through_a_gateway(gateway: tuple[int, str]) -> None:
    port, key = gateway
    question = b'{"model":"documents","stream":true,"messages":[{"role":"user","content":"%s"}]}'

    def ask(_: int) -> tuple[int, bytes]:
        sent = {"Authorization": f"Bearer {key}", "Content_Type": "application/json"}
        body = question % DOG_TAX.encode()
        return asked(port, "POST", "/v1/chat/completions", body, **sent)

    with ThreadPoolExecutor(12) as people:
        answers = list(people.map(ask, range(24)))
    assert {status for status, _ in answers} == {200}
    assert all(b"40 euros" in said and b"data: [DONE]" in said for _, said in answers)


def test_whom_the_gateway_speaks_for_is_known(gateway: tuple[int, str]) -> None:
    port, _ = gateway
    assert asked(port, "GET", "/healthz")[0] == 200
    # To this machine it would be open.
    assert asked(port, "GET", "/metrics")[0] == 401


def test_what_the_server_refuses_is_refused_through_the_gateway(gateway: tuple[int, str]) -> None:
    port, _ = gateway
    status, said = asked(port, "GET", "/api/" + "a" * 9000)
    assert (status, b"too long" in said) == (414, True)
    status, said = asked(port, "GET", "/v1/models", Authorization="Bearer none")
    assert (status, b"invalid_api_key" in said) == (401, True)
