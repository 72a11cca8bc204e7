"""``casemate-verify`` stands alone: its wheel, and of others only cryptography."""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from casemate.ledger.merkle import inclusion_proof, leaf_hash, root_hash
from casemate.ledger.note import Signer
from casemate.ledger.proof import Checkpoint, Proof
from casemate.ledger.receipt import Opening, Receipt, Recorded, canonical, commit

ROOT = Path(__file__).resolve().parents[3]
LEDGER = ROOT / "src" / "casemate" / "ledger"
MODULES = {"command", "cosignature", "folder", "merkle", "note", "pair", "proof"}
MODULES |= {"quotation", "receipt", "verdict", "verify"}
BORROWED = ("cryptography", "cffi", "pycparser")


def built(kind: str, source: Path, folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", folder, source],
        check=True,
        capture_output=True,
    )
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("--wheel", ROOT / "verify", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has this wheel and cryptography, and nothing else."""
    folder = tmp_path_factory.mktemp("alone") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    install = ["install", "--no-deps", "--no-index", "--disable-pip-version-check", "-q", wheel]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *install], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in BORROWED:
        for one in distribution(name).files or ():
            place = Path(str(distribution(name).locate_file(one)))
            target = site / one.parts[0]
            if one.parts[0] != ".." and not target.exists():
                target.symlink_to(place.parents[len(one.parts) - 1] / one.parts[0])
    return python


SIGNER = Signer.from_seed("casemate.example/log", b"\x05" * 32)
ANSWER = "It costs 12 €."


def a_receipt() -> bytes:
    """The receipt of a run with an answer and no quotation, in a log of these two entries."""
    content = {"text": ANSWER, "citations": [], "sentences": []}
    digest = "sha256:" + "1" * 64
    head = {
        **{name: "x" for name in ("run", "tenant", "principal", "use_case", "label")},
        "v": 1,
        "time": "2026-11-24T22:10:03Z",
        "model": {"id": "quote", "digest": digest},
        "policy": {"decision": "allow", "deciding": ["base"], "digest": digest},
    }
    first = canonical({**head, "kind": "run.admitted"})
    admitted = {"index": 0, "leaf": f"sha256:{leaf_hash(first).hex()}"}
    committed = {"answer": commit(bytes(32), content), "outcome": "answered"}
    last = canonical({**head, **committed, "kind": "run.finished", "admitted": admitted})
    leaves = [leaf_hash(first), leaf_hash(last)]
    note = Checkpoint(SIGNER.name, 2, root_hash(leaves)).sign([SIGNER])

    def recorded(index: int, entry: bytes) -> Recorded:
        path = inclusion_proof(index, 2, lambda _height, at: leaves[at])
        return Recorded(entry, Proof(index, tuple(path), note).format())

    opening = Opening("finished", "answer", bytes(32), content)
    return Receipt(recorded(0, first), recorded(1, last), (opening,)).encode()


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a receipt, its answer and its key."""
    folder = tmp_path_factory.mktemp("proof")
    (folder / "receipt.json").write_bytes(a_receipt())
    (folder / "key").write_text(SIGNER.vkey + "\n")
    (folder / "answer").write_text(ANSWER, encoding="utf-8")
    return folder


def run(python: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python.parent / "casemate-verify", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
        cwd=python.parent,
    )


def test_the_wheel_holds_the_verifier_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    extra = {"__init__.py", "__main__.py", "py.typed", "LICENSE"}
    assert held == {f"casemate_verify/{name}" for name in {f"{m}.py" for m in MODULES} | extra}


def test_its_modules_are_the_platforms_own_but_for_the_packages_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in MODULES:
            ours = (LEDGER / f"{name}.py").read_text()
            theirs = archive.read(f"casemate_verify/{name}.py").decode()
            assert theirs.replace("casemate_verify", "casemate.ledger") == ours
            assert not re.search(r"^\s*(from|import) casemate\b(?!_verify)", theirs, re.M)


def test_it_depends_on_cryptography_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(one for one in archive.namelist() if one.endswith("/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    (requirement,) = metadata.get_all("Requires-Dist") or []
    assert requirement.startswith("cryptography")
    assert metadata["License-Expression"] == "EUPL-1.2"


def test_the_environment_has_no_casemate(python: Path) -> None:
    found = subprocess.run([python, "-c", "import casemate"], capture_output=True, text=True)
    assert "No module named 'casemate'" in found.stderr


def test_it_verifies_a_receipt(python: Path, proof: Path) -> None:
    files_ = [proof / "receipt.json", "--key", proof / "key", "--answer", proof / "answer"]
    done = run(python, *files_)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Proven:\n  this answer, word for word, as in the file\n" in done.stdout
    assert "Not proven:\n" in done.stdout
    assert json.loads(run(python, *files_, "--json").stdout)["facts"]["answer_compared"] is True


def test_it_refuses_a_receipt_that_was_tampered_with(python: Path, proof: Path) -> None:
    bad = bytearray((proof / "receipt.json").read_bytes())
    bad[bad.index(b"costs")] ^= 1
    (proof / "bad.json").write_bytes(bad)
    done = run(python, proof / "bad.json", "--key", proof / "key")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Not proven. ")
    (proof / "bad.json").unlink()


def test_it_checks_a_folder(python: Path, proof: Path) -> None:
    done = run(python, proof, "--key", proof / "key")
    assert done.stdout == "1 receipt: 1 proven, 0 not proven.\n"
    assert done.returncode == 0


def test_a_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    source = built("--sdist", ROOT / "verify", tmp_path / "out")
    subprocess.run(["tar", "xzf", source, "-C", tmp_path], check=True)
    (tmp_path / "again").mkdir()
    again = built("--wheel", next(tmp_path.glob("casemate_verify-*")), tmp_path / "again")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as two:
        assert sorted(one.namelist()) == sorted(two.namelist())
        assert all(one.read(name) == two.read(name) for name in of_the_package(one))


def of_the_package(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if name.startswith("casemate_verify/")]
