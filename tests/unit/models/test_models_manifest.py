from __future__ import annotations

import json
from typing import Any

import pytest

from casemate.errors import Invalid
from casemate.models.manifest import FILES_UNKNOWN, Manifest
from casemate.models.registry import quote

DIGEST = "sha256:" + "0" * 64


def parts(**more: Any) -> dict[str, Any]:
    return {
        "name": "tiny",
        "version": "1",
        "engine": "llama",
        "architecture": "Llama",
        "licence": "Apache-2.0",
        "origin": "Ourselves",
        "intended_use": "Tests.",
        "limits": "Many.",
        "label": "unclassified",
        "files": {"weights/model.gguf": DIGEST},
    } | more


def remote(**more: Any) -> dict[str, Any]:
    return (
        parts(engine="remote", files={}, address="http://10.0.0.1:8000", upstream="org/model")
        | more
    )


def test_a_remote_model_has_one_server_or_several_in_their_order() -> None:
    assert Manifest.new(**remote()).servers == ("http://10.0.0.1:8000",)
    several = ["http://10.0.0.2:8000/v1", "http://10.0.0.1:8000/v1"]
    manifest = Manifest.new(**remote(address=None, addresses=several))
    assert manifest.servers == tuple(several)
    assert Manifest.parse(manifest.canonical()) == manifest
    assert Manifest.new(**parts()).servers == ()


def test_a_manifest_is_read_back_from_its_canonical_text() -> None:
    for manifest in (Manifest.new(**parts()), Manifest.new(**remote()), quote()):
        again = Manifest.parse(manifest.canonical())
        assert again == manifest
        assert again.canonical() == manifest.canonical()
        assert again.digest() == manifest.digest()


def test_the_digest_does_not_depend_on_the_order_of_writing() -> None:
    shuffled = dict(reversed(parts().items()))
    assert Manifest.new(**shuffled).digest() == Manifest.new(**parts()).digest()
    assert Manifest.new(**parts(limits="Few.")).digest() != Manifest.new(**parts()).digest()


def test_a_remote_model_says_that_its_files_are_unknown() -> None:
    manifest = Manifest.new(**remote())
    assert not manifest.files_known
    assert json.loads(manifest.canonical())["files_note"] == FILES_UNKNOWN
    assert "files_note" not in json.loads(Manifest.new(**parts()).canonical())


@pytest.mark.parametrize(
    ("manifest", "wrong"),
    [
        (parts(name="../x"), "name"),
        (parts(name="Tiny"), "name"),
        (parts(licence=" "), "licence is empty"),
        (parts(limits="x" * 5000), "limits is empty or longer"),
        (parts(engine="pickle"), "engine is none of"),
        (parts(files={}), "names its files"),
        (parts(files={"../weights": DIGEST}), "not a plain relative path"),
        (parts(files={"a/./b": DIGEST}), "not a plain relative path"),
        (parts(files={"/etc/passwd": DIGEST}), "not a plain relative path"),
        (parts(files={"w": "sha256:0"}), "the digest of file 'w'"),
        (parts(address="http://x"), "remote models only"),
        (parts(context_length=0), "context_length"),
        (parts(v=2), "version `v`"),
        (parts(colour="red"), "colour"),
        (parts(release=-1), "release is out of bounds"),
        (parts(lineage="A b"), "lineage is not written"),
        (parts(evaluation=" "), "evaluation is empty"),
        (parts(evaluation=[{"measure": "x", "value": ""}]), "evaluation is empty"),
        (parts(evaluation=[{"measure": "x", "value": 0.5}]), "not usable"),
        (parts(weights="other.gguf"), "weights names a file that is not among"),
        (parts(tokenizer="tekken.json"), "tokenizer names a file that is not among"),
        (parts(adapters={"a": "a.gguf"}), "adapter a names a file that is not among"),
        (parts(adapters={"A b": "weights/model.gguf"}), "adapter 'A b' is not written"),
        (parts(profile={"system_file": "S.txt"}), "system_file names a file that is not among"),
        (parts(profile={"template": "alpaca"}), "template of its profile"),
        (remote(weights="w"), "belong to models whose files are here"),
        (remote(profile={"system_file": "S.txt"}), "belong to models whose files are here"),
        (remote(files={"w": DIGEST}), "cannot be vouched for"),
        (remote(upstream=None), "needs an address"),
        (remote(address=None), "needs an address"),
        (remote(address="ldap://10.0.0.1"), "does not begin with http"),
        (remote(addresses=["http://10.0.0.2"]), "one, or several, not both"),
        (remote(address=None, addresses=[]), "needs an address"),
        (remote(address=None, addresses=["http://a", ""]), "needs an address"),
        (remote(address=None, addresses=["http://a", "http://a"]), "twice"),
        (remote(address=None, addresses=[f"http://a:{n}" for n in range(1, 300)]), "more than 256"),
        (parts(addresses=["http://x"]), "remote models only"),
        (remote(files_note="trust me"), "files_note"),
        ({}, "name"),
    ],
)
def test_a_manifest_with_a_wrong_part_is_refused_by_that_part(
    manifest: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(Invalid, match=wrong) as caught:
        Manifest.new(**manifest)
    assert caught.value.next


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"null", b"[" * 100_000])
def test_what_is_not_json_is_refused(content: bytes) -> None:
    with pytest.raises(Invalid, match="not usable"):
        Manifest.parse(content)


def test_what_came_later_does_not_change_the_digest_of_what_was_there() -> None:
    kept = "sha256:4a6d7fa74d9acf1bb78aaca5b202ae3eed3bee5381ad780543e1eb98a0dd9300"
    assert Manifest.new(**parts()).digest() == kept


def test_the_place_of_a_release_in_its_lineage() -> None:
    assert Manifest.new(**parts()).line == ("tiny", 0)
    assert Manifest.new(**parts(name="tiny-3", lineage="tiny", release=3)).line == ("tiny", 3)
