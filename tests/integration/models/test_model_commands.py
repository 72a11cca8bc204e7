"""`casemate model …`, with a server and without one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from house_builders import a_server, casemate
from model_builders import MANIFEST, a_folder, a_key, certificates, gguf


@pytest.fixture(params=["alone", "served"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A data folder with a second person, and a server on it or not."""
    folder = tmp_path / "data"
    casemate("collection", "create", "empty", data=folder).fine()
    casemate("user", "create", "anna", "--role", "admin", "--role", "user", data=folder).fine()
    with a_server(folder) if request.param == "served" else nullcontext():
        yield folder


def test_a_model_is_signed_imported_approved_checked_and_withdrawn(
    data: Path, tmp_path: Path
) -> None:
    private, public = a_key(tmp_path / "keys")
    source = a_folder(tmp_path / "tiny")
    signature = tmp_path / "tiny.sig"
    signed = casemate("model", "sign", source, "--key", private, "--out", signature, "--json")
    assert signed.fine().json == {"signature": str(signature), "files": 3}
    verified = casemate("model", "verify", source, "--signature", signature, "--key", public)
    assert verified.fine().out.startswith("Signed by this signer, every file as it was signed.")

    take = ("model", "import", source, "--signature", signature)
    assert "a key that is not trusted here" in casemate(*take, data=data).refused()
    trusted = casemate("model", "trust", "add", "maker", public, "--json", data=data).fine().json
    assert (trusted["name"], trusted["kind"]) == ("maker", "key")
    assert "maker  key" in casemate("model", "trust", "list", data=data).fine().out

    made = casemate(*take, "--json", cwd=tmp_path, data=data).fine().json
    assert (made["id"], made["state"]) == ("tiny", "proposed")
    assert made["signed_by"] == trusted["fingerprint"]
    assert "already" in casemate(*take, data=data).refused()
    assert "second person" in casemate("model", "approve", "tiny", data=data).refused()
    as_anna = ("--principal", "anna")
    casemate("model", "approve", "tiny", *as_anna, data=data).fine()

    shown = casemate("model", "show", "tiny", "--json", data=data).fine().json
    assert shown["approved_by"] == "anna"
    assert (shown["signed_by"], shown["signer_trusted"]) == ("maker", True)
    assert set(shown["files"]) == {"manifest.toml", "tekken.json", "tiny.gguf"}
    assert shown["profile"]["template"] == "weights"
    assert "signed by" in casemate("model", "show", "tiny", data=data).fine().out
    [checked] = casemate("model", "check", "--json", data=data).fine().json
    assert checked["intact"]

    bill = casemate("model", "bom", "tiny", data=data).fine().out
    casemate("model", "bom", "tiny", "--out", tmp_path / "bom.json", data=data).fine()
    assert (tmp_path / "bom.json").read_text() == bill
    assert json.loads(bill)["specVersion"] == "1.7"

    place = data / "models" / shown["digest"].removeprefix("sha256:") / "tiny.gguf"
    place.chmod(0o600)
    place.write_bytes(gguf(filler=b"\1"))
    broken = casemate("model", "check", "tiny", data=data)
    assert broken.code == 1
    assert "tiny.gguf of model tiny is not the one that was approved" in broken.err
    assert str(data) not in broken.err
    casemate("model", "withdraw", "tiny", data=data).fine()
    gone = casemate("model", "trust", "remove", "maker", "--json", data=data).fine().json
    assert gone["state"] == "removed"
    assert "Nobody yet" in casemate("model", "trust", "list", data=data).fine().out


def test_a_manifest_and_a_name_given_on_the_way_are_taken(data: Path, tmp_path: Path) -> None:
    private, public = a_key(tmp_path / "keys")
    source = a_folder(tmp_path / "tiny")
    casemate("model", "trust", "add", "maker", public, data=data).fine()
    signature = source / "model.sig"
    casemate("model", "sign", source, "--key", private, "--out", signature).fine()
    described = (source / "manifest.toml").rename(tmp_path / "described.toml")
    made = casemate(
        *("model", "import", "tiny", "--manifest", described.name, "--name", "tiny-1", "--json"),
        cwd=tmp_path, data=data,
    )  # fmt: skip
    assert made.fine().json["id"] == "tiny-1"


def test_certificates_sign_and_verify_without_a_data_folder(tmp_path: Path) -> None:
    private, public = a_key(tmp_path / "keys")
    root, leaf = certificates(tmp_path, private)
    source, signature = a_folder(tmp_path / "tiny"), tmp_path / "tiny.sig"
    sign = ("model", "sign", source, "--key", private, "--out", signature)
    casemate(*sign, "--certificate", leaf, "--certificate", root).fine()
    verify = ("model", "verify", source, "--signature", signature)
    casemate(*verify, "--certificates", root).fine()
    assert "a certificate that leads to none" in casemate(*verify, "--key", public).refused()
    assert casemate(*verify).code == 2
    (source / "tiny.gguf").write_bytes(gguf(filler=b"\1"))
    assert "tiny.gguf was altered" in casemate(*verify, "--certificates", root).refused()
    casemate(*sign).fine()  # again, over the old one, by the key alone
    casemate(*verify, "--key", public).fine()


def test_what_cannot_sign_says_so(tmp_path: Path) -> None:
    private, public = a_key(tmp_path / "keys")
    source, out = a_folder(tmp_path / "tiny"), tmp_path / "tiny.sig"
    sign = ("model", "sign", source, "--out", out, "--key")
    assert "no private key" in casemate(*sign, public).refused()
    _, leaf = certificates(tmp_path, a_key(tmp_path / "other")[0])
    assert "cannot sign" in casemate(*sign, private, "--certificate", leaf).refused()
    (source / "more.bin").write_bytes(b"")
    assert "pickled weights" in casemate(*sign, private).refused()
    (source / "more.bin").unlink()
    (source / "manifest.toml").unlink()
    assert "no manifest.toml" in casemate(*sign, private).refused()
    assert not out.exists()


def test_a_folder_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    assert casemate("model", "import", tmp_path / "x", data=tmp_path / "data").code == 2
    assert casemate("model", "sign", tmp_path, "--key", "x", "--out", "y").code == 2


def test_profiles_are_listed_without_a_data_folder() -> None:
    found = casemate("model", "profiles", "--json").fine().json
    assert {"generic", "magistral-small-2509", "nano"} <= {one["name"] for one in found}
    assert "mistral-v13" in casemate("model", "profiles").fine().out


def test_a_person_without_the_office_imports_nothing(data: Path, tmp_path: Path) -> None:
    casemate("user", "create", "bob", data=data).fine()
    source = a_folder(tmp_path / "tiny", MANIFEST)
    take = ("model", "import", source, "--principal", "bob")
    assert "may not administer" in casemate(*take, data=data).refused()
    for command in (("show", "nothing"), ("bom", "nothing"), ("check", "nothing")):
        assert "no such model" in casemate("model", *command, data=data).refused()
