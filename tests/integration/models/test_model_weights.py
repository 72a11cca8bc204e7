"""Files of approved models: checked when they are loaded, and who signed them still believed."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from house_builders import House
from model_builders import Maker, a_folder, a_key, brought_in, gguf, signed

from casemate.errors import Conflict, Invalid, NotFound, Refused, Tampered
from casemate.models import weights
from casemate.models.manifest import Manifest
from casemate.models.registry import Models
from casemate.models.signature import Signer


def models(house: House) -> Models:
    return house.installation.models


@pytest.fixture
def manifest(house: House, maker: Maker, tmp_path: Path) -> Manifest:
    """An approved model's."""
    brought_in(models(house), house.owner, signed(a_folder(tmp_path / "tiny"), maker.private))
    second = house.person("second", roles=("admin", "user"))
    return models(house).approve(second, "tiny").manifest


def place(house: House, manifest: Manifest) -> Path:
    return house.installation.folder.models / manifest.digest().removeprefix("sha256:")


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every file that is read from now on."""
    read: list[str] = []
    plain = weights.read

    def reads(where: Path, path: str) -> Any:
        read.append(path)
        return plain(where, path)

    monkeypatch.setattr(weights, "read", reads)
    return read


def test_files_are_read_again_after_a_day_and_not_before(
    house: House, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = counted(monkeypatch)
    models(house).files(manifest)
    assert read == []
    later = datetime.now(UTC) + timedelta(hours=25)
    monkeypatch.setattr(house.installation.gate.acts, "clock", lambda: later)
    models(house).files(manifest)
    assert sorted(read) == sorted(manifest.files)
    models(house).files(manifest)
    assert len(read) == len(manifest.files)
    monkeypatch.setattr(house.installation.gate.acts, "clock", lambda: datetime.now(UTC))
    models(house).files(manifest)  # a clock that was set back proves nothing
    assert len(read) == 2 * len(manifest.files)


def overwritten(file: Path) -> None:
    """Other bytes of the same length, and the old modification time."""
    before = file.stat()
    file.chmod(0o600)
    file.write_bytes(gguf(filler=b"\1"))
    file.chmod(0o400)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(gguf(filler=b"\1"))
    other.rename(file)


def linked(file: Path) -> None:
    target = file.parents[2] / "elsewhere"
    file.rename(target)
    file.symlink_to(target)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (overwritten, "tiny.gguf of model tiny is not the one"),
        (replaced, "tiny.gguf of model tiny is not the one"),
        (Path.unlink, "tiny.gguf of model tiny is missing"),
        (linked, "not as they were put"),
        (lambda file: file.with_name("more").write_bytes(b""), "more of model tiny is not in its"),
    ],
)
def test_a_file_that_was_changed_is_found_at_the_next_load(
    house: House, manifest: Manifest, change: Callable[[Path], object], wrong: str
) -> None:
    change(place(house, manifest) / "tiny.gguf")
    with pytest.raises(Tampered, match=wrong) as caught:
        models(house).files(manifest)
    assert str(house.folder) not in str(caught.value)
    assert house.entries()[-1]["kind"] == "model.tampered"
    [(model, problem)] = models(house).check(house.owner)
    assert model.id == "tiny"
    assert problem is not None


def test_a_check_reads_everything_and_is_recorded(
    house: House, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = counted(monkeypatch)
    [(model, problem)] = models(house).check(house.owner, "tiny")
    assert problem is None
    assert model.checked is not None
    assert len(read) == len(manifest.files)
    assert house.entries()[-1]["kind"] == "model.checked"
    with pytest.raises(Invalid, match="no files here"):
        list(models(house).check(house.owner, "quote"))
    with pytest.raises(Refused):
        list(models(house).check(house.person("bob")))


def test_altered_files_are_not_approved(house: House, maker: Maker, tmp_path: Path) -> None:
    source = signed(a_folder(tmp_path / "tiny"), maker.private)
    model = brought_in(models(house), house.owner, source)
    overwritten(place(house, model.manifest) / "tiny.gguf")
    second = house.person("second", roles=("admin", "user"))
    with pytest.raises(Tampered):
        models(house).approve(second, "tiny")
    assert models(house).get(house.owner, "tiny").state == "proposed"


def test_only_approved_models_are_loaded(house: House, manifest: Manifest) -> None:
    other = Manifest.parse(manifest.canonical().replace(b"Knows nothing", b"Knows all"))
    with pytest.raises(Refused, match="not the files of an approved"):
        models(house).files(other)
    with pytest.raises(Refused, match="not the files of an approved"):
        models(house).files(models(house).approved("quote"))
    models(house).withdraw(house.owner, "tiny")
    with pytest.raises(Refused, match="withdrawn"):
        models(house).files(manifest)
    assert place(house, manifest).is_dir()


def test_who_is_not_believed_any_more_is_not_loaded(
    house: House, maker: Maker, manifest: Manifest
) -> None:
    signers = models(house).signers
    assert [one.name for one in signers.list(house.owner)] == ["maker"]
    signers.remove(house.owner, "maker")
    with pytest.raises(Refused, match="signed model tiny is not trusted here any more"):
        models(house).files(manifest)
    assert models(house).approved("tiny") == manifest  # what was decided stays on record
    signers.trust(house.owner, "the-maker", maker.public.read_bytes())
    assert models(house).files(manifest)
    kinds = [entry["kind"] for entry in house.entries()]
    assert kinds.count("signer.trusted") == 2
    assert kinds.count("signer.removed") == 1


def test_a_model_is_not_approved_when_its_signer_is_gone(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    brought_in(models(house), house.owner, signed(a_folder(tmp_path / "tiny"), maker.private))
    models(house).signers.remove(house.owner, "maker")
    with pytest.raises(Refused, match="not trusted here any more"):
        models(house).approve(house.person("second", roles=("admin", "user")), "tiny")


def test_trust_is_given_once_and_by_who_administers(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    signers = models(house).signers
    pem = maker.public.read_bytes()
    with pytest.raises(Conflict, match="maker is trusted already"):
        signers.trust(house.owner, "again", pem)
    other = a_key(tmp_path / "more", "other")[1].read_bytes()
    with pytest.raises(Conflict, match="maker is trusted already"):
        signers.trust(house.owner, "maker", other)
    for name in ("casemate", "Not a name", ""):
        with pytest.raises(Invalid, match="cannot be a signer's name"):
            signers.trust(house.owner, name, other)
    bob = house.person("bob")
    with pytest.raises(Refused):
        signers.trust(bob, "bobs", other)
    with pytest.raises(Refused):
        signers.remove(bob, "maker")
    with pytest.raises(NotFound):
        signers.remove(house.owner, "nobody")


def test_a_private_key_or_another_kind_of_key_is_not_taken(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private, _ = a_key(tmp_path)
    with pytest.raises(Invalid, match="a public one is needed"):
        Signer.parse("x", private.read_bytes())
    other = Ed25519PrivateKey.generate().public_key()
    pem = other.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with pytest.raises(Invalid, match="Only elliptic-curve keys"):
        Signer.parse("x", pem)
    for content in (b"", b"x", pem[:60]):
        with pytest.raises(Invalid, match="neither a public key nor a certificate"):
            Signer.parse("x", content)


def test_a_model_with_files_is_imported_and_not_just_proposed(
    house: House, manifest: Manifest
) -> None:
    named = Manifest.parse(manifest.canonical().replace(b'"name":"tiny"', b'"name":"other"'))
    with pytest.raises(Invalid, match="files of this model are not here yet"):
        models(house).propose(house.owner, named)
