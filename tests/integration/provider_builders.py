"""Casemate as it runs, beside an OpenID provider that we did not write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from house_builders import Server, a_house, a_server, casemate
from joserfc.jwk import RSAKey
from oidc_peer_process import CLIENT, KEYED, SECRET

PROVIDER = """
[[provider]]
name = "{name}"
title = "{title}"
issuer = "{issuer}"
client_id = "{client}"
{proof}
tenant = {{ name = "home" }}
roles = {{ claim = "groups", values = {{ clerks = ["user"] }} }}
clearance = {{ claim = "clearance" }}
assurance = {{ minimum = "substantial" }}
{more}
"""


@dataclass
class Place:
    """Casemate and the provider, both running."""

    server: Server
    issuer: str
    folder: Path

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"


@contextmanager
def a_provider(host: str = "127.0.0.1") -> Iterator[tuple[str, subprocess.Popen[str]]]:
    script = Path(__file__).with_name("oidc_peer_process.py")
    process = subprocess.Popen(
        [sys.executable, str(script), host],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


@contextmanager
def a_place(folder: Path, host: str = "127.0.0.1") -> Iterator[Place]:
    """``host``: what the provider is called, for browsers that tell sites apart by their names."""
    with a_provider(host) as (issuer, process):
        with a_house(folder) as house:
            house.installation.gate.perimeter.add(
                house.owner,
                name="login",
                host=host,
                ports=[int(issuer.rpartition(":")[2])],
                jurisdiction="LU",
                ceiling=house.label("unclassified"),
            )
        known = {"client": CLIENT, "proof": 'client_secret = "file:ministry.secret"'}
        keyed = {"client": KEYED, "proof": 'client_key = "file:ministry.pem"'}
        address = 'client_audience = "endpoint"'
        (folder / "providers.toml").write_text(
            PROVIDER.format(
                issuer=issuer, name="ministry", title="Ministry of Specimens", more="", **known
            )
            + PROVIDER.format(
                issuer=issuer, name="apart", title="Apart", more="userinfo = true", **known
            )
            + PROVIDER.format(issuer=issuer, name="keyed", title="Keyed", more=address, **keyed)
        )
        key = folder / "ministry.pem"
        key.write_bytes(RSAKey.generate_key(2048).as_pem(private=True))
        key.chmod(0o600)
        (folder / "settings.toml").write_text('identity_providers = "providers.toml"\n')
        secret = folder / "ministry.secret"
        secret.write_text(SECRET + "\n")
        secret.chmod(0o600)
        with a_server(folder) as server:
            place = Place(server, issuer, folder)
            told, *more = casemate("provider", "list", "--json", data=folder).fine().json
            back = " ".join(one["back"] for one in (told, *more))
            assert process.stdin is not None
            assert process.stdout is not None
            after = f"{place.base}/sign-in"
            keys = more[-1]["keys"]
            process.stdin.write(f"{back}\n{told['logout']}\n{after}\n{keys}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "registered\n"
            yield place


# SAML

NEEDS_XMLSEC = pytest.mark.skipif(
    shutil.which("xmlsec1") is None and not os.environ.get("REQUIRE_PEERS"),
    reason="xmlsec1, which the provider signs with, is not installed: apt install xmlsec1",
)
SAML_PROVIDER = """
[[saml]]
name = "state"
title = "State identity"
metadata = "idp.xml"
person = "urn:oid:0.9.2342.19200300.100.1.1"
tenant = { name = "home" }
roles = { claim = "urn:oid:1.3.6.1.4.1.5923.1.1.1.1", values = { clerk = ["user"] } }
clearance = { claim = "urn:oid:2.5.4.12" }
assurance = { minimum = "substantial" }
keys = ["own.pem"]
"""


def a_saml_key(path: Path) -> None:
    """A key of ours and its certificate, as an operator makes them."""
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=casemate"]
    key, certificate = path.with_suffix(".key"), path.with_suffix(".crt")
    command = [*openssl, "-days", "30", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(key.read_bytes() + certificate.read_bytes())
    path.chmod(0o600)


@contextmanager
def a_saml_place(folder: Path, host: str = "127.0.0.1") -> Iterator[Place]:
    """Casemate beside a SAML provider called ``host``; needs xmlsec1."""
    data = folder / "data"
    script = Path(__file__).with_name("saml_peer_process.py")
    pipe = subprocess.PIPE
    command = [sys.executable, str(script), host, str(folder)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        issuer = process.stdout.readline().strip()
        with a_house(data):
            pass
        shutil.copy(folder / "idp.xml", data)
        a_saml_key(data / "own.pem")
        (data / "providers.toml").write_text(SAML_PROVIDER)
        (data / "settings.toml").write_text('identity_providers = "providers.toml"\n')
        with a_server(data) as running:
            answer = running.http("GET", "/sign-in/with/state/metadata")
            assert answer.headers["content-type"] == "application/samlmetadata+xml"
            (folder / "casemate.xml").write_bytes(answer.body)
            process.stdin.write(f"{folder / 'casemate.xml'}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "registered\n"
            yield Place(running, issuer, data)
        process.stdin.close()
