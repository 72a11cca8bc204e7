"""From a folder of files to an approved model, and everything that is refused on the way."""

from __future__ import annotations

import json
import pickle
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from house_builders import House, a_house
from model_builders import (
    MANIFEST,
    Maker,
    a_folder,
    a_key,
    brought_in,
    gguf,
    safetensors,
    signed,
)

from casemate.errors import (
    CasemateError,
    Conflict,
    Invalid,
    NotFound,
    Refused,
    Unavailable,
)
from casemate.models import importing, signature, signers, weights
from casemate.models.importing import Copied, Order, bring_in
from casemate.models.registry import Model, Models


def models(house: House) -> Models:
    return house.installation.models


def approve(house: House, id: str) -> Model:
    return models(house).approve(house.person(f"second {id}", roles=("admin", "user")), id)


def left_behind(house: House) -> list[str]:
    """What lies among the models that is not one of them."""
    kept = {one.digest.removeprefix("sha256:") for one in models(house).list(house.owner)}
    found = {path.relative_to(house.installation.folder.models).as_posix() for path in
             house.installation.folder.models.rglob("*") if path.is_file()}  # fmt: skip
    return [path for path in found if path.split("/")[0] not in kept]


def test_a_signed_folder_becomes_a_proposed_and_then_an_approved_model(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    source = signed(a_folder(tmp_path / "tiny"), maker.private)
    *progress, model = bring_in(models(house), house.owner, Order(source))
    assert isinstance(model, Model)
    assert (model.id, model.state) == ("tiny", "proposed")
    assert isinstance(progress[-1], Copied)
    assert (
        progress[-1].bytes
        == progress[-1].total
        == sum(path.stat().st_size for path in source.iterdir() if path.name != "model.sig")
    )
    assert set(model.manifest.files) == {"manifest.toml", "tekken.json", "tiny.gguf"}
    assert model.manifest.weights == "tiny.gguf"
    with pytest.raises(Refused, match="proposed, not approved"):
        models(house).files(model.manifest)
    approved = approve(house, "tiny")
    place = models(house).files(approved.manifest)
    assert (place / "tiny.gguf").read_bytes() == gguf()
    assert (place / "tiny.gguf").stat().st_mode & 0o222 == 0
    assert not (place / "model.sig").exists()
    assert left_behind(house) == []
    acts = [one for one in house.entries() if one.get("model") == "tiny"]
    assert [one["kind"] for one in acts] == ["model.proposed", "model.approved"]
    assert acts[0]["signer"] == model.signer
    assert {one["manifest"] for one in acts} == {model.digest}


def test_the_manifest_may_be_json_and_lie_elsewhere(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    source = a_folder(tmp_path / "tiny")
    parts = {"name": "tiny", "version": "1", "intended_use": "Tests.", "limits": "Many.",
             "label": "unclassified", "profile": "magistral-small-2507", "tokenizer": "tekken.json",
             "release": 3}  # fmt: skip
    (source / "SYSTEM_PROMPT.txt").write_text("First think.[THINK]So.[/THINK]Then answer.\n")
    (source / "manifest.toml").unlink()
    (source / "manifest.json").write_text(json.dumps(parts))
    signed(source, maker.private)
    elsewhere = (source / "manifest.json").rename(tmp_path / "described.json")
    model = brought_in(
        models(house), house.owner, source, manifest=elsewhere, name="tiny-q8",
    )  # fmt: skip
    assert (model.id, model.manifest.line) == ("tiny-q8", ("tiny", 3))
    assert model.manifest.licence == "Apache-2.0"
    profile = model.manifest.profile
    assert profile is not None
    assert [(one.kind, one.text) for one in profile.system] == [
        ("text", "First think."), ("thinking", "So."), ("text", "Then answer.\n"),
    ]  # fmt: skip
    assert "SYSTEM_PROMPT.txt" in model.manifest.files


def test_shards_of_safetensors_and_a_system_prompt_in_text_come_in(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    manifest = MANIFEST.replace("tokenizer =", "files = ['b.safetensors']\n#")
    source = a_folder(tmp_path / "tiny", manifest, a__safetensors=safetensors(),
                      b__safetensors=safetensors())  # fmt: skip
    (source / "tekken.json").unlink()
    (source / "tiny.gguf").unlink()
    model = brought_in(models(house), house.owner, signed(source, maker.private))
    assert model.manifest.weights == "a.safetensors"


# Releases


def a_release(folder: Path, maker: Maker, release: int) -> Path:
    manifest = f"{MANIFEST}lineage = 'tiny'\nrelease = {release}\n"
    named = manifest.replace('name = "tiny"', f'name = "tiny-{release}"')
    return signed(a_folder(folder / f"tiny-{release}", named), maker.private)


def test_an_older_release_does_not_come_after_a_newer_one(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    one, two, three = (a_release(tmp_path, maker, number) for number in (1, 2, 3))
    first = brought_in(models(house), house.owner, one)
    approve(house, "tiny-1")
    brought_in(models(house), house.owner, two)
    brought_in(models(house), house.owner, three)
    approve(house, "tiny-3")
    with pytest.raises(Refused, match=r"Release 2 of tiny is older than release 3"):
        approve(house, "tiny-2")
    assert models(house).files(first.manifest)  # what was approved before stays: it can be replayed
    models(house).withdraw(house.owner, "tiny-1")
    with pytest.raises(Refused, match=r"Release 1 of tiny is older than release 3.*tiny-3"):
        brought_in(models(house), house.owner, one, name="tiny-1-again")
    assert left_behind(house) == []
    models(house).withdraw(house.owner, "tiny-3")
    brought_in(models(house), house.owner, one, name="tiny-1-again")
    assert models(house).approve(house.person("x", roles=("admin", "user")), "tiny-2")


# Files


def test_a_pickle_never_leaves_quarantine(house: House, maker: Maker, tmp_path: Path) -> None:
    source = a_folder(tmp_path / "tiny", f"files = ['notes.txt']\n{MANIFEST}")
    (source / "notes.txt").write_bytes(pickle.dumps(Path("x"), 4))
    with pytest.raises(Refused, match="is a pickle by its content"):
        brought_in(models(house), house.owner, signed(source, maker.private))
    assert left_behind(house) == []


@pytest.mark.parametrize(
    ("manifest", "wrong"),
    [
        (MANIFEST.replace('name = "tiny"', 'name = "Tiny!"'), "name is not lower-case"),
        (MANIFEST.replace("licence", "license"), "not usable"),
        (MANIFEST.replace("licence =", "#"), "licence is empty"),
        (MANIFEST + "profile = 'nowhere'", "no profile 'nowhere'"),
        (MANIFEST + "[profile]\ntemplate = 'x'", "template of its profile is none of"),
        (MANIFEST + "[profile]\ntemplate = 'mistral-v11'", "of version 'v13', but the profile"),
        (MANIFEST + "[profile]\ntop_p_thousandths = 0", "top_p_thousandths"),
        (MANIFEST + "weights = 'other.gguf'", "other.gguf.*not in the folder"),
        (MANIFEST + "[files]\n'tiny.gguf' = 'sha256:0'", "not the file that the manifest names"),
        (MANIFEST + "engine = 'remote'", "belong to models whose files are here"),
        (MANIFEST.replace("unclassified", "geheim"), "geheim"),
        ("=", "not usable"),
        ("\0", "not usable"),
    ],
)
def test_a_manifest_with_a_wrong_part_stops_the_import(
    house: House, maker: Maker, tmp_path: Path, manifest: str, wrong: str
) -> None:
    source = a_folder(tmp_path / "tiny", manifest)
    if "other.gguf" in wrong:
        (source / "tiny.gguf").unlink()
    signed(source, maker.private)
    with pytest.raises(CasemateError, match=wrong):
        brought_in(models(house), house.owner, source)
    assert left_behind(house) == []


def test_a_folder_without_or_with_two_descriptions_is_refused(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    source = a_folder(tmp_path / "tiny")
    (source / "manifest.json").write_text("{}")
    with pytest.raises(Invalid, match="two descriptions"):
        brought_in(models(house), house.owner, source)
    (source / "manifest.toml").unlink()
    (source / "manifest.json").unlink()
    with pytest.raises(Invalid, match=r"holds no manifest\.toml"):
        brought_in(models(house), house.owner, source)
    with pytest.raises(NotFound, match="no such folder"):
        brought_in(models(house), house.owner, tmp_path / "absent")


def test_a_manifest_that_changes_during_the_copy_is_noticed(
    house: House, maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = a_folder(tmp_path / "tiny")
    signed(source, maker.private)
    plain = weights.copy

    def swapped(place: Path, target: Path, path: str) -> Any:
        if path == "manifest.toml":
            place.write_text(MANIFEST)
        return plain(place, target, path)

    (source / "manifest.toml").write_text(MANIFEST.replace("Knows nothing", "Knows all"))
    monkeypatch.setattr(weights, "copy", swapped)
    with pytest.raises(Invalid, match="changed while it was read"):
        brought_in(models(house), house.owner, source)


# The house


def test_only_who_administers_may_import_and_a_name_is_given_once(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    source = signed(a_folder(tmp_path / "tiny"), maker.private)
    with pytest.raises(Refused, match="may not administer"):
        brought_in(models(house), house.person("bob"), source)
    brought_in(models(house), house.owner, source)
    with pytest.raises(Conflict, match="already"):
        brought_in(models(house), house.owner, source)
    with pytest.raises(Refused, match="second person"):
        models(house).approve(house.owner, "tiny")


def test_a_disk_without_room_is_noticed_before_anything_is_copied(
    house: House, maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = signed(a_folder(tmp_path / "tiny"), maker.private)
    monkeypatch.setattr(importing, "_SPARE", 1 << 60)
    with pytest.raises(Unavailable, match="no room"):
        brought_in(models(house), house.owner, source)


def test_what_an_interrupted_import_left_is_gone_at_the_next_start(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    source = signed(a_folder(tmp_path / "tiny"), maker.private)
    steps = bring_in(models(house), house.owner, Order(source))
    next(steps)
    assert left_behind(house)
    steps.close()  # type: ignore[attr-defined]
    assert left_behind(house) == []
    model = brought_in(models(house), house.owner, source)
    place = house.installation.folder.models
    for stray in (place / "incoming" / "x", place / ("0" * 64)):
        stray.mkdir()
        (stray / "w.gguf").write_bytes(b"")
    house.installation.close()
    with a_house(house.folder) as again:
        assert left_behind(again) == []
        assert models(again).get(again.owner, "tiny").digest == model.digest
        assert (again.installation.folder.models / model.digest.removeprefix("sha256:")).is_dir()


def test_a_move_that_cannot_be_recorded_leaves_neither_model_nor_files(
    house: House, maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = signed(a_folder(tmp_path / "tiny"), maker.private)

    def fails(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(house.installation.gate.acts, "record", fails)
        with pytest.raises(Unavailable, match="full"):
            brought_in(models(house), house.owner, source)
    assert left_behind(house) == []
    brought_in(models(house), house.owner, source)


def test_files_are_read_once_on_the_way_in(
    house: House, maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = signed(a_folder(tmp_path / "tiny"), maker.private)
    reads: list[str] = []
    plain = weights.read

    def counted(place: Path, path: str) -> Any:
        reads.append(path)
        return plain(place, path)

    monkeypatch.setattr(weights, "read", counted)
    monkeypatch.setattr(signature, "LONGEST", 1 << 20)
    brought_in(models(house), house.owner, source)
    assert reads.count("tiny.gguf") == 1


def test_the_model_that_comes_along_is_believed_and_nothing_else_of_its_signer(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound, match="No model comes with") if _none() else nullcontext():
        Order.built_in()
    private, public = a_key(tmp_path / "keys")
    package = SimpleNamespace(files=lambda _package: tmp_path)
    monkeypatch.setattr(importing, "resources", package)
    monkeypatch.setattr(signers, "resources", package)
    public.rename(tmp_path / "nano.pem")
    signed(a_folder(tmp_path / "nano", MANIFEST.replace('name = "tiny"', 'name = "nano"')), private)
    *_, model = bring_in(models(house), house.owner, Order.built_in())
    assert isinstance(model, Model)
    assert models(house).files(approve(house, "nano").manifest)
    source = signed(a_folder(tmp_path / "tiny"), private)
    with pytest.raises(Refused, match="not trusted here"):
        brought_in(models(house), house.owner, source)


def _none() -> bool:
    return not (Path(importing.__file__).parent / "nano.pem").is_file()
