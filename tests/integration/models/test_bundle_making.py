"""Making a bundle: from collections, models and files, and only from what one may see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundle_builders import a_source, bundle_entries, keys, made, received, trusting
from house_builders import DOG_TAX, FEES, WASTE, House, a_house, casemate
from model_builders import Maker, a_folder, a_key, brought_in, gguf, signed

from casemate.errors import Conflict, Invalid, NotFound, Refused, Tampered, Unavailable
from casemate.models.bom import bom
from casemate.models.bundle.keys import make_key
from casemate.models.bundle.reading import inspect
from casemate.models.bundle.writing import Source


def tiny(house: House, maker: Maker, folder: Path) -> None:
    """An approved model with files."""
    models = house.installation.models
    brought_in(models, house.owner, signed(a_folder(folder / "tiny"), maker.private))
    models.approve(house.person("second", roles=("admin", "user")), "tiny")


def test_a_collection_comes_out_as_it_went_in(house: House, tmp_path: Path) -> None:
    house.add("town hall", fees=FEES, waste=WASTE)
    sources = house.installation.carried_documents.out(house.owner, "town hall")
    made(house, tmp_path / "out", sources)
    with a_house(tmp_path / "far") as far:
        trusting(far, tmp_path)
        outcomes, _ = received(far, tmp_path / "out")
        assert set(outcomes.values()) == {"added"}
        assert "40 euros" in far.ask(DOG_TAX).answer.text  # type: ignore[union-attr]


def test_a_collection_that_one_may_not_read_is_not_there(house: House) -> None:
    house.clear_owner_for("lu:secret")
    house.collection("papers", "secret")
    house.add("papers", fees=FEES)
    other = house.person("other", roles=("admin", "user"))
    for name in ("papers", "none"):
        with pytest.raises(NotFound):
            house.installation.carried_documents.out(other, name)


def test_what_is_above_ones_clearance_is_not_written_and_the_refusal_is_on_record(
    house: House, tmp_path: Path
) -> None:
    sources = [
        a_source("documents/a/a.md", b"x", house),
        a_source("documents/b/b.md", b"x", house, "restricted"),
    ]
    with pytest.raises(Refused, match="label-must-be-dominated"):
        made(house, tmp_path / "out", sources)
    assert list(tmp_path.glob("out*")) == []
    assert house.entries()[-1]["kind"] == "refused"


def test_the_label_of_a_bundle_is_the_join_of_what_is_in_it(house: House, tmp_path: Path) -> None:
    house.clear_owner_for("lu:secret/alpha,beta")
    sources = [
        a_source("documents/a/a.md", b"x", house, "restricted/alpha"),
        a_source("documents/b/b.md", b"x", house, "secret/beta"),
    ]
    last = made(house, tmp_path / "out", sources)
    assert last.manifest.label == "lu:secret/alpha,beta"
    assert [one.label for one in last.manifest.contents] == [
        "lu:restricted/alpha",
        "lu:secret/beta",
    ]


@pytest.mark.parametrize("how", ["one key", "one key twice", "three keys"])
def test_two_people_sign(house: House, tmp_path: Path, how: str) -> None:
    anna, bob = keys(tmp_path)
    given = {"one key": [anna], "one key twice": [anna, anna], "three keys": [anna, bob, anna]}
    with pytest.raises(Refused, match="two people"):
        made(house, tmp_path / "out", [a_source("policies/a", b"", house)], keys=given[how])
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_there_is_not_replaced(house: House, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(Conflict):
        made(house, tmp_path / "out", [a_source("policies/a", b"", house)])
    assert (tmp_path / "out").read_text() == "mine"


def test_what_changes_on_the_way_is_noticed(house: House, tmp_path: Path) -> None:
    for second in (b"yyy", b"xxxx", b"xx"):
        contents = [b"xxx", second]
        source = Source(
            "policies/a",
            "policy",
            house.label("unclassified"),
            "",
            lambda contents=contents: iter([contents.pop(0)]),  # type: ignore[misc]
        )
        with pytest.raises(Conflict, match="changed"):
            made(house, tmp_path / "out", [source])
        assert list(tmp_path.glob("out*")) == []


def test_a_place_that_cannot_be_written_is_said(house: House, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be written"):
        made(
            house,
            tmp_path / "none" / "out",
            [a_source("policies/a", b"", house)],
            keys=keys(tmp_path),
        )


@pytest.mark.parametrize("path", ["policies/../a", "documents/a\nb/c", "policies/" + "x" * 300])
def test_a_name_that_cannot_be_in_a_bundle_is_said(house: House, tmp_path: Path, path: str) -> None:
    with pytest.raises(Invalid, match="cannot be the path"):
        made(house, tmp_path / "out", [a_source(path, b"", house)])


def test_a_model_comes_out_proposed_with_its_files(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    tiny(house, maker, tmp_path)
    manifest = house.installation.models.approved("tiny")
    sources = house.installation.carried_models.out(house.owner, "tiny")
    made(house, tmp_path / "out", sources, boms={"tiny": json.loads(bom(manifest))})
    with (tmp_path / "out").open("rb") as stream:
        said, _ = inspect(stream)
    assert said.boms["tiny"]["bomFormat"] == "CycloneDX"
    assert {one.licence for one in said.contents} == {"Apache-2.0"}
    with a_house(tmp_path / "far") as far:
        models = far.installation.models
        trusting(far, tmp_path)
        with pytest.raises(Refused):  # two people vouch for the bundle, nobody for the model
            received(far, tmp_path / "out")
        models.signers.trust(far.owner, "maker", maker.public.read_bytes())
        outcomes, _ = received(far, tmp_path / "out")
        assert outcomes == {"tiny": "proposed"}
        with pytest.raises(Refused):  # the same person does not approve it
            models.approve(far.owner, "tiny")
        models.approve(far.person("second", roles=("admin", "user")), "tiny")
        assert models.approved("tiny") == manifest
        assert (models.files(manifest) / "tiny.gguf").read_bytes() == gguf()
        made(house, tmp_path / "again", sources, sequence=2)
        assert received(far, tmp_path / "again")[0] == {"tiny": "unchanged"}


def test_a_model_of_that_name_that_is_another_is_not_replaced(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    tiny(house, maker, tmp_path)
    made(house, tmp_path / "out", house.installation.carried_models.out(house.owner, "tiny"))
    with a_house(tmp_path / "far") as far:
        trusting(far, tmp_path)
        private, public = a_key(tmp_path / "their keys")
        far.installation.models.signers.trust(far.owner, "them", public.read_bytes())
        other = signed(a_folder(tmp_path / "other", tiny__gguf=gguf(filler=b"x")), private)
        brought_in(far.installation.models, far.owner, other)
        with pytest.raises(Conflict, match="another model"):
            received(far, tmp_path / "out")


@pytest.mark.parametrize("how", ["left out", "put in", "without manifest", "without signature"])
def test_a_model_without_just_its_files_is_refused(
    house: House, maker: Maker, tmp_path: Path, how: str
) -> None:
    tiny(house, maker, tmp_path)
    sources = house.installation.carried_models.out(house.owner, "tiny")
    gone = {
        "left out": "tiny.gguf",
        "without manifest": "/tiny/manifest.json",
        "without signature": "model.sig",
    }.get(how, "nothing")
    sources = [one for one in sources if not one.path.endswith(gone)]
    if how == "put in":
        last = sources[-1]
        more = Source("models/tiny/files/x.txt", "model", last.label, last.licence, last.pieces)
        sources.append(more)
    made(house, tmp_path / "out", sources)
    with a_house(tmp_path / "far") as far:
        trusting(far, tmp_path)
        far.installation.models.signers.trust(far.owner, "maker", maker.public.read_bytes())
        with pytest.raises((Invalid, Tampered)):
            received(far, tmp_path / "out")
        assert [one.id for one in far.installation.models.list(far.owner)] == ["quote"]
        assert bundle_entries(far)[-1]["kind"] == "bundle.refused"


def test_a_model_that_is_not_approved_does_not_leave(
    house: House, maker: Maker, tmp_path: Path
) -> None:
    folder = signed(a_folder(tmp_path / "tiny"), maker.private)
    brought_in(house.installation.models, house.owner, folder)
    with pytest.raises(Refused, match="not approved"):
        house.installation.carried_models.out(house.owner, "tiny")


def test_the_commands_carry_a_bundle_across(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    casemate("bundle", "key", tmp_path / "anna").fine()
    for name in ("bob", "eve"):
        make_key(tmp_path / name)
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "fees.md").write_text(FEES)
    (tmp_path / "more.cedar").write_text("nonsense")
    casemate("add", tmp_path / "papers", "--collection", "notes", data=near).fine()
    out = tmp_path / "7.bundle"
    sign = ("--key", tmp_path / "anna", "--key", tmp_path / "bob", "--sequence", "7")
    wrong = ("--policy", tmp_path / "more.cedar")
    assert "more.cedar" in casemate("bundle", "make", out, *wrong, *sign, data=near).refused()
    what = ("--collection", "notes", "--documents", tmp_path / "papers", "--model", "quote")
    last = casemate("bundle", "make", out, *what, *sign, "--json", data=near).fine().json
    assert last["members"] == 3
    trust = ("--trust", tmp_path / "anna.pub", "--trust", tmp_path / "bob.pub")
    assert "documents/papers/fees.md" in casemate("bundle", "inspect", out, *trust).fine().out
    eve = ("--trust", tmp_path / "eve.pub")
    assert "another key" in casemate("bundle", "inspect", out, *eve).refused()
    with a_house(far) as house:
        trusting(house, tmp_path)
    done = casemate("bundle", "import", out, "--json", data=far).fine().json
    assert [one["outcome"] for one in done["contents"]] == ["unchanged", "added", "added"]
    assert "not newer" in casemate("bundle", "import", out, data=far).refused()
    casemate("bundle", "trust", "remove", "bob", data=far).fine()
    assert "bob" not in casemate("bundle", "trust", "list", data=far).fine().out
