"""What a bundle may say of itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from bundle_parts import TIME, a_bundle, a_content, a_manifest, forged, read, the_head, the_members

from casemate.errors import Invalid
from casemate.models.bundle.manifest import BundleManifest, is_path


def test_a_manifest_is_read_back() -> None:
    manifest = a_manifest()
    assert BundleManifest.parse(manifest.canonical()) == manifest


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"format": "casemate-bundle/2"}, "format"),
        ({"origin": ""}, "origin"),
        ({"origin": "a\x1b[31m"}, "origin"),
        ({"sequence": 0}, "sequence"),
        ({"sequence": -1}, "sequence"),
        ({"sequence": "7"}, "sequence"),
        ({"made": "yesterday"}, "made"),
        ({"signers": []}, "two different keys"),
        ({"signers": ["sha256:" + "0" * 64] * 2}, "two different keys"),
        ({"signers": ["sha256:" + "1" * 64, "sha256:" + "0" * 64]}, "two different keys"),
        ({"custody": [{"time": "", "act": "made", "key": "", "note": ""}]}, "custody"),
        ({"contents": []}, "no members"),
        ({"unknown": 1}, "unknown"),
        ({"sbom": None}, "sbom"),
    ],
)
def test_a_manifest_that_does_not_hold_together_is_refused(
    said: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(Invalid, match=wrong):
        read(forged(**said))


def test_a_note_that_would_steer_a_terminal_is_refused() -> None:
    step = {"time": TIME, "act": "made", "key": "sha256:" + "0" * 64, "note": "\x1b[2J"}
    with pytest.raises(Invalid, match="cannot be shown"):
        read(forged(custody=[step]))


@pytest.mark.parametrize(
    "path",
    [
        "../out.txt",
        "/etc/passwd",
        "documents/../../out.txt",
        "documents/notes/..",
        "documents//a.txt",
        "documents/./a.txt",
        "documents/notes/",
        "documents\\a.txt",
        "documents/a\nb.txt",
        "documents/\u202etxt.exe",
        "",
        ".",
        "documents/" + "a" * 300,
        "/".join(["documents"] * 40),
        "manifest.json",
        "policies/wrong-kind.txt",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    content = msgspec.to_builtins(a_content(path, b""))
    with pytest.raises(Invalid, match=r"not a plain relative path|does not lie where"):
        read(forged(contents=[{**content, "kind": "document"}]))


@pytest.mark.parametrize("path", ["a", "a/b.txt", "town hall/café é.md", "a/...", ".hidden/x"])
def test_a_plain_path_is_one(path: str) -> None:
    assert is_path(path)


@pytest.mark.parametrize(
    ("parts", "wrong"),
    [
        ({"kind": "program"}, "does not lie where"),
        ({"kind": "policy"}, "does not lie where"),
        ({"size": -1}, "size"),
        ({"size": 1 << 52}, "size"),
        ({"sha256": "md5:0"}, "SHA-256"),
        ({"label": ""}, "label"),
        ({"licence": "\x1b[31m"}, "licence"),
    ],
)
def test_a_member_that_is_not_described_is_refused(parts: dict[str, Any], wrong: str) -> None:
    one = {**msgspec.to_builtins(a_content("documents/notes/a.txt", b"x")), **parts}
    with pytest.raises(Invalid, match=wrong):
        read(forged(contents=[one]))


@pytest.mark.parametrize("second", ["documents/a", "documents/a/b"])
def test_two_members_at_one_place_are_refused(second: str) -> None:
    contents = [a_content("documents/a", b""), a_content(second, b"")]
    with pytest.raises(Invalid, match=r"twice|inside another"):
        read(forged(contents=msgspec.to_builtins(contents)))


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: b" " + raw,
        lambda raw: raw.replace(b'{"boms":{}', b'{"boms":{},"boms":{}'),
        lambda raw: raw.replace(b'"sequence":7', b'"sequence":7.0'),
        lambda raw: raw.replace(b'"sequence":7', b'"sequence":1e400'),
        lambda raw: raw[:-1],
        lambda raw: b"[" * 100_000,
        lambda raw: b"\xff\xfe",
    ],
)
def test_a_manifest_has_one_spelling(change: Any) -> None:
    raw = change(a_manifest().canonical())
    with pytest.raises(Invalid):
        read(a_bundle(*the_head(raw), *the_members()))
