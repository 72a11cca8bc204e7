"""Witnesses and logs as processes of their own, over real sockets."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from house_builders import Server, a_server, an_environment, command

from casemate.ledger.cosignature import CosignatureVerifier, cosigned
from casemate.ledger.proof import Proof
from casemate.ledger.receipt import Receipt
from casemate.ledger.verify import verify

NOTE = "The cellar is rinsed on the first Monday of each month.\n"
QUESTION = "When is the cellar rinsed?"


def run(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words, data=data), capture_output=True, text=True, env=an_environment()
    )


def done(data: Path, *words: str) -> str:
    ended = run(data, *words)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@contextmanager
def a_witness(folder: Path, *logs: str) -> Iterator[tuple[str, str]]:
    """A running witness that follows ``logs``: its address and its key."""
    process = subprocess.Popen(
        command("witness", "up", "--data", str(folder), "--port", "0", data=folder),
        stdout=subprocess.PIPE,
        text=True,
        env=an_environment(PYTHONUNBUFFERED="1"),
    )
    try:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(3)]
        if logs:
            done(folder, "witness", "log", "add", "--data", str(folder), *logs)
        yield told[0].rsplit(" ", 1)[1], told[1].removeprefix("Its key: ")
    finally:
        process.kill()
        process.communicate()


def a_log(folder: Path, papers: Path) -> str:
    """A data folder with a document; its key."""
    papers.mkdir(exist_ok=True)
    (papers / "cellar.txt").write_text(NOTE, encoding="utf-8")
    done(folder, "add", str(papers), "--collection", "notes")
    return done(folder, "ledger", "key").strip()


def have_witnessed(data: Path, witnesses: list[tuple[str, str]], failing: str = "closed") -> None:
    lines = []
    for number, (url, vkey) in enumerate(witnesses):
        place = urlsplit(url)
        done(
            *(data, "perimeter", "add", f"witness-{number}", "--host", str(place.hostname)),
            *("--port", str(place.port), "--jurisdiction", "LU", "--ceiling", "unclassified"),
        )
        lines.append(f"[[witness]]\nurl = {json.dumps(url)}\nvkey = {json.dumps(vkey)}\n")
    (data / "witnesses.toml").write_text("\n".join(lines), encoding="utf-8")
    settings = f'witnesses = "witnesses.toml"\nwitnesses_needed = {len(witnesses)}\n'
    settings += f'witnesses_failing = "{failing}"\n'
    (data / "settings.toml").write_text(settings, encoding="utf-8")


def receipt_of(data: Path, place: Path) -> bytes:
    done(data, "ask", QUESTION, "--receipt", str(place))
    return place.read_bytes()


def seen_by(receipt: bytes, vkey: str) -> int:
    proof = Proof.parse(Receipt.parse(receipt).finished.proof)
    return len(cosigned(proof.checkpoint, [CosignatureVerifier.parse(vkey)]))


def entries(data: Path, kind: str) -> list[dict[str, Any]]:
    found = json.loads(done(data, "ledger", "search", "--kind", kind, "--json"))
    return [one["entry"] for one in found]


def test_two_logs_witness_each_other(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    keys = [a_log(data, tmp_path / "papers") for data in (ours, theirs)]
    with (
        a_witness(tmp_path / "w1", keys[1]) as by_us,
        a_witness(tmp_path / "w2", keys[0]) as by_them,
    ):
        have_witnessed(ours, [by_them])
        have_witnessed(theirs, [by_us])
        for data, key, witness in ((ours, keys[0], by_them), (theirs, keys[1], by_us)):
            with a_server(data):
                receipt = receipt_of(data, tmp_path / "receipt.json")
            assert seen_by(receipt, witness[1]) == 1
            assert verify(receipt, key)
            finished = json.loads(Receipt.parse(receipt).finished.entry)
            assert finished["witnesses"] == {"of": 1, "needed": 1, "failing": "closed"}


@pytest.mark.parametrize("failing", ["open", "closed"])
def test_a_witness_that_is_gone_fails_as_was_chosen(tmp_path: Path, failing: str) -> None:
    data = tmp_path / "data"
    key = a_log(data, tmp_path / "papers")
    with a_witness(tmp_path / "w", key) as witness:
        have_witnessed(data, [witness], failing)
        assert seen_by(receipt_of(data, tmp_path / "r1.json"), witness[1]) == 1
    ended = run(data, "ask", QUESTION, "--receipt", str(tmp_path / "r2.json"))
    if failing == "closed":
        assert ended.returncode == 1
        assert "witness" in ended.stderr
        assert not (tmp_path / "r2.json").exists()
    else:
        receipt = (tmp_path / "r2.json").read_bytes()
        assert seen_by(receipt, witness[1]) == 0
        assert verify(receipt, key)


def test_a_log_that_was_put_back_and_went_on_is_caught(tmp_path: Path) -> None:
    data = tmp_path / "data"
    key = a_log(data, tmp_path / "papers")
    with a_witness(tmp_path / "w", key) as witness:
        have_witnessed(data, [witness])
        shutil.copytree(data, tmp_path / "older")
        receipt_of(data, tmp_path / "r1.json")
        shutil.rmtree(tmp_path / "older" / "witnessing", ignore_errors=True)  # forgets its past
        other = run(tmp_path / "older", "ask", QUESTION, "--receipt", str(tmp_path / "r2.json"))
        assert other.returncode == 1
        assert not (tmp_path / "r2.json").exists()
        (found,) = entries(tmp_path / "older", "ledger.split_view")
        assert found["witness"] == CosignatureVerifier.parse(witness[1]).name


def test_a_running_server_can_be_stopped_while_it_is_witnessed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    key = a_log(data, tmp_path / "papers")
    with a_witness(tmp_path / "w", key) as witness:
        have_witnessed(data, [witness])
        with a_server(data) as server:
            assert isinstance(server, Server)
            server.process.terminate()
            assert server.process.wait() == 0
