"""Workers speak TLS themselves, and who comes with a certificate is known in every process."""

from __future__ import annotations

import datetime
import http.client
import json
import ssl
from pathlib import Path
from typing import Any

from certificate_builders import SERVER, Pair, a_certificate, a_list, an_authority, loopback
from house_builders import Server, a_house, a_server, casemate
from model_server import ModelServer, a_script
from worker_builders import MESSAGES, furnished, only, workers

NOW = datetime.datetime.now(datetime.UTC)
SETTINGS = """\
workers = 2
tls_certificate = "server.pem"
tls_client_ca = "clients.pem"
tls_client_crl = "clients.crl"
"""


def asked(
    server: Server, folder: Path, pair: Pair, method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    made = ssl.create_default_context(cafile=str(folder / "server-root.pem"))
    made.load_cert_chain(pair.write(folder / "client.pem"))
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=30, context=made)
    try:
        content = None if body is None else json.dumps(body).encode()
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_certificate_opens_and_its_revocation_closes_in_every_worker(tmp_path: Path) -> None:
    data, root = tmp_path / "data", an_authority("Specimen Clients", NOW)
    public = an_authority("Specimen Servers", NOW)
    robot = a_certificate(root, NOW)
    chat = {"model": "chat", "messages": MESSAGES}
    with ModelServer() as model:
        model.pieces = [a_script("It is ", "40 euros.")]
        furnished(data, model)
        with a_house(data) as house:
            house.person("robot", kind="service")
        server_pair = a_certificate(public, NOW, names=(loopback(),), purpose=SERVER)
        server_pair.write(data / "server.pem")
        (tmp_path / "server-root.pem").write_bytes(public.pem)
        (data / "clients.pem").write_bytes(root.pem)
        (data / "clients.crl").write_bytes(a_list(root, NOW))
        (data / "settings.toml").write_text(SETTINGS, encoding="utf-8")
        with a_server(data) as server:
            casemate("certificate", "bind", "robot", "--dns", "robot.example", data=data).fine()

            def statuses() -> list[int]:
                return [
                    asked(server, tmp_path, robot, "POST", "/v1/chat/completions", chat)[0]
                    for _ in range(2)
                ]

            for pid in workers(server):
                with only(pid, server):
                    status, who = asked(server, tmp_path, robot, "GET", "/api/whoami")
                    assert (status, who["name"], who["via"]) == (200, "robot", "certificate")
                    assert statuses() == [200, 200]
            (data / "clients.crl").write_bytes(a_list(root, NOW, robot))
            for pid in workers(server):
                with only(pid, server):
                    assert statuses() == [401, 401]
                    assert asked(server, tmp_path, robot, "GET", "/api/whoami")[0] == 401
            anybody = http.client.HTTPSConnection(
                "127.0.0.1",
                server.port,
                context=ssl.create_default_context(cafile=str(tmp_path / "server-root.pem")),
            )
            anybody.request("GET", "/healthz")
            assert anybody.getresponse().read() == b"alive\n"
            anybody.close()
    with a_house(data) as house:
        # Each list is told of once, however many processes read it.
        assert len([one for one in house.entries() if one["kind"] == "certificate.lists_read"]) == 2
