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
        (remote(files={"w": DIGEST}), "cannot be vouched for"),
        (remote(upstream=None), "needs an address"),
        (remote(address=None), "needs an address"),
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
