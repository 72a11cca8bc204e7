"""Importing: from a folder of somebody's files to a model that a second person can approve.

The folder holds a description (``manifest.toml`` or ``manifest.json``) beside the files it names,
and nothing else but its signature. Everything is copied into quarantine and read once on the way;
what does not hold there never reaches the place of models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from casemate.errors import Invalid, NotFound, Refused, TooLarge
from casemate.models import formats, weights
from casemate.models.manifest import Manifest, Measure, is_path
from casemate.models.profile import Profile, known_profile, system_chunks
from casemate.models.signature import LONGEST, Signer, verify
from casemate.models.signers import built_in_signer
from casemate.store.folder import disk_problem

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.models.registry import Model, Models

BUILT_IN = "nano"
SIGNATURE = "model.sig"  # looked for in the folder when none is given
_PULLED = "pull.json"  # where `casemate model pull` had the files from
_DESCRIPTIONS = ("manifest.toml", "manifest.json")
_LONGEST_DESCRIPTION = 1 << 20  # bytes
_LONGEST_PROMPT = 1 << 18
_SPARE = 64 << 20  # bytes that stay free on the disk
_SHAPE = "`casemate model import --help` shows what it holds."


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the author of a folder says of the model in it."""

    name: str
    version: str
    intended_use: str
    limits: str
    label: str
    made_from: dict[str, str] | None = None
    architecture: str | None = None  # these three may come from the profile
    licence: str | None = None
    origin: str | None = None
    engine: str = "llama"
    files: list[str] | dict[str, str] = []  # those that no other part names, or all with digests
    weights: str | None = None
    tokenizer: str | None = None
    adapters: dict[str, str] | None = None
    evaluation: str | tuple[Measure, ...] | None = None
    profile: str | Profile = "generic"
    context_length: int | None = None
    fills: bool | None = None
    release: int | None = None
    lineage: str | None = None

    @classmethod
    def parse(cls, content: bytes, path: str) -> Description:
        """A description from TOML or JSON, by its name. Raises Invalid."""
        try:
            if path.endswith(".json"):
                return msgspec.json.decode(content, type=cls)
            return msgspec.toml.decode(content, type=cls)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as problem:
            raise Invalid(f"{path} is not usable: {problem}.", _SHAPE) from None

    def spoken_to(self) -> Profile:
        """Its profile. Raises NotFound."""
        if isinstance(self.profile, str):
            return known_profile(self.profile).profile
        return self.profile

    def named(self) -> set[str]:
        """The files it speaks of."""
        some = [self.weights, self.tokenizer, self.spoken_to().system_file]
        return {*self.files, *(self.adapters or {}).values(), *filter(None, some)}

    def manifest(self, digests: dict[str, str], system: str | None) -> Manifest:
        """The manifest of these files. Raises Invalid, NotFound."""
        profile = self.spoken_to()
        known = known_profile(self.profile).model if isinstance(self.profile, str) else {}
        if system is not None:
            profile = msgspec.structs.replace(
                profile, system=system_chunks(system, profile.thinking)
            )
        own = {
            field: value
            for field in self.__struct_fields__
            if (value := getattr(self, field)) is not None
        }
        parts: dict[str, Any] = {"architecture": "", "licence": "", "origin": ""} | known | own
        return Manifest.new(**parts | {"profile": profile, "files": digests})


@dataclass(frozen=True)
class Order:
    """What to import, and what is to be read otherwise than the folder says."""

    folder: Path
    name: str | None = None
    profile: str | None = None
    manifest: Path | None = None  # in place of the description in the folder
    signature: Path | None = None

    @classmethod
    def built_in(cls, name: str | None = None, profile: str | None = None) -> Order:
        """The model that comes with Casemate. Raises NotFound if none does."""
        folder = Path(str(resources.files("casemate.models").joinpath(BUILT_IN)))
        if not folder.is_dir() or not built_in_signer():
            raise NotFound("No model comes with this Casemate.", "Give a folder with one.")
        return cls(folder, name, profile)


@dataclass(frozen=True)
class Copied:
    """How far it has come, in bytes."""

    bytes: int
    total: int


@dataclass(frozen=True)
class Contents:
    """What lies in a folder of a model: its files with where and how large they are."""

    description: Description
    described_in: str  # which of the files that is
    content: bytes  # of that file
    places: Mapping[str, Path]
    sizes: Mapping[str, int]
    signature: Path | None

    @classmethod
    def of(cls, order: Order) -> Contents:
        """Look before anything is copied. Raises Invalid, Refused, NotFound, TooLarge."""
        sizes = weights.survey(order.folder)
        places = {path: order.folder / path for path in sizes}
        signature = order.signature
        if signature is None and SIGNATURE in places:
            signature = places[SIGNATURE]
        for path in list(places):  # a signature does not sign itself
            if path == SIGNATURE or (signature and _same(places[path], signature)):
                del places[path], sizes[path]
        described_in = _description(order, places, sizes)
        content = small(places[described_in], described_in, _LONGEST_DESCRIPTION)
        description = Description.parse(content, described_in)
        for path in sizes:
            formats.refuse_name(path)
            if not is_path(path):
                raise Invalid(
                    f"{path[:200]!a} is no name for a file of a model.",
                    "Use letters, digits, dots, hyphens and underscores.",
                )
        if description.weights is None:
            found = [path for path in sizes if formats.weights(path)]
            kept = set((description.adapters or {}).values())
            description = msgspec.structs.replace(
                description, weights=next((path for path in found if path not in kept), None)
            )
        if order.profile is not None:
            description = msgspec.structs.replace(description, profile=order.profile)
        # What `pull` wrote need not be named, and may be.
        named = description.named() | {described_in} | ({_PULLED} & set(sizes))
        _check_named(named, set(sizes))
        # What is wrong with it is better said now than after gigabytes were read.
        description.manifest(dict.fromkeys(sizes, f"sha256:{0:064}"), None)
        return cls(description, described_in, content, places, sizes, signature)


def bring_in(models: Models, actor: Caller, order: Order) -> Iterator[Copied | Model]:
    """Import a folder and propose its model: how far it has come, and last the model.

    Raises Refused for what is unsigned, wrongly signed, pickled or older than what is in use,
    Tampered for altered files, Invalid, NotFound, Conflict, TooLarge, Unavailable, Unsupported.
    """
    models.may_propose(actor)
    contents = Contents.of(order)
    told = contents.description
    models.check_new(order.name or told.name, told.label, told.made_from or {})
    if contents.signature is None:
        raise Refused(
            "The model is not signed: nobody vouches for its files.",
            "Its maker gives a signature, or sign it yourself with `casemate model sign`.",
        )
    signature = small(contents.signature, "The signature", LONGEST)
    total = sum(contents.sizes.values())
    try:
        with models.shelf.quarantine(total + _SPARE) as quarantine:
            done, digests = 0, {}
            for path, place in contents.places.items():
                for step in weights.copy(place, quarantine / path, path):
                    if isinstance(step, str):
                        digests[path] = step
                        continue
                    done += step
                    yield Copied(done, total)
                formats.check(quarantine / path, path)
            signer = verify(signature, digests, _signers(models, order))
            manifest = _manifest(order, contents, quarantine, digests)
            yield models.propose_files(actor, manifest, quarantine, signature, signer)
    except OSError as problem:
        raise disk_problem(problem) from problem


def small(place: Path, path: str, most: int) -> bytes:
    """The content of a small file. Raises TooLarge, Invalid, NotFound."""
    content = b""
    for piece in weights.read(place, path):
        content += piece
        if len(content) > most:
            raise TooLarge(f"{path} is larger than {most >> 10} KiB.", "Give another.")
    return content


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError as problem:
        raise weights.unreadable(problem) from problem


def _description(order: Order, places: dict[str, Path], sizes: dict[str, int]) -> str:
    """Which file describes the model; one from elsewhere is taken in among the others."""
    if order.manifest is not None:
        name = "manifest.json" if order.manifest.suffix.lower() == ".json" else "manifest.toml"
        for other in _DESCRIPTIONS:
            if other in places and not _same(places[other], order.manifest):
                raise Invalid(f"The folder holds a {other} of its own.", "Leave one of them out.")
        try:
            places[name], sizes[name] = order.manifest, order.manifest.stat().st_size
        except OSError as problem:
            raise weights.unreadable(problem) from problem
        return name
    found = [name for name in _DESCRIPTIONS if name in places]
    if len(found) != 1:
        raise Invalid(
            "The folder holds two descriptions of the model."
            if found
            else "The folder holds no manifest.toml that describes the model.",
            "Write one, and only one. " + _SHAPE,
        )
    return found[0]


def _check_named(named: set[str], there: set[str]) -> None:
    for path in sorted(there - named):
        raise Refused(
            f"{path} is not named in the manifest.",
            "Name it there under `files`, or take it out of the folder.",
        )
    for path in sorted(named - there):
        raise Invalid(f"The manifest names {path[:200]!a}, which is not in the folder.", "Add it.")


def _signers(models: Models, order: Order) -> list[Signer]:
    if order.folder == _built_in_folder():
        return built_in_signer()
    return models.signers.trusted()


def _built_in_folder() -> Path | None:
    try:
        return Order.built_in().folder
    except NotFound:
        return None


def _manifest(
    order: Order, contents: Contents, quarantine: Path, digests: dict[str, str]
) -> Manifest:
    description = contents.description
    described_in = contents.described_in
    if small(quarantine / described_in, described_in, _LONGEST_DESCRIPTION) != contents.content:
        raise Invalid("The manifest changed while it was read.", "Import again.")
    if isinstance(description.files, dict):
        for path, digest in description.files.items():
            if digests[path] != digest:
                raise Refused(f"{path} is not the file that the manifest names.", "Get it again.")
    profile = description.spoken_to()
    system = None
    if profile.system_file is not None:
        content = small(quarantine / profile.system_file, profile.system_file, _LONGEST_PROMPT)
        try:
            system = content.decode("utf-8")
        except UnicodeDecodeError:
            raise Invalid("The system prompt is not UTF-8 text.", "Correct it.") from None
    if description.tokenizer is not None:
        _check_tokenizer(quarantine / description.tokenizer, description.tokenizer, profile)
    if order.name is not None and order.name != description.name:
        description = msgspec.structs.replace(
            description, name=order.name, lineage=description.lineage or description.name
        )
    return description.manifest(digests, system)


def _check_tokenizer(place: Path, path: str, profile: Profile) -> None:
    """Refuse a Tekken tokenizer of another version than the template that its model is given."""
    if not path.endswith("tekken.json") or profile.template == "weights":
        return
    try:
        version = msgspec.json.decode(place.read_bytes())["config"]["version"]
    except (msgspec.DecodeError, KeyError, TypeError, UnicodeError):
        raise Invalid(f"{path} is no Tekken tokenizer.", "Get the file again.") from None
    if profile.template != f"mistral-{version}":
        raise Invalid(
            f"{path} is of version {str(version)[:20]!r}, but the profile's template is "
            f"{profile.template}.",
            "Give the template that fits in the manifest, under [profile].",
        )
