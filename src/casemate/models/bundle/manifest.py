"""The manifest of a bundle: what is in it, from whom, under which label, and who has had it.

Canonical JSON (RFC 8785), first in the archive. Its digest is what two people sign; through it
they sign every member's SHA-256, the order of the members, and everything said about them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from casemate.errors import Invalid
from casemate.ledger.receipt import ReceiptError, canonical, parse_canonical

FORMAT = "casemate-bundle/1"
NAME = "manifest.json"
LONGEST = 16 << 20  # bytes
FOLDERS = {
    "model": "models",
    "document": "documents",
    "policy": "policies",
    "adapter": "adapters",
    "evaluation": "evaluations",
}
_MOST = 50_000  # members
_MOST_SIZE = 1 << 50
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_ADVICE = "Have the bundle made again."


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One member of a bundle. ``sha256``: "sha256:…" of its bytes."""

    path: str
    kind: str
    size: int
    sha256: str
    label: str
    licence: str


class Custody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who did what with the bundle, and when. ``key``: fingerprint of whose key."""

    time: str
    act: str
    key: str
    note: str


class BundleManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a bundle says of itself. Made by ``parse`` or ``checked``, never in a wrong state.

    ``sequence`` grows with every bundle of one ``origin``. ``label`` is the join of all contents'.
    ``boms``: of each model, by its name. ``signers``: fingerprints of the two keys, in order.
    """

    origin: str
    sequence: int
    made: str
    label: str
    contents: tuple[Content, ...]
    signers: tuple[str, ...]
    custody: tuple[Custody, ...]
    sbom: dict[str, Any]
    boms: dict[str, dict[str, Any]]
    format: str = FORMAT

    @classmethod
    def parse(cls, raw: bytes) -> BundleManifest:
        """A manifest from its canonical JSON. Raises Invalid naming the part that is wrong."""
        try:
            return msgspec.convert(parse_canonical(raw), cls).checked()
        except (ReceiptError, msgspec.ValidationError) as problem:
            raise _unusable(str(problem)) from None

    def checked(self) -> BundleManifest:
        """The same, if all of it holds together. Raises Invalid."""
        wrong = next(_wrong(self), None)
        if wrong:
            raise _unusable(wrong)
        return self

    def canonical(self) -> bytes:
        """Its canonical JSON."""
        return canonical(msgspec.to_builtins(self))

    def digest(self) -> str:
        """ "sha256:…" of its canonical JSON: the name of the bundle in the ledger."""
        return digest(self.canonical())


def digest(raw: bytes) -> str:
    """ "sha256:…" of ``raw``."""
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def is_path(path: str) -> bool:
    """Whether ``path`` is relative, has one spelling, and leads nowhere but down."""
    parts = path.split("/")
    return (
        len(parts) <= 32
        and len(path.encode("utf-8", "replace")) <= 1024
        and path.isprintable()
        and "\\" not in path
        and not any(part in ("", ".", "..") or len(part.encode()) > 250 for part in parts)
    )


def _wrong(manifest: BundleManifest) -> Iterator[str]:
    """What is wrong with it, as far as somebody asks."""
    if manifest.format != FORMAT:
        yield f"its format is {manifest.format[:40]!r}, not {FORMAT}"
    if not 1 <= len(manifest.origin) <= 200 or not manifest.origin.isprintable():
        yield "its origin is not a name"
    if not 1 <= manifest.sequence < 1 << 53:
        yield "its sequence is not a number from 1"
    if not _TIME.fullmatch(manifest.made):
        yield "it does not say when it was made"
    signers = manifest.signers
    if len(signers) != 2 or not all(map(_DIGEST.fullmatch, signers)) or signers[0] >= signers[1]:
        yield "it does not name two different keys, in order"
    for step in manifest.custody:
        if not _TIME.fullmatch(step.time) or not _DIGEST.fullmatch(step.key):
            yield "a step of its custody has no time or no key"
        if not (step.act.isprintable() and step.note.isprintable() and len(step.note) <= 1000):
            yield "a step of its custody cannot be shown"
    yield from _wrong_contents(manifest.contents)


def _wrong_contents(contents: tuple[Content, ...]) -> Iterator[str]:
    if not 1 <= len(contents) <= _MOST:
        yield f"it has no members, or more than {_MOST:,}"
    paths: set[str] = set()
    for one in contents:
        shown = ascii(one.path[:80])
        if one.path in paths:
            yield f"member {shown} is in it twice"
        paths.add(one.path)
        if not is_path(one.path):
            yield f"member {shown} is not a plain relative path"
        if one.kind not in FOLDERS or not one.path.startswith(f"{FOLDERS[one.kind]}/"):
            yield f"member {shown} does not lie where things of its kind do"
        if not 0 <= one.size <= _MOST_SIZE:
            yield f"member {shown} has no possible size"
        if not _DIGEST.fullmatch(one.sha256):
            yield f"member {shown} has no SHA-256"
        if not one.label or not (one.label + one.licence).isprintable():
            yield f"member {shown} has no label, or one or a licence that cannot be shown"
    for path in paths:
        if any(path[:at] in paths for at, letter in enumerate(path) if letter == "/"):
            yield f"member {path[:80]!a} lies inside another"


def _unusable(wrong: str) -> Invalid:
    return Invalid(f"The bundle's manifest is not usable: {wrong}.", _ADVICE)
