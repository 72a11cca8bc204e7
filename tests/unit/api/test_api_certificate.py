"""The header Client-Cert, and who may set it."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from casemate.api.certificate import presented
from casemate.api.tls import PEER
from casemate.errors import Unauthenticated
from casemate.settings import Settings

BEHIND = Settings(trusted_proxies="10.1.0.7")


def a_request(peer: str, says: str) -> Request:
    headers = [(b"client-cert", b":MIIB:")]
    return Request({"type": "http", "headers": headers, "client": (says, 1), PEER: peer})


def test_an_address_that_somebody_else_put_into_a_header_is_no_proxy() -> None:
    """X-Forwarded-For becomes ASGI's client; anybody on this machine can write one."""
    with pytest.raises(Unauthenticated, match="no trusted proxy"):
        presented(a_request("127.0.0.1", says="10.1.0.7"), BEHIND)


def test_a_proxy_is_known_by_its_connection_whoever_it_speaks_for() -> None:
    with pytest.raises(Unauthenticated, match="cannot be read"):  # believed, and then looked at
        presented(a_request("10.1.0.7", says="192.0.2.9"), BEHIND)


def test_without_a_connection_of_its_own_nobody_is_a_proxy() -> None:
    with pytest.raises(Unauthenticated, match="no trusted proxy"):
        presented(a_request("", says="10.1.0.7"), BEHIND)
