"""The perimeter on the command line: declared, changed by hand, checked, written as rules."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from house_builders import a_server, casemate

from casemate.ledger.cosignature import Cosigner
from casemate.settings import FILE

PLACE = ("--jurisdiction", "LU", "--ceiling", "restricted")
BUCKET = {
    "CASEMATE_BLOBS": "s3://letters/blobs",
    "CASEMATE_BLOBS_ENDPOINT": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def added(data: Path, name: str, *options: str, **more: Any) -> None:
    casemate("perimeter", "add", name, *options, *PLACE, data=data, **more).fine()


def test_every_kind_of_place_can_be_declared(data: Path) -> None:
    added(data, "model", "--host", "llm.example.lu", "--port", "443", "--within", "10.1.0.0/16")
    added(data, "names", "--host", "10.1.0.53", "--port", "53", "--transport", "udp")
    added(data, "socket", "--host", "/run/llama/one.sock")
    added(data, "letters", "--host", "s3.example.lu", "--port", "443", "--bucket", "letters")
    found = {one["name"]: one for one in casemate("perimeter", "list", "--json", data=data).json}
    assert found["model"]["within"] == ["10.1.0.0/16"]
    assert found["names"]["transports"] == ["udp"]
    assert found["socket"]["ports"] == []
    assert found["letters"]["bucket"] == "letters"


def test_a_file_changed_by_hand_counts_from_its_reload_also_in_a_server(data: Path) -> None:
    added(data, "one", "--host", "10.0.0.1", "--port", "80")
    file = data / "perimeter.toml"
    with a_server(data):
        file.write_text(file.read_text().replace("10.0.0.1", "10.0.0.2"))
        (before,) = casemate("perimeter", "list", "--json", data=data).json
        assert before["host"] == "10.0.0.1"
        refused = casemate(
            *("perimeter", "add", "two", "--host", "10.0.0.9", "--port", "1", *PLACE), data=data
        ).refused()
        assert "casemate perimeter reload" in refused
        casemate("perimeter", "reload", data=data).fine()
        (after,) = casemate("perimeter", "list", "--json", data=data).json
        assert after["host"] == "10.0.0.2"
        file.write_text(file.read_text().replace("LU", "nowhere"))
        assert "Place 'one'" in casemate("perimeter", "reload", data=data).refused()
        (still,) = casemate("perimeter", "list", "--json", data=data).json
        assert still["host"] == "10.0.0.2"


def test_a_configured_bucket_outside_is_told_and_keeps_a_server_from_starting(data: Path) -> None:
    casemate("status", data=data, env=BUCKET)  # what has no folder yet says so
    added(data, "one", "--host", "10.0.0.1", "--port", "80", env=BUCKET)
    done = casemate("perimeter", "check", "--json", data=data, env=BUCKET)
    assert done.code == 1
    (found,) = done.json
    assert found["what"] == "bucket"
    assert "outside the perimeter" in found["problem"]
    refused = casemate("up", "--port", "0", data=data, env=BUCKET).refused()
    assert "The bucket s3://letters/blobs at http://127.0.0.1:9 cannot be used" in refused
    # The way out of it works with the same settings.
    options = ("--host", "127.0.0.1", "--port", "9", "--bucket", "letters")
    added(data, "letters", *options, env=BUCKET)
    (found,) = casemate("perimeter", "check", "--json", data=data, env=BUCKET).json
    assert (found["place"], found["problem"]) == ("letters", "")


def test_a_server_does_not_start_with_a_witness_outside_the_perimeter(data: Path) -> None:
    added(data, "one", "--host", "10.0.0.1", "--port", "80")
    vkey = Cosigner.generate("witness.example/1").verifier.vkey
    (data / "witnesses.toml").write_text(
        f'[[witness]]\nurl = "http://127.0.0.1:9"\nvkey = "{vkey}"\n'
    )
    (data / FILE).write_text('witnesses = "witnesses.toml"\n')
    refused = casemate("up", "--port", "0", data=data).refused()
    assert "The witness http://127.0.0.1:9/add-checkpoint cannot be used" in refused
    assert "outside the perimeter" in refused


def test_rules_are_printed_for_a_program_and_for_a_file(data: Path) -> None:
    added(data, "one", "--host", "10.0.0.1", "--port", "80")
    rules = ("perimeter", "rules", "--format")
    text = casemate(*rules, "nftables", "--account", "casemate", data=data).fine().out
    assert text.startswith("#!/usr/sbin/nft -f\n")
    assert 'meta skuid "casemate" jump perimeter' in text
    found = casemate(*rules, "systemd", "--called-by", "10.7.0.0/16", "--json", data=data).json
    assert "IPAddressAllow=10.7.0.0/16" in found["text"]
    assert str(data.resolve()) in found["text"]
    assert "not a network" in casemate(*rules, "systemd", "--called-by", "x", data=data).refused()
    assert casemate(*rules, "iptables", data=data).code == 2
    # Compiled code reaches a bucket through our relay, which the rules have to let it reach.
    assert "relay_port" in casemate(*rules, "nftables", data=data, env=BUCKET).refused()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    fixed = {**BUCKET, "CASEMATE_RELAY_PORT": port}
    text = casemate(*rules, "nftables", data=data, env=fixed).fine().out
    assert f"ip daddr 127.0.0.1 tcp dport {port} counter accept" in text
