"""Manifests: what a model is, where it comes from and what it is for, in one canonical text.

The digest of that text is what people approve and what the ledger names. Fields follow what
Regulation (EU) 2024/1689 (AI Act), Annex XII, asks a provider to say about a model.
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from typing import Any

import msgspec

from casemate.errors import Invalid
from casemate.ledger.receipt import canonical
from casemate.models.profile import Profile, wrong_profile

ENGINES = ("quote", "llama", "remote", "cluster")
FILES_UNKNOWN = "The files of a remote model are not seen from here; only its server is known."
_LONGEST_TEXT = 4000
_MOST_FILES = 4096
_MOST_SERVERS = 256


class Measure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that was measured of a model. ``value`` is text: the ledger holds no fractions."""

    measure: str
    value: str
    of: str | None = None  # on which part of what: a data set, a language


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """One model. Cannot exist with a missing or contradictory part: made by ``parse`` or ``new``.

    ``files`` maps paths to "sha256:…". A remote model has none, and says so: ``files_known``.
    Releases of one model have names of their own; ``lineage`` is what they share.
    """

    name: str  # its id here
    version: str
    engine: str
    architecture: str
    licence: str
    origin: str  # who made it, where it was had
    intended_use: str
    limits: str  # what it is not good for
    label: str  # of the model itself: at least the join of what it was made from
    made_from: dict[str, str] | None = None  # training data, adapters, other models → their labels
    files: dict[str, str] = {}
    weights: str | None = None  # which of the files is loaded (GGUF, or the first of safetensors)
    tokenizer: str | None = None  # which of the files is the tokenizer, if it lies beside
    adapters: dict[str, str] | None = None  # LoRA adapters: name → which of the files
    evaluation: str | tuple[Measure, ...] | None = None  # what was measured of it, and how
    profile: Profile | None = None  # how it wants to be spoken to
    context_length: int | None = None  # tokens
    address: str | None = None  # of a remote server
    addresses: tuple[str, ...] | None = None  # in its place, of several that run the same model
    upstream: str | None = None  # what a remote server calls it
    release: int | None = None  # grows with each release of its lineage
    lineage: str | None = None  # its name if it is not given
    v: int = 1

    @property
    def files_known(self) -> bool:
        """Whether the weights are pinned by digest."""
        return self.engine not in ("remote", "cluster")

    @property
    def servers(self) -> tuple[str, ...]:
        """The addresses of a remote model's servers: one, or those of its replicas."""
        return self.addresses or (() if self.address is None else (self.address,))

    @property
    def line(self) -> tuple[str, int]:
        """Its lineage and its place in it: what is older must not come after what is newer."""
        return self.lineage or self.name, self.release or 0

    def canonical(self) -> bytes:
        """Its canonical JSON (RFC 8785); says in words when files are unknown."""
        plain: dict[str, Any] = {
            name: value for name, value in msgspec.to_builtins(self).items() if value is not None
        }
        if not self.files_known:
            plain["files_note"] = FILES_UNKNOWN
        return canonical(plain)

    def digest(self) -> str:
        """ "sha256:…" of its canonical JSON."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.canonical()).hexdigest()

    @classmethod
    def new(cls, **parts: Any) -> Manifest:
        """A manifest from its parts. Raises Invalid naming the part that is wrong."""
        try:
            return cls.parse(msgspec.json.encode(parts))
        except UnicodeEncodeError as problem:
            raise Invalid(f"The manifest is not usable: {problem}.", _ADVICE) from None

    @classmethod
    def parse(cls, content: bytes | str) -> Manifest:
        """A manifest from JSON. Raises Invalid naming the part that is wrong."""
        try:
            parts = msgspec.json.decode(content, type=dict[str, Any])
            note = parts.pop("files_note", FILES_UNKNOWN)
            manifest = msgspec.convert(parts, cls)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as problem:
            raise Invalid(f"The manifest is not usable: {problem}.", _ADVICE) from None
        wrong = _wrong(manifest)
        if note != FILES_UNKNOWN:
            wrong = "its files_note is not the platform's own words"
        if wrong:
            raise Invalid(f"The manifest is not usable: {wrong}.", _ADVICE)
        return manifest


def is_name(text: str) -> bool:
    """Whether ``text`` can be the name of a model."""
    return re.fullmatch(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?", text) is not None


def is_path(text: str) -> bool:
    """Whether ``text`` can be the path of a file inside a model."""
    pattern = r"(?!.*(?:^|/)\.{1,2}(?:/|$))[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*"
    return len(text) <= 1000 and re.fullmatch(pattern, text) is not None


_ADVICE = "`casemate model import --help` and `casemate model propose --help` show what it holds."


def _wrong(manifest: Manifest) -> str | None:
    """What is wrong with it, or None."""
    if not is_name(manifest.name):
        return "name is not lower-case letters, digits, dots, hyphens, at most 64"
    for field in ("version", "architecture", "licence", "origin", "intended_use", "limits"):
        text = getattr(manifest, field)
        if not 1 <= len(text.strip()) <= _LONGEST_TEXT:
            return f"{field} is empty or longer than {_LONGEST_TEXT} characters"
    if manifest.v != 1:
        return "its version `v` is not 1"
    if manifest.engine not in ENGINES:
        return f"engine is none of {', '.join(ENGINES)}"
    if manifest.context_length is not None and not 1 <= manifest.context_length <= 2**31:
        return "context_length is out of bounds"
    if manifest.release is not None and not 0 <= manifest.release <= 2**31:
        return "release is out of bounds"
    if manifest.lineage is not None and not is_name(manifest.lineage):
        return "lineage is not written like a name"
    for name, label in (manifest.made_from or {}).items():
        if not (1 <= len(name) <= 200 and name.isprintable() and label):
            return f"made_from names {name[:80]!r}, which cannot be shown or has no label"
    wrong = _wrong_evaluation(manifest.evaluation) or wrong_profile(manifest.profile)
    if wrong:
        return wrong
    if manifest.files_known:
        if manifest.servers or manifest.upstream is not None:
            return "address, addresses and upstream belong to remote models only"
        return _wrong_files(manifest)
    if _named(manifest):
        return "weights, tokenizer, adapters and system_file belong to models whose files are here"
    if manifest.files:
        return "digests of a remote model's files cannot be vouched for from here: leave them out"
    if manifest.address is not None and manifest.addresses is not None:
        return "it has an address and addresses: give one, or several, not both"
    if not all(manifest.servers) or not manifest.servers or not manifest.upstream:
        return "a remote model needs an address and the name its server gives it (upstream)"
    if not all(re.match(r"https?://", address) for address in manifest.servers):
        return "an address of it does not begin with http:// or https://"
    if len(set(manifest.servers)) < len(manifest.servers):
        return "it names one of its addresses twice"
    if len(manifest.servers) > _MOST_SERVERS:
        return f"it has more than {_MOST_SERVERS} addresses"
    return None


def _wrong_evaluation(evaluation: str | tuple[Measure, ...] | None) -> str | None:
    texts = [evaluation] if isinstance(evaluation, str) else []
    for one in () if isinstance(evaluation, str) else evaluation or ():
        texts += [one.measure, one.value, *([one.of] if one.of is not None else [])]
    if len(texts) > 1000 or not all(1 <= len(text.strip()) <= _LONGEST_TEXT for text in texts):
        return f"a text of evaluation is empty or longer than {_LONGEST_TEXT} characters"
    return None


def _named(manifest: Manifest) -> dict[str, str]:
    """The parts that name a file, with the file."""
    named = {"weights": manifest.weights, "tokenizer": manifest.tokenizer}
    named |= {f"adapter {name[:80]}": path for name, path in (manifest.adapters or {}).items()}
    if manifest.profile is not None:
        named["system_file"] = manifest.profile.system_file
    return {part: path for part, path in named.items() if path is not None}


def _wrong_files(manifest: Manifest) -> str | None:
    if len(manifest.files) > _MOST_FILES:
        return f"it names more than {_MOST_FILES} files"
    for path, digest in manifest.files.items():
        if not is_path(path):
            return f"file {path[:80]!r} is not a plain relative path"
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            return f"the digest of file {path[:80]!r} is not sha256: and 64 hex digits"
    for part, path in _named(manifest).items():
        if path not in manifest.files:
            return f"{part} names a file that is not among its files: {path[:80]!r}"
    for name in manifest.adapters or ():
        if not is_name(name):
            return f"adapter {name[:80]!r} is not written like a name"
    if not manifest.files and manifest.engine != "quote":
        return "a model with weights names its files and their digests"
    return None
