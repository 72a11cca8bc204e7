"""A witness over HTTP, as C2SP tlog-witness and tlog-cosignature say (C2SP/C2SP, 5ba5ee8).

The course of the exchanges follows what litewitness (FiloSottile/torchwood) is tested with: a log
of 1, 3 and 5 entries; a wrong signature, an unknown log, an empty and a wrong proof, a stale old
size, and the size asked for with "old 0". The log, its keys and every byte sent are made here.
litewitness answers an unknown log with 403; the specification demands 404, and so do we.
"""

from __future__ import annotations

from base64 import b64encode

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from casemate.api.witness import app
from casemate.cli.main import casemate
from casemate.ledger.cosignature import Cosigner, cosigned
from casemate.ledger.merkle import consistency_proof, root_hash
from casemate.ledger.note import Note, Signer
from casemate.ledger.proof import Checkpoint
from casemate.ledger.witness import MAX_BODY, Witness

NOW = 1_790_000_000
LOG = Signer.from_seed("log.example/tree", b"\x11" * 32)
COSIGNER = Cosigner.from_seed("witness.example/w1", b"\x22" * 32)
LEAVES = [bytes([42, number]) + bytes(30) for number in range(5)]
PUBLISHED = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q"
    "1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2o"
    "yin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()


def a_checkpoint(size: int, signer: Signer = LOG, origin: str = LOG.name) -> bytes:
    return Checkpoint(origin, size, root_hash(LEAVES[:size])).sign([signer])


def a_proof(old: int, new: int) -> list[bytes]:
    return consistency_proof(
        old, new, lambda h, index: root_hash(LEAVES[:new][index << h : (index + 1) << h])
    )


def a_request(old: int, raw: bytes, proof: list[bytes]) -> bytes:
    lines = [f"old {old}", *(b64encode(one).decode() for one in proof)]
    return "\n".join(lines).encode() + b"\n\n" + raw


@pytest.fixture
def witness(tmp_path):
    found = Witness(tmp_path, COSIGNER, lambda: NOW)
    found.add_log((LOG.verifier,))
    return found


@pytest.fixture
def client(witness):
    with TestClient(app(witness)) as client:
        yield client


def test_the_published_example_of_a_cosignature_has_its_time_and_form():
    log, cosignature = Note.parse(PUBLISHED).signatures
    assert (log.name, len(log.value)) == ("example.com/behind-the-sofa", 64)
    assert (cosignature.name, len(cosignature.value)) == ("witness.example.com/w1", 8 + 64)
    assert int.from_bytes(cosignature.value[:8], "big") == 1679315147


def test_a_whole_exchange(client):
    def answer(old, raw, proof):
        return client.post("/add-checkpoint", content=a_request(old, raw, proof))

    first = answer(0, a_checkpoint(1), [])
    assert (first.status_code, first.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert first.headers["cache-control"] == "no-store"
    assert first.text.startswith("— witness.example/w1 ")
    assert first.text.endswith("\n")
    assert cosigned(a_checkpoint(1) + first.content, [COSIGNER.verifier])[0][1] == NOW

    signed = a_checkpoint(3)
    text, line = signed.split(b"\n\n")
    forged = text + b"\n\n" + line.replace(line[-9:-5], b"AAAA")
    stranger = Signer.from_seed("log.example/unknown", b"\x33" * 32)
    wrong = [*a_proof(1, 3)[:-1], bytes(32)]
    assert answer(1, forged, a_proof(1, 3)).status_code == 403
    assert answer(1, a_checkpoint(3, stranger), a_proof(1, 3)).status_code == 403
    unknown = a_checkpoint(3, stranger, stranger.name)
    assert answer(1, unknown, a_proof(1, 3)).status_code == 404
    assert answer(1, signed, []).status_code == 422
    assert answer(1, signed, wrong).status_code == 422
    assert answer(4, signed, []).status_code == 400
    assert answer(1, signed, a_proof(1, 3)).status_code == 200

    for old, size in [(1, 5), (0, 5), (2, 3)]:
        stale = answer(old, a_checkpoint(size), a_proof(old, size))
        assert (stale.status_code, stale.content) == (409, b"3\n")
        assert stale.headers["content-type"] == "text/x.tlog.size"
    assert answer(3, a_checkpoint(5), a_proof(3, 5)).status_code == 200
    assert answer(5, a_checkpoint(5), []).status_code == 200
    other = Checkpoint(LOG.name, 5, bytes(32)).sign([LOG])
    assert answer(5, other, []).status_code == 422
    assert answer(0, a_checkpoint(5), []).content == b"5\n"


@pytest.mark.parametrize("body", [b"", b"old 0\n\n", b"\xff\xfe", b"old 00\n\n" + a_checkpoint(1)])
def test_a_malformed_request_is_answered_with_400(client, body):
    assert client.post("/add-checkpoint", content=body).status_code == 400


def test_a_body_above_the_limit_is_not_read_to_its_end(client):
    taken = 0

    def endless():
        nonlocal taken
        for _ in range(40):
            taken += 1
            yield b"x" * (MAX_BODY // 10)

    assert client.post("/add-checkpoint", content=endless()).status_code == 413
    announced = {"content-length": str(MAX_BODY + 1)}
    assert client.post("/add-checkpoint", content=b"", headers=announced).status_code == 413


def test_only_post_submits(client):
    answer = client.get("/add-checkpoint")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_monitors_get_the_latest_checkpoint_under_the_hash_of_the_origin(client, tmp_path):
    (path,) = (tmp_path / "logs").glob("*.json")
    address = f"/{path.stem}/checkpoint"
    assert client.get(address).status_code == 404
    client.post("/add-checkpoint", content=a_request(0, a_checkpoint(3), []))
    found = client.get(address)
    assert Checkpoint.open(found.content, LOG.verifier).size == 3
    assert cosigned(found.content, [COSIGNER.verifier])


def test_the_first_page_says_what_this_is(client):
    assert COSIGNER.vkey in client.get("/").text


def test_a_prefix_stands_before_every_address(witness):
    with TestClient(app(witness, "/some/prefix/")) as client:
        content = a_request(0, a_checkpoint(1), [])
        assert client.post("/some/prefix/add-checkpoint", content=content).status_code == 200
        assert client.post("/add-checkpoint", content=content).status_code == 404
        assert COSIGNER.vkey in client.get("/some/prefix/").text


def test_a_damaged_memory_is_answered_with_500_and_no_signature(client, tmp_path):
    (path,) = (tmp_path / "logs").glob("*.json")
    path.write_bytes(b"{")
    answer = client.post("/add-checkpoint", content=a_request(0, a_checkpoint(1), []))
    assert answer.status_code == 500
    assert "—" not in answer.text


def test_the_commands_run_a_witness_and_choose_its_logs(tmp_path):
    folder, served = tmp_path / "w", []

    def serve(path, name, host, port):
        Witness.create(path, name, lambda: NOW)
        served.append((path, name, host, port))

    def run(*words):
        ended = CliRunner().invoke(casemate, ["witness", *words], obj={"serve_witness": serve})
        return ended.exit_code, ended.stdout

    data = ("--data", str(folder))
    assert run("up", *data, "--name", "witness.example/w1", "--port", "0")[0] == 0
    assert served == [(folder, "witness.example/w1", "127.0.0.1", 0)]
    assert run("key", *data)[1].startswith("witness.example/w1+")
    assert "No log is followed yet." in run("log", "list", *data)[1]
    assert "from size 0" in run("log", "add", *data, LOG.vkey)[1]
    assert LOG.name in run("log", "list", *data, "--json")[1]
    assert run("log", "add", *data, "rubbish")[0] == 1
    assert run("log", "remove", *data, LOG.name)[0] == 0
    assert run("log", "remove", *data, "log.example/none")[0] == 1
    assert run("key")[0] == 2
