"""HTTP/2 with clients that others wrote: curl, OpenAI's, h2load and the test suite h2spec.

Debian's packages curl and nghttp2-client: without one its tests are skipped, with REQUIRE_PEERS=1
they fail. h2spec (github.com/summerwind/h2spec) is in no package; where it is found, it is run.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from certificate_builders import SERVER, Pair, a_certificate, an_authority, loopback
from house_builders import DOG_TAX, FEES, a_house, a_server, casemate
from peer_programs import program

NOW = datetime.datetime.now(datetime.UTC)
FLOOD = 3 << 20
PAGE = "/api/openapi.json"  # large enough for every test of windows


@dataclass
class Office:
    """A server with TLS, the key of its owner, and where the authorities lie."""

    url: str
    key: str
    folder: Path
    clients: Pair

    @property
    def root(self) -> Path:
        return self.folder / "server-root.pem"

    def context(self, pair: Pair | None = None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(self.root))
        if pair is not None:
            made.load_cert_chain(pair.write(self.folder / "client.pem"))
        return made


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("http2")
    data = folder / "data"
    with a_house(data) as house:
        house.add("notes", fees=FEES)
        house.person("robot", kind="service")
        key = house.key(house.owner.principal.name)
    authority, clients = (an_authority(name, NOW) for name in ("Servers", "Clients"))
    a_certificate(authority, NOW, names=(loopback(),), purpose=SERVER).write(data / "server.pem")
    (folder / "server-root.pem").write_bytes(authority.pem)
    (data / "clients.pem").write_bytes(clients.pem)
    (data / "settings.toml").write_text(
        'tls_certificate = "server.pem"\ntls_client_ca = "clients.pem"\n'
    )
    with a_server(data) as running:
        casemate("certificate", "bind", "robot", "--dns", "robot.example", data=data).fine()
        yield Office(f"https://127.0.0.1:{running.port}", key, folder, clients)


def curl(office: Office, path: str, *options: str, sent: bytes = b"") -> tuple[str, str, bytes]:
    """Version of HTTP, status and body."""
    command = [program("curl"), "--silent", "--show-error", "--cacert", str(office.root)]
    command += ["--max-time", "60", "--write-out", "\n%{http_version} %{http_code}"]
    done = subprocess.run(
        [*command, *options, office.url + path], input=sent, capture_output=True, check=True
    )
    body, _, told = done.stdout.rpartition(b"\n")
    version, status = told.decode().split()
    return version, status, body


def test_curl_agrees_on_http2_under_tls_and_on_http11_where_it_knows_no_other(
    office: Office,
) -> None:
    assert curl(office, "/healthz")[:2] == ("2", "200")
    assert curl(office, "/healthz", "--http1.1")[:2] == ("1.1", "200")


def test_curl_begins_with_http2_over_plain_http(tmp_path: Path) -> None:
    with a_house(tmp_path / "data"):
        pass
    with a_server(tmp_path / "data") as running:
        plain = Office(f"http://127.0.0.1:{running.port}", "", tmp_path, an_authority("None", NOW))
        plain.root.write_bytes(plain.clients.pem)
        assert curl(plain, "/healthz", "--http2-prior-knowledge")[:2] == ("2", "200")
        # An upgrade from HTTP/1.1 is not offered, and so not taken.
        assert curl(plain, "/healthz", "--http2")[:2] == ("1.1", "200")


def test_curl_is_refused_a_body_that_is_too_large_without_sending_it_all(office: Office) -> None:
    version, status, body = curl(
        office,
        "/v1/chat/completions",
        *("-H", f"Authorization: Bearer {office.key}", "-H", "Content-Type: application/json"),
        *("--data-binary", "@-"),
        sent=b" " * FLOOD,
    )
    assert (version, status) == ("2", "413")
    assert "larger" in json.loads(body)["error"]["message"]


def test_the_http11_that_a_setting_leaves_is_all_there_is(office: Office, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with a_house(data):
        pass
    shutil.copy(office.folder / "data" / "server.pem", data / "server.pem")
    (data / "settings.toml").write_text('tls_certificate = "server.pem"\nhttp2 = false\n')
    with a_server(data) as running:
        other = Office(f"https://127.0.0.1:{running.port}", "", office.folder, office.clients)
        assert curl(other, "/healthz")[:2] == ("1.1", "200")


def asking(office: Office, **more: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(http1=False, http2=True, verify=office.context(), timeout=60, **more)


def test_openais_client_streams_many_answers_over_one_connection(office: Office) -> None:
    async def streamed(client: openai.AsyncOpenAI) -> str:
        stream = await client.chat.completions.create(
            model="documents", messages=[{"role": "user", "content": DOG_TAX}], stream=True
        )
        return "".join([piece.choices[0].delta.content or "" async for piece in stream])

    async def conversation() -> list[str]:
        one = httpx2.Limits(max_connections=1)
        async with asking(office, limits=one) as http:
            client = openai.AsyncOpenAI(
                base_url=f"{office.url}/v1", api_key=office.key, http_client=http, max_retries=0
            )
            raw = await client.models.with_raw_response.list()
            assert raw.http_response.http_version == "HTTP/2"
            return list(await asyncio.gather(*(streamed(client) for _ in range(12))))

    answers = asyncio.run(conversation())
    assert len(answers) == 12
    assert all("40 euros" in answer for answer in answers)


def test_errors_are_as_openais_client_reads_them(office: Office) -> None:
    with httpx2.Client(http1=False, http2=True, verify=office.context()) as http:
        client = openai.OpenAI(base_url=f"{office.url}/v1", api_key="no key", http_client=http)
        with pytest.raises(openai.AuthenticationError):
            client.models.list()


def test_a_service_is_known_by_its_certificate(office: Office) -> None:
    context = office.context(a_certificate(office.clients, NOW))
    with httpx2.Client(http1=False, http2=True, verify=context) as http:
        answer = http.get(f"{office.url}/api/whoami")
        assert (answer.http_version, answer.status_code) == ("HTTP/2", 200)
        assert (answer.json()["name"], answer.json()["via"]) == ("robot", "certificate")


def test_h2load_finds_every_request_answered(office: Office) -> None:
    command = [program("h2load"), "--requests", "2000", "--clients", "4", "-m", "100"]
    ran = subprocess.run(
        [*command, f"{office.url}/healthz"], capture_output=True, text=True, check=True
    )
    assert re.search(r"2000 succeeded, 0 failed, 0 errored", ran.stdout), ran.stdout


def test_the_suite_of_h2spec_passes_whole(office: Office) -> None:
    suite = shutil.which("h2spec")
    if suite is None:
        pytest.skip("h2spec is in no package; put it on the PATH to run it")
    port = office.url.rpartition(":")[2]
    ran = subprocess.run(
        [suite, "-h", "127.0.0.1", "-p", port, "--tls", "--insecure", "--strict", "-P", PAGE],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout
    assert re.search(r"\b0 skipped, 0 failed", ran.stdout)
