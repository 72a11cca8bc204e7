"""The server with TLS of its own, and behind a proxy that hands certificates over (RFC 9440)."""

from __future__ import annotations

import base64
import datetime
import http.client
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from certificate_builders import SERVER, Pair, a_certificate, an_authority, loopback
from house_builders import Server, a_house, a_server, casemate, some_papers

NOW = datetime.datetime.now(datetime.UTC)


@dataclass
class Office:
    """A server with TLS, its authorities, and the folder where certificates lie."""

    server: Server
    root: Pair
    folder: Path

    def client(self, pair: Pair | None, *chain: Pair) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(self.folder / "server-root.pem"))
        if pair is not None:
            made.load_cert_chain(pair.write(self.folder / "client.pem", *chain))
        return made

    def get(
        self, path: str, pair: Pair | None = None, *chain: Pair, **headers: str
    ) -> tuple[int, Any]:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.server.port, timeout=30, context=self.client(pair, *chain)
        )
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("GET", path, headers=named)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def alert(self, pair: Pair, *chain: Pair) -> str:
        """How the handshake of this certificate ends."""
        with pytest.raises(ssl.SSLError) as caught:
            self.get("/api/whoami", pair, *chain)
        return str(caught.value)


def write_settings(folder: Path, **settings: str) -> None:
    lines = [f'{name} = "{value}"\n' for name, value in settings.items()]
    (folder / "settings.toml").write_text("".join(lines))


def with_a_robot(folder: Path) -> None:
    with a_house(folder) as house:
        house.person("robot", kind="service")


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("tls")
    data, root = folder / "data", an_authority("Specimen Clients", NOW)
    with_a_robot(data)
    public = an_authority("Specimen Servers", NOW)
    server = a_certificate(public, NOW, names=(loopback(),), purpose=SERVER)
    server.write(data / "server.pem")
    (folder / "server-root.pem").write_bytes(public.pem)
    (data / "clients.pem").write_bytes(root.pem)
    write_settings(data, tls_certificate="server.pem", tls_client_ca="clients.pem")
    with a_server(data) as running:
        casemate("certificate", "bind", "robot", "--dns", "robot.example", data=data).fine()
        yield Office(running, root, folder)


def test_a_service_is_known_by_its_certificate_alone(office: Office) -> None:
    status, who = office.get("/api/whoami", a_certificate(office.root, NOW))
    assert (status, who["name"], who["via"]) == (200, "robot", "certificate")
    status, models = office.get("/v1/models", a_certificate(office.root, NOW))
    assert (status, models["object"]) == (200, "list")


def test_an_intermediate_is_taken_from_the_handshake(office: Office) -> None:
    middle = an_authority("Specimen Middle", NOW, office.root)
    assert office.get("/api/whoami", a_certificate(middle, NOW), middle)[1]["name"] == "robot"


def test_people_come_without_one(office: Office) -> None:
    status, said = office.get("/api/whoami")
    assert (status, said["error"]["what"]) == (401, "No API key was given.")
    assert office.server.said[0].startswith("Casemate is ready at https://127.0.0.1:")


def test_a_certificate_that_is_bound_to_nobody_is_nobodys(office: Office) -> None:
    stranger = a_certificate(office.root, NOW, subject="CN=stranger", names=())
    status, said = office.get("/api/whoami", stranger)
    assert status == 401
    assert said["error"]["what"] == "This client certificate is nobody's here."


def test_bad_certificates_are_turned_away_in_the_handshake_by_name(office: Office) -> None:
    expired = a_certificate(office.root, NOW - datetime.timedelta(days=60), days=30)
    assert "certificate expired" in office.alert(expired).lower().replace("_", " ")
    foreign = a_certificate(an_authority("Elsewhere", NOW), NOW)
    assert "unknown ca" in office.alert(foreign).lower().replace("_", " ")
    alone = a_certificate(None, NOW)
    assert "unknown ca" in office.alert(alone).lower().replace("_", " ")
    server = a_certificate(office.root, NOW, purpose=SERVER)
    assert "unsupported certificate" in office.alert(server).lower().replace("_", " ")


def test_a_key_goes_before_a_certificate(office: Office) -> None:
    status, _ = office.get("/api/whoami", a_certificate(office.root, NOW), Authorization="Bearer x")
    assert status == 401


def test_a_header_is_no_certificate(office: Office) -> None:
    header = ":" + base64.b64encode(a_certificate(office.root, NOW).der).decode() + ":"
    status, said = office.get("/api/whoami", Client_Cert=header)
    assert status == 401
    assert "no trusted proxy" in said["error"]["what"]


def test_a_page_of_another_site_cannot_use_a_browsers_certificate(office: Office) -> None:
    connection = http.client.HTTPSConnection(
        "127.0.0.1",
        office.server.port,
        timeout=30,
        context=office.client(a_certificate(office.root, NOW)),
    )
    headers = {"Sec-Fetch-Site": "cross-site", "Content-Type": "application/json"}
    connection.request("POST", "/api/collections", b'{"name":"x"}', headers)
    answer = connection.getresponse()
    assert answer.status == 403
    assert b"another site" in answer.read()
    connection.close()


def test_old_tls_is_not_spoken(office: Office) -> None:
    made = office.client(None)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        made.minimum_version = made.maximum_version = ssl.TLSVersion.TLSv1_1
    connection = http.client.HTTPSConnection("127.0.0.1", office.server.port, context=made)
    with pytest.raises((ssl.SSLError, OSError)):
        connection.request("GET", "/healthz")
    connection.close()


def test_a_server_whose_certificate_cannot_be_used_does_not_start(tmp_path: Path) -> None:
    write_settings(tmp_path, tls_certificate="none.pem")
    assert "tls_certificate" in casemate("up", "--port", "0", data=tmp_path).refused()


# Behind a proxy


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("proxy")
    data, root = folder / "data", an_authority("Specimen Clients", NOW)
    with_a_robot(data)
    (data / "clients.pem").write_bytes(root.pem)
    write_settings(data, tls_client_ca="clients.pem", trusted_proxies="127.0.0.1, 10.1.0.0/16")
    with a_server(data) as running:
        casemate("certificate", "bind", "robot", "--subject", SUBJECT, data=data).fine()
        yield Office(running, root, folder)


SUBJECT = "CN=robot.example,O=Specimens,C=LU"


def handed(office: Office, *pairs: Pair, **more: str) -> tuple[int, Any]:
    fields = [":" + base64.b64encode(pair.der).decode() + ":" for pair in pairs]
    headers = {"Client-Cert": fields[0]} if fields else {}
    if fields[1:]:
        headers["Client-Cert-Chain"] = ", ".join(fields[1:])
    answer = office.server.http("GET", "/api/whoami", headers={**headers, **more})
    return answer.status, answer.json


def test_a_proxy_hands_the_certificate_over(behind: Office) -> None:
    assert handed(behind, a_certificate(behind.root, NOW))[1]["name"] == "robot"
    middle = an_authority("Specimen Middle", NOW, behind.root)
    assert handed(behind, a_certificate(middle, NOW), middle, behind.root)[1]["name"] == "robot"


def test_a_proxy_that_says_for_whom_it_speaks_is_a_proxy_still(behind: Office) -> None:
    pair = a_certificate(behind.root, NOW)
    status, said = handed(behind, pair, **{"X-Forwarded-For": "192.0.2.7"})
    assert (status, said["name"]) == (200, "robot")


def test_what_a_proxy_hands_over_is_checked_again_and_refused_by_name(behind: Office) -> None:
    month_ago = NOW - datetime.timedelta(days=60)
    for pair, why in (
        (a_certificate(behind.root, month_ago, days=30), "has expired"),
        (a_certificate(an_authority("Elsewhere", NOW), NOW), "by an authority that is trusted"),
        (a_certificate(behind.root, NOW, subject="CN=stranger"), "is nobody's here"),
    ):
        status, said = handed(behind, pair)
        assert status == 401
        assert why in said["error"]["what"]


@pytest.mark.parametrize(
    "field", ["", ":", "::x", "MIIB", ":MII*:", ":MIIB:;a=1", ":MIIB:, :MIIB:", ":" + "A" * 70_000]
)
def test_a_malformed_header_is_refused(behind: Office, field: str) -> None:
    answer = behind.server.http("GET", "/api/whoami", headers={"Client-Cert": field})
    assert answer.status in (400, 401, 431)
    assert b"robot" not in answer.body


def test_a_chain_without_a_certificate_is_refused(behind: Office) -> None:
    header = {"Client-Cert-Chain": ":" + base64.b64encode(behind.root.der).decode() + ":"}
    answer = behind.server.http("GET", "/api/whoami", headers=header)
    assert answer.status == 401
    assert "malformed" in answer.json["error"]["what"]


def test_commands_bind_list_and_unbind(behind: Office) -> None:
    data = behind.server.folder
    file = behind.folder / "mine.pem"
    mine = a_certificate(None, NOW)
    file.write_bytes(mine.pem)
    made = casemate(
        "certificate", "bind", "robot", "--file", file, "--json", data=data
    ).fine().json  # fmt: skip
    assert handed(behind, mine)[1]["name"] == "robot"
    listed = casemate("certificate", "list", "--json", data=data).fine().json
    assert {one["kind"] for one in listed} == {"subject", "thumbprint"}
    casemate("certificate", "unbind", made["id"], data=data).fine()
    assert handed(behind, mine)[0] == 401
    both = casemate("certificate", "bind", "robot", "--dns", "a", "--uri", "b", data=data)
    assert both.code == 2
    some_papers(behind.folder / "papers")
    wrong = casemate(
        "certificate", "bind", "robot", "--file", behind.folder / "papers" / "fees.md", data=data
    )
    assert "no certificate" in wrong.refused()
