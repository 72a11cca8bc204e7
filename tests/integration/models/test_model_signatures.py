"""Who signed a model, and what is refused because somebody else did, nobody did, or it changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from house_builders import House
from model_builders import (
    MANIFEST,
    Maker,
    a_folder,
    a_key,
    brought_in,
    certificates,
    gguf,
    signed,
)

from casemate.errors import (
    CasemateError,
    Invalid,
    Refused,
    Tampered,
    Unsupported,
)
from casemate.models.registry import Models


def models(house: House) -> Models:
    return house.installation.models


def left_behind(house: House) -> list[str]:
    """The files among the models, of which there are none yet."""
    folder = house.installation.folder.models
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_a_certificate_that_leads_to_a_trusted_one_counts(house: House, tmp_path: Path) -> None:
    private, _ = a_key(tmp_path / "keys")
    _, leaf = certificates(tmp_path, private)
    source = signed(a_folder(tmp_path / "tiny"), private, leaf)
    with pytest.raises(Refused, match="leads to none that is trusted"):
        brought_in(models(house), house.owner, source)
    other_root, _ = certificates(tmp_path, private)
    models(house).signers.trust(house.owner, "other", other_root.read_bytes())
    with pytest.raises(Refused, match="leads to none that is trusted"):
        brought_in(models(house), house.owner, source)
    source = signed(source, private, leaf)
    brought_in(models(house), house.owner, source)


def test_what_is_unsigned_is_refused(house: House, maker: Maker, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not signed: nobody vouches"):
        brought_in(models(house), house.owner, a_folder(tmp_path / "tiny"))
    assert left_behind(house) == []


def test_a_signature_by_an_unknown_key_is_refused(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    stranger, _ = a_key(tmp_path, "stranger")
    source = signed(a_folder(tmp_path / "tiny"), stranger)
    with pytest.raises(Refused, match="a key that is not trusted here"):
        brought_in(models(house), house.owner, source)
    assert left_behind(house) == []


def test_a_signature_that_only_claims_a_trusted_key_is_refused(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    stranger, _ = a_key(tmp_path, "stranger")
    good = json.loads(
        (signed(a_folder(tmp_path / "good"), maker.private) / "model.sig").read_text()
    )
    source = signed(a_folder(tmp_path / "tiny"), stranger)
    forged = json.loads((source / "model.sig").read_text())
    forged["verificationMaterial"] = good["verificationMaterial"]
    (source / "model.sig").write_text(json.dumps(forged))
    with pytest.raises(Refused, match="not that of its key"):
        brought_in(models(house), house.owner, source)


@pytest.mark.parametrize("name", ["tiny.gguf", "tekken.json", "manifest.toml"])
def test_one_bit_altered_in_any_file_is_found(
    house: House, maker: Maker, tmp_path: Path, name: str
) -> None:
    source = signed(a_folder(tmp_path / "tiny"), maker.private)
    content = bytearray((source / name).read_bytes())
    content[-2] ^= 1
    (source / name).write_bytes(content)
    with pytest.raises(CasemateError, match=r"altered after it was signed|not usable|not valid"):
        brought_in(models(house), house.owner, source)
    assert left_behind(house) == []


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda folder: (folder / "tiny.gguf").write_bytes(gguf(filler=b"\1")), "gguf was alter"),
        (lambda folder: (folder / "manifest.toml").write_text(MANIFEST.replace("Knows nothing",
         "Knows all")), "manifest.toml was altered"),
        (lambda folder: (folder / "manifest.toml").write_text(MANIFEST.replace("tokenizer", "#")),
         "tekken.json is not named"),
        (lambda folder: (folder / "pull.json").write_text("{}"), "pull.json is not covered"),
        (lambda folder: (folder / "tekken.json").unlink(), "tekken.json.*not in the folder"),
    ],
)  # fmt: skip
def test_a_folder_that_is_not_as_it_was_signed_is_refused(
    house: House, maker: Maker, tmp_path: Path, change: Callable[[Path], object], wrong: str
) -> None:
    source = signed(a_folder(tmp_path / "tiny"), maker.private)
    change(source)
    with pytest.raises(CasemateError, match=wrong):
        brought_in(models(house), house.owner, source)


def test_a_file_that_was_signed_and_is_gone_is_missed(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    source = a_folder(tmp_path / "tiny")
    (source / "pull.json").write_text("{}")
    signed(source, maker.private)
    (source / "pull.json").unlink()
    with pytest.raises(Tampered, match=r"pull.json is signed but missing"):
        brought_in(models(house), house.owner, source)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff", b"[" * 9000, b'{"dsseEnvelope": {"signatures": []}}', b"null"]
)
def test_what_is_no_signature_is_refused(
    house: House, maker: Maker, tmp_path: Path, content: bytes
) -> None:
    source = a_folder(tmp_path / "tiny")
    (source / "model.sig").write_bytes(content)
    with pytest.raises(Invalid, match="no signature of a model"):
        brought_in(models(house), house.owner, source)


def test_a_broken_signature_of_a_trusted_key_is_refused(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    source = signed(a_folder(tmp_path / "tiny"), maker.private)
    bundle = json.loads((source / "model.sig").read_text())
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = "AAAA"
    (source / "model.sig").write_text(json.dumps(bundle))
    with pytest.raises(Refused, match="not that of its key"):
        brought_in(models(house), house.owner, source)


def test_without_model_signing_one_is_told_what_to_install(
    house: House, maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = signed(a_folder(tmp_path / "tiny"), maker.private)
    monkeypatch.setitem(__import__("sys").modules, "model_signing.signing", None)
    with pytest.raises(Unsupported) as caught:
        brought_in(models(house), house.owner, source)
    assert "casemate[llama]" in caught.value.next


def test_the_standard_tool_and_this_one_read_each_others_signatures(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    import model_signing

    source = signed(a_folder(tmp_path / "tiny"), maker.private)
    ours = (source / "model.sig").rename(tmp_path / "ours.sig")
    model_signing.verifying.Config().use_elliptic_key_verifier(public_key=maker.public).verify(
        source, ours
    )
    theirs = tmp_path / "theirs.sig"
    model_signing.signing.Config().use_elliptic_key_signer(private_key=maker.private).sign(
        source, theirs
    )
    brought_in(models(house), house.owner, source, signature=theirs)


def test_what_a_signature_says_to_ignore_is_not_ignored(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    import model_signing

    source = a_folder(tmp_path / "tiny")
    config = model_signing.hashing.Config().set_ignored_paths(paths=["tekken.json"])
    model_signing.signing.Config().use_elliptic_key_signer(
        private_key=maker.private
    ).set_hashing_config(config).sign(source, tmp_path / "some.sig")
    with pytest.raises(Tampered, match=r"tekken.json is not covered by the signature"):
        brought_in(models(house), house.owner, source, signature=tmp_path / "some.sig")
