"""TLS of the server: settings that cannot work are refused by name, before anything starts."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from certificate_builders import a_certificate
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from casemate import settings
from casemate.api import tls
from casemate.errors import Invalid
from casemate.settings import Settings

NOW = datetime.now(UTC)


def test_without_a_certificate_there_is_no_tls(tmp_path: Path) -> None:
    assert tls.context(Settings(), tmp_path) is None
    assert Settings().base == "http://127.0.0.1:8470"


def test_a_certificate_makes_the_address_https(tmp_path: Path) -> None:
    a_certificate(None, NOW).write(tmp_path / "server.pem")
    chosen = Settings(tls_certificate="server.pem", host="::1")
    made = tls.context(chosen, tmp_path)
    assert made is not None
    assert (made.minimum_version, made.verify_mode) == (ssl.TLSVersion.TLSv1_2, ssl.CERT_NONE)
    assert chosen.base == "https://[::1]:8470"
    asking = tls.context(
        Settings(tls_certificate="server.pem", tls_client_ca="server.pem"), tmp_path
    )
    assert asking is not None
    assert asking.verify_mode == ssl.CERT_OPTIONAL


@pytest.mark.parametrize(
    ("chosen", "mode", "why"),
    [
        ({"tls_certificate": "none.pem"}, 0o600, "tls_certificate"),
        ({"tls_certificate": "server.pem"}, 0o644, "chmod 600"),
        ({"tls_certificate": "server.pem", "tls_key": "none.pem"}, 0o600, "tls_key"),
        ({"tls_certificate": "server.pem", "tls_key": "other.pem"}, 0o600, "belong together"),
        ({"tls_certificate": "server.pem", "tls_key": "locked.pem"}, 0o600, "without a password"),
        ({"tls_certificate": "server.pem", "tls_client_ca": "no.pem"}, 0o600, "tls_client_ca"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_its_setting(
    tmp_path: Path, chosen: dict[str, str], mode: int, why: str
) -> None:
    mine = a_certificate(None, NOW)
    mine.write(tmp_path / "server.pem").chmod(mode)
    a_certificate(None, NOW).write(tmp_path / "other.pem")
    locked = mine.key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"moien")
    )
    (tmp_path / "locked.pem").write_bytes(locked)
    (tmp_path / "locked.pem").chmod(0o600)
    with pytest.raises(Invalid) as caught:
        tls.context(Settings(**chosen), tmp_path)  # type: ignore[arg-type]
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("proxies", "peer", "trusted"),
    [
        ("", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("10.1.0.0/16, ::1", "10.1.2.3", True),
        ("10.1.0.0/16, ::1", "::1", True),
        ("10.1.0.0/16", "10.2.0.1", False),
        ("10.1.0.0/16", "::ffff:10.1.0.1", False),
        ("10.1.0.0/16", "proxy", False),
    ],
)
def test_a_proxy_is_trusted_by_its_address(proxies: str, peer: str, trusted: bool) -> None:
    assert Settings(trusted_proxies=proxies).trusts(peer) is trusted


@pytest.mark.parametrize("proxies", ["proxy.example", "10.1.0.1/16", "10.1.0.0/33", "*"])
def test_proxies_are_addresses_and_networks(tmp_path: Path, proxies: str) -> None:
    with pytest.raises(Invalid, match="trusted_proxies"):
        settings.load(tmp_path, {}, trusted_proxies=proxies)
