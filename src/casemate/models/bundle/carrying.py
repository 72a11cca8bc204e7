"""Models in a bundle: how one is put in, and how it is proposed where it comes out.

Its files lie under ``models/NAME/files/``; beside them ``manifest.json`` as it was approved, and
``model.sig``, the signature of whoever vouches for the files. Two people vouch for the bundle, but
only a trusted signer for the model, and only a second person here approves it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from casemate.errors import Conflict, Invalid, NotFound, Tampered
from casemate.models import formats, weights
from casemate.models.bundle.arrival import Member, Outcome
from casemate.models.bundle.writing import Source
from casemate.models.manifest import Manifest
from casemate.models.signature import LONGEST, verify
from casemate.store import tables

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.label import Label
    from casemate.models.registry import Models
    from casemate.store.database import Database

_LONGEST_MANIFEST = 1 << 20
_AGAIN = "Have the bundle made again, from the model as it was approved."


class ModelsInBundles:
    """Puts approved models into bundles and proposes those that come out."""

    def __init__(self, models: Models, database: Database) -> None:
        self._models = models
        self._database = database

    def out(self, actor: Caller, name: str) -> list[Source]:
        """What of an approved model goes into a bundle. Raises Refused, NotFound, Tampered."""
        model = self._models.get(actor, name)
        manifest = self._models.approved(name)
        folder = self._models.files(manifest) if manifest.files else None

        def source(path: str, content: bytes) -> Source:
            return Source(
                f"models/{name}/{path}",
                "model",
                model.label,
                _licence(manifest),
                lambda: iter([content]),
            )

        found = [source("manifest.json", manifest.canonical())]
        if folder is not None:
            found.append(source("model.sig", self._signature(name)))
            found += [
                file_source(
                    folder / path,
                    f"models/{name}/files/{path}",
                    "model",
                    model.label,
                    _licence(manifest),
                )
                for path in manifest.files
            ]
        return found

    def promote(self, actor: Caller, members: Sequence[Member]) -> Iterator[Outcome]:
        """Propose what came out of a bundle. Raises Refused, Tampered, Conflict, Invalid."""
        by_name: dict[str, dict[str, Member]] = defaultdict(dict)
        for member in members:
            _, name, *rest = member.content.path.split("/", 2)
            by_name[name]["".join(rest)] = member
        for name, own in by_name.items():
            manifest = _manifest(name, own)
            yield Outcome("model", name, self._propose(actor, manifest, own))

    def _propose(self, actor: Caller, manifest: Manifest, own: dict[str, Member]) -> str:
        try:
            known = self._models.get(actor, manifest.name)
        except NotFound:
            known = None
        if known is not None:
            if known.digest == manifest.digest():
                return "unchanged"
            raise Conflict(
                f"There is another model {manifest.name!r} already.",
                "Withdrawing it does not free its name: the new one needs one of its own.",
            )
        if not manifest.files:
            self._models.propose(actor, manifest)
            return "proposed"
        files = {path: own[f"files/{path}"] for path in manifest.files}
        signature = _small(own, "model.sig", LONGEST)
        digests = {path: member.content.sha256 for path, member in files.items()}
        signer = verify(signature, digests, self._models.signers.trusted())
        with self._models.shelf.quarantine(0) as folder:
            for path, member in files.items():
                formats.check(member.place, path)
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                member.place.rename(target)
            self._models.propose_files(actor, manifest, folder, signature, signer)
        return "proposed"

    def _signature(self, name: str) -> bytes:
        query = sa.select(tables.models.c.signature).where(tables.models.c.id == name)
        with self._database.read() as connection:
            return bytes(connection.execute(query).scalar_one())


def file_source(place: Path, path: str, kind: str, label: Label, licence: str) -> Source:
    """A regular file that goes into a bundle as ``path``."""
    return Source(path, kind, label, licence, lambda: weights.read(place, path))


def _manifest(name: str, own: dict[str, Member]) -> Manifest:
    """The manifest of a model, if what came with it is what it names. Raises Tampered, Invalid."""
    raw = _small(own, "manifest.json", _LONGEST_MANIFEST)
    manifest = Manifest.parse(raw)
    if manifest.name != name or manifest.canonical() != raw:
        raise Tampered(f"The manifest of model {name[:64]!a} is not its own.", _AGAIN)
    wanted = {f"files/{path}": digest for path, digest in manifest.files.items()}
    papers = {"manifest.json", "model.sig"} if manifest.files else {"manifest.json"}
    there = {path: one.content.sha256 for path, one in own.items() if path not in papers}
    if there != wanted:
        raise Tampered(f"The bundle does not hold the files that model {name} names.", _AGAIN)
    if any(one.content.licence != _licence(manifest) for one in own.values()):
        raise Tampered(f"The bundle names another licence than model {name} does.", _AGAIN)
    return manifest


def _licence(manifest: Manifest) -> str:
    """The licence of a model, in one line."""
    return " ".join(manifest.licence.split())


def _small(own: dict[str, Member], path: str, most: int) -> bytes:
    member = own.get(path)
    if member is None or member.content.size > most:
        raise Invalid(f"The bundle holds a model without a usable {path}.", _AGAIN)
    return member.place.read_bytes()
