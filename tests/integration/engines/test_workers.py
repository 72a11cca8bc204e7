"""Several processes that serve are one server: the same answers, one ledger, the same limits."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from house_builders import DOG_TAX, FEES, Server, a_house, a_server, casemate
from http2_builders import Answer as H2Answer
from http2_builders import Client
from http2_builders import a_request as a_field_list
from model_server import ModelServer, a_script
from worker_builders import (
    a_stream,
    chat,
    furnished,
    only,
    told,
    workers,
)

from casemate.ledger.verify import verify

LATER = re.compile(
    rb"[a-z]+[_-][0-9a-f]{16,}|\b17\d{8}\b|20\d\d-\d\d-\d\dT[0-9:.]+Z|"
    rb'"(?:created|created_at|seconds|entry|admitted_entry|finished_entry)":[0-9.]+|'
    rb"127\.0\.0\.1:\d+|[0-9a-f]{32,}"
)


@dataclass
class Two:
    """A server with two workers, and the key of its owner."""

    server: Server
    key: str
    data: Path


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    data = tmp_path_factory.mktemp("two") / "data"
    with ModelServer() as model:
        model.pieces = [a_script("It is ", "40 euros.")]
        key = furnished(data, model)
        with a_server(data, "--workers", "2") as server:
            yield Two(server, key, data)


def test_each_worker_answers_in_both_dialects_and_every_receipt_is_of_the_one_ledger(
    two: Two,
) -> None:
    runs = []
    for pid in workers(two.server):
        with only(pid, two.server):
            for dialect in ("openai", "mistral"):
                answer = chat(two.server, two.key, dialect)
                assert answer.status == 200
                assert b"It is 40 euros." in answer.body
                runs.append(answer.headers["x-casemate-run"])
                with a_stream(two.server, two.key, dialect) as stream:
                    runs.append(stream.headers["x-casemate-run"])
                    assert told(stream).endswith(b"data: [DONE]\n\n")
    assert len(set(runs)) == 8
    vkey = casemate("ledger", "key", data=two.data).fine().out.strip().splitlines()[0]
    for run in runs:
        receipt = two.server.http("GET", f"/api/runs/{run}/receipt", key=two.key)
        assert verify(receipt.body, vkey).facts["outcome"] == "unanswered"
    assert casemate("ledger", "check", data=two.data).code == 0


def a_request(method: str, path: str, *headers: str, body: bytes = b"", key: str = "") -> bytes:
    sent = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers]
    sent += [f"Authorization: Bearer {key}"] if key else []
    if body:
        sent.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*sent, "", ""]).encode() + body


def exchanged(port: int, request: bytes) -> bytes:
    """All that comes back, with what differs from time to time taken out."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(request)
        came = b"".join(iter(lambda: client.recv(1 << 16), b""))
    head, _, body = came.partition(b"\r\n\r\n")
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(VARYING)]
    return LATER.sub(b"...", b"\r\n".join([*kept, b"", body]))


VARYING = (b"date:", b"x-casemate-run:", b"content-length:")  # numbers have more or fewer digits
JSON = "Content-Type: application/json"
FORM = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
UPLOAD = (
    FORM
    + b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    + FEES.encode() * 9_000
    + b"\r\n--b--\r\n"
)
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
PERSON = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
    "userName": "new",
    "externalId": "7",
}


def asked(model: str, **more: object) -> bytes:
    messages = [{"role": "user", "content": DOG_TAX}]
    return json.dumps({"model": model, "messages": messages, **more}).encode()


def exchanges(key: str, low: str) -> dict[str, bytes]:
    """Requests of every kind. ``low``: the key of somebody who may not ask."""
    chat_path, stream = "/v1/chat/completions", "Accept: text/event-stream"
    run = json.dumps({"question": DOG_TAX}).encode()
    multipart = "Content-Type: multipart/form-data; boundary=b"
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(asked("documents")), asked("documents"))
    return {
        "a page": a_request("GET", "/sign-in"),
        "a way to a page": a_request("GET", "/"),
        "a page that is not there": a_request("GET", "/nowhere"),
        "nothing": a_request("GET", "/v1/nowhere", key=key),
        "a list": a_request("GET", "/v1/models", key=key),
        "a description": a_request("GET", "/api/openapi.json"),
        "health": a_request("GET", "/healthz"),
        "health without a body": a_request("HEAD", "/healthz"),
        "readiness": a_request("GET", "/readyz"),
        "an upload": a_request("POST", "/v1/files", multipart, body=UPLOAD, key=key),
        "files": a_request("GET", "/v1/files", key=key),
        "a run here": a_request("POST", "/api/runs", JSON, body=run, key=key),
        "a run here, told": a_request("POST", "/api/runs", JSON, stream, body=run, key=key),
        "a chat with papers": a_request("POST", chat_path, JSON, body=asked("documents"), key=key),
        "a chat with papers, told": a_request(
            "POST", chat_path, JSON, body=asked("documents", stream=True), key=key
        ),
        "a chat with tools": a_request(
            "POST", chat_path, JSON, body=asked("chat", tools=[TOOL]), key=key
        ),
        "a relayed chat": a_request("POST", chat_path, JSON, body=asked("chat"), key=key),
        "a body in pieces": a_request(
            "POST", chat_path, JSON, "Transfer-Encoding: chunked", key=key
        )
        + chunked,
        "somebody unknown": a_request("POST", chat_path, JSON, body=asked("chat"), key="cm_x_y"),
        "nobody": a_request("POST", chat_path, JSON, body=asked("chat")),
        "somebody who may not": a_request("POST", chat_path, JSON, body=asked("chat"), key=low),
        "a model that is not there": a_request(
            "POST", chat_path, JSON, body=asked("none"), key=key
        ),
        "no JSON": a_request("POST", chat_path, JSON, body=b"{", key=key),
        "another method": a_request("GET", chat_path, key=key),
        "a body that is announced and too large": a_request(
            "POST", "/v1/embeddings", JSON, "Expect: 100-continue", "Content-Length: 9999999999",
            key=key,
        ),
        "provisioning": a_request(
            "POST", "/scim/v2/Users", "Content-Type: application/scim+json",
            body=json.dumps(PERSON).encode(), key=key,
        ),
        "metrics from elsewhere": a_request("GET", "/metrics", "X-Forwarded-For: 10.0.0.1"),
    }  # fmt: skip


def test_whatever_is_asked_is_answered_as_one_process_answers_it(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    with ModelServer() as model:
        model.pieces = [a_script("It is ", "40 euros.")]
        key = furnished(data, model)
        with a_house(data) as house:
            house.person("Low", roles=("auditor",))
            low = house.key("Low")
        shutil.copytree(data, copy)
        found: list[dict[str, bytes]] = []
        for folder, number in ((data, "1"), (copy, "2")):
            with a_server(folder, "--workers", number) as server:
                found.append(
                    {
                        name: exchanged(server.port, request)
                        for name, request in exchanges(key, low).items()
                    }
                )
                assert server.stop() == 0
    one, several = found
    for name, came in one.items():
        assert several[name] == came, name
    kinds = []
    for folder in (data, copy):
        with a_house(folder) as house:
            kinds.append([entry["kind"] for entry in house.entries()])
    assert kinds[0] == kinds[1]
    assert "refused" in kinds[0]


def test_over_one_connection_of_http_2_come_a_relayed_stream_a_page_and_an_upload(
    two: Two,
) -> None:
    """All at a time, one of them the worker's own answer and the others the owner's."""

    async def ask() -> list[H2Answer]:
        client = Client(*await asyncio.open_connection("127.0.0.1", two.server.port))
        client.begin()
        mine = {"authorization": f"Bearer {two.key}"}
        sent = {**mine, "content_type": "application/json"}
        form = {**mine, "content_type": "multipart/form-data; boundary=b"}
        path = "/v1/chat/completions"
        try:
            relayed = client.ask(
                a_field_list(path, method="POST", **sent), asked("chat", stream=True)
            )
            papers = client.ask(a_field_list(path, method="POST", **sent), asked("documents"))
            page = client.ask(a_field_list("/sign-in"))
            upload = client.ask(a_field_list("/v1/files", method="POST", **form), ends=False)
            await client.upload(upload, UPLOAD)
            return [await client.answer(one) for one in (relayed, papers, page, upload)]
        finally:
            client.writer.close()

    relayed, papers, page, upload = asyncio.run(asyncio.wait_for(ask(), 60))
    assert [one.status for one in (relayed, papers, page, upload)] == [200] * 4
    assert relayed.body.endswith(b"data: [DONE]\n\n")
    assert b"The dog tax is 40 euros a year." in papers.body
    assert b"</html>" in page.body
    assert json.loads(upload.body)["bytes"] == 9_000 * len(FEES.encode())
