"""A log of ours in the eyes of Go: golang.org/x/mod/sumdb, which guards the checksums of modules.

``go/verify.go`` is our program; notes, tree and tiles in it are Go's. It needs Debian's packages
golang-go and golang-golang-x-mod-dev. Where they are missing the tests are skipped, but with
REQUIRE_PEERS=1 they fail instead.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from casemate.ledger.checkpoint import Checkpoint
from casemate.ledger.log import Log
from casemate.ledger.note import Signer
from casemate.ledger.proof import Proof

SIZE = 1000
OLDER = (1, 2, 255, 256, 257, 511, 512, 700, 999)
GOPATH = Path("/usr/share/gocode")
PROGRAM = Path(__file__).parent / "go" / "verify.go"


@pytest.fixture(scope="module")
def verifier(tmp_path_factory):
    """The program, built."""
    if shutil.which("go") is None or not (GOPATH / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        missing = "Debian's golang-go and golang-golang-x-mod-dev are not installed"
        if os.environ.get("REQUIRE_PEERS") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("go")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GOCACHE": str(folder / "cache"),
        "GOPATH": str(GOPATH),
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    built = subprocess.run(
        ["go", "build", "-o", folder / "verify", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder / "verify"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A log that grew to 1,000 entries: its folder, key file, and claims about it, one a line."""
    folder = tmp_path_factory.mktemp("log")
    entries = [b"" if number == 7 else b"entry %d" % number * 3 for number in range(SIZE)]
    older: dict[int, bytes] = {}
    with Log.open(folder / "log", Signer.from_seed("casemate.example/log", bytes(32))) as opened:
        start = 0
        for size in (*OLDER, SIZE):
            for one in [opened.append(entry) for entry in entries[start:size]]:
                one.result()
            older[size] = Checkpoint.parse(
                opened.checkpoint().decode().split("\n\n")[0] + "\n"
            ).root
            start = size
        proofs = [Proof.parse(text) for text in opened.proofs(*range(SIZE))]
        claims = [
            claim("entry", proof.index, entry, *proof.hashes)
            for entry, proof in zip(entries, proofs, strict=True)
        ]
        claims += [
            claim("tree", size, older[size], *opened.consistency(size, SIZE)) for size in OLDER
        ]
        (folder / "key").write_text(opened.vkey + "\n")
    return folder, claims


def claim(kind, number, *values):
    return " ".join([kind, str(number), *(base64.b64encode(value).decode() for value in values)])


def run(verifier, folder, claims, *, log=None):
    (folder / "claims").write_text("\n".join(claims) + "\n")
    return subprocess.run(
        [verifier, folder / "key", log or folder / "log", folder / "claims"],
        capture_output=True,
        text=True,
        check=False,
    )


def flipped(text):
    """The same claim with one bit of its last value changed."""
    head, _, last = text.rpartition(" ")
    raw = bytearray(base64.b64decode(last))
    raw[-1] ^= 1
    return f"{head} {base64.b64encode(raw).decode()}"


def test_go_opens_our_checkpoint_and_finds_every_entry_and_every_older_tree(verifier, log):
    done = run(verifier, *log)
    assert done.stderr == ""
    assert done.stdout == f"size {SIZE}, entries {SIZE}, older trees {len(OLDER)}\n"


@pytest.mark.parametrize("place", [0, 255, 256, 777, 999, 1000, 1004, 1008])
def test_go_refuses_a_claim_with_one_flipped_bit(verifier, log, place):
    folder, claims = log
    done = run(verifier, folder, [flipped(claims[place])])
    assert done.returncode == 1
    assert "line 1" in done.stderr


def test_go_refuses_an_entry_at_another_place(verifier, log):
    folder, claims = log
    done = run(verifier, folder, [claims[5].replace("entry 5 ", "entry 6 ")])
    assert done.returncode == 1


@pytest.mark.parametrize("name", ["checkpoint", "tile/0/002", "tile/1/000.p/3"])
def test_go_refuses_a_log_with_one_flipped_bit(verifier, log, tmp_path, name):
    folder, claims = log
    copy = tmp_path / "log"
    shutil.copytree(folder / "log", copy)
    raw = bytearray((copy / name).read_bytes())
    raw[40] ^= 1
    (copy / name).write_bytes(raw)
    done = run(verifier, folder, [claims[600]], log=copy)
    assert done.returncode == 1
    assert done.stdout == ""


def test_go_refuses_the_log_under_another_key(verifier, log, tmp_path):
    folder, claims = log
    other = Signer.from_seed("casemate.example/log", bytes([1]) * 32)
    (tmp_path / "key").write_text(other.vkey + "\n")
    done = run(verifier, tmp_path, claims[:1], log=folder / "log")
    assert done.returncode == 1
    assert "checkpoint" in done.stderr
