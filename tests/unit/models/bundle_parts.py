"""Bundles in memory, honest and forged, piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from casemate.ledger.receipt import canonical
from casemate.models.bundle import archive
from casemate.models.bundle import manifest as manifest_
from casemate.models.bundle.keys import SIGNATURES, SigningKey
from casemate.models.bundle.manifest import BundleManifest, Content, Custody
from casemate.models.bundle.reading import Seal, inspect

TIME = "2026-01-02T03:04:05Z"
ANNA, BOB, EVE = sorted(
    (SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([one]) * 32)) for one in (1, 2, 3)),
    key=lambda key: key.public.fingerprint,
)
PAPERS = {
    "documents/notes/a.txt": b"The dog tax is 40 euros.\n",
    "documents/notes/é long name.txt": b"x" * 1000,
    "policies/more.cedar": b"permit (principal, action, resource);\n",
}
_KINDS = {folder: kind for kind, folder in manifest_.FOLDERS.items()}


def a_content(path: str, content: bytes, **more: Any) -> Content:
    kind = _KINDS.get(path.split("/")[0], "document")
    known = {"path": path, "kind": kind, "size": len(content), "sha256": manifest_.digest(content)}
    return Content(**{**known, "label": "lu:unclassified", "licence": "", **more})


def a_manifest(contents: Sequence[Content] | None = None, **more: Any) -> BundleManifest:
    if contents is None:
        contents = [a_content(path, content) for path, content in PAPERS.items()]
    signers = (ANNA.public.fingerprint, BOB.public.fingerprint)
    parts: dict[str, Any] = {
        "origin": "example.lu/station",
        "sequence": 7,
        "made": TIME,
        "label": "lu:unclassified",
        "contents": tuple(contents),
        "signers": signers,
        "custody": tuple(Custody(TIME, "made", key, "") for key in signers),
        "sbom": {},
        "boms": {},
    }
    return BundleManifest(**{**parts, **more})


def a_member(path: str, content: bytes) -> bytes:
    return archive.header(path, len(content)) + content + archive.padding(len(content))


def the_members(papers: dict[str, bytes] | None = None) -> list[bytes]:
    return [a_member(path, content) for path, content in (papers or PAPERS).items()]


def the_head(
    raw: bytes | None = None, keys: Sequence[SigningKey] = (ANNA, BOB), signed: str | None = None
) -> list[bytes]:
    """Manifest and signatures as members. ``signed``: what the keys sign instead of it."""
    raw = a_manifest().canonical() if raw is None else raw
    digest = signed or manifest_.digest(raw)
    return [
        a_member(manifest_.NAME, raw),
        *(
            a_member(name, key.sign(digest).canonical())
            for name, key in zip(SIGNATURES, keys, strict=False)
        ),
    ]


def a_bundle(*parts: bytes) -> bytes:
    """The bundle of the papers, or of these parts."""
    return b"".join(parts or [*the_head(), *the_members()]) + archive.END


def forged(**more: Any) -> bytes:
    """A bundle whose manifest says something else, rightly signed."""
    raw = canonical({**msgspec.to_builtins(a_manifest()), **more})
    return a_bundle(*the_head(raw), *the_members())


def read(bundle: bytes) -> tuple[BundleManifest, Seal]:
    return inspect(BytesIO(bundle))
