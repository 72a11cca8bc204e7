"""The registry of models: proposed → approved → withdrawn; a second person approves.

Only an approved model is ever used. The address of a remote one is checked against the perimeter
when it is proposed, approved and used, for the perimeter may shrink in between. An engine asks
``Perimeter.route`` once more when it connects, with the label of what it sends.

A model with files is signed by somebody this installation believes, when it comes in, when it is
approved, and whenever it is loaded. Of one lineage, a release older than the newest approved one
neither comes in nor is approved, until the newer ones are withdrawn; what was approved before a
newer one stays approved, so that its runs can be replayed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from casemate.errors import Conflict, Invalid, NotFound, Refused, Tampered
from casemate.gate.admission import QUOTE, Gate
from casemate.gate.caller import Caller
from casemate.gate.label import Label
from casemate.gate.policy import Resource
from casemate.models.manifest import Manifest, is_name
from casemate.models.signature import Signer
from casemate.models.signers import Signers
from casemate.models.weights import Checked, Shelf
from casemate.store.database import Database
from casemate.store.tables import models

_BUILT_IN = "installation"  # proposes what comes with Casemate


@dataclass(frozen=True)
class Model:
    """A model as it is listed."""

    id: str
    manifest: Manifest
    digest: str
    label: Label
    state: str
    proposed_by: str  # id of a principal, or "installation"
    approved_by: str | None
    created: str
    signer: str | None  # fingerprint of who signed its files
    checked: str | None  # when its files were last read from end to end


class Models:
    """Proposes, approves and withdraws models; each act is recorded."""

    def __init__(self, database: Database, gate: Gate, folder: Path) -> None:
        self._database = database
        self._gate = gate
        self.shelf = Shelf(folder)
        self.signers = Signers(database, gate)
        # The gate lies below and cannot know this registry; it asks through this.
        gate.approved_model = self.approved_digest

    def propose(self, actor: Caller, manifest: Manifest) -> Model:
        """Put a remote model forward under its name. Raises Invalid, Refused, Conflict."""
        self.may_propose(actor)
        if manifest.files_known:
            raise Invalid(
                "The files of this model are not here yet.",
                "Import them: `casemate model import FOLDER`.",
            )
        label = self._label(manifest.label, manifest.made_from or {})
        self._check_address(manifest, label)
        proposed_by = actor.principal.id
        with self._database.write() as connection:
            self._check_release(connection, manifest)
            self._insert(connection, manifest, label, "proposed", proposed_by)
            self._gate.acts.record(
                "model.proposed", actor.principal, model=manifest.name, manifest=manifest.digest()
            )
        return self._one(manifest.name)

    def propose_files(
        self, actor: Caller, manifest: Manifest, folder: Path, signature: bytes, signer: Signer
    ) -> Model:
        """Put a model forward with its files, which are moved from ``folder`` to their place.

        ``signer`` was found to have signed them. Raises Invalid, Refused, Conflict.
        """
        self.may_propose(actor)
        label = self._label(manifest.label, manifest.made_from or {})
        digest = manifest.digest()
        with self._database.write() as connection:
            self._check_release(connection, manifest)
            self._insert(
                connection,
                manifest,
                label,
                "proposed",
                actor.principal.id,
                signature=signature,
                signer=signer.fingerprint,
            )
            self.shelf.put(folder, digest)
            try:
                self._gate.acts.record(
                    "model.proposed",
                    actor.principal,
                    model=manifest.name,
                    manifest=digest,
                    signer=signer.fingerprint,
                    signature="sha256:" + hashlib.sha256(signature).hexdigest(),
                )
            except BaseException:
                self.shelf.remove(digest)
                raise
        return self._one(manifest.name)

    def may_propose(self, actor: Caller) -> None:
        """Raise Refused unless ``actor`` may put models forward."""
        self._gate.rights.require(actor, "administer", _resource(actor, "model", None))

    def check_new(self, id: str, label: str, made_from: Mapping[str, str]) -> None:
        """Raise Conflict if there is a model of that name.

        Raise Invalid if there is no such label, Refused if it is below what the model was made of.
        """
        self._label(label, made_from)
        with self._database.read() as connection:
            _check_new(connection, id)

    def approve(self, actor: Caller, id: str) -> Model:
        """Let use cases use it. By a second person. Raises Refused, NotFound, Conflict."""
        found = self._seen(actor, id)
        self._gate.rights.require(actor, "approve", _resource(actor, id, found.proposed_by))
        self._check_address(found.manifest, found.label)
        if found.manifest.files and found.state == "proposed":
            with self._database.read() as connection:  # before gigabytes are read
                self._gate.rights.second_person(connection, actor, found.proposed_by)
            self._check_signer(found)
            self._read_files(found, fully=True)
        with self._database.write() as connection:
            self._gate.rights.second_person(connection, actor, found.proposed_by)
            self._check_release(connection, found.manifest)
            self._move(connection, actor, found, "proposed", "approved")
        return self._one(id)

    def withdraw(self, actor: Caller, id: str) -> Model:
        """Stop every use of it, for good. Raises Refused, NotFound, Conflict."""
        found = self._seen(actor, id)
        self._gate.rights.require(actor, "administer", _resource(actor, id, found.proposed_by))
        with self._database.write() as connection:
            self._move(connection, actor, found, found.state, "withdrawn")
        return self._one(id)

    def get(self, actor: Caller, id: str) -> Model:
        """One model. Raises Refused, NotFound."""
        self._gate.rights.require(actor, "read", _resource(actor, "model", None))
        return self._seen(actor, id)

    def list(self, actor: Caller) -> list[Model]:
        """Every model that the actor's clearance covers, by id. Raises Refused."""
        self._gate.rights.require(actor, "read", _resource(actor, "model", None))
        with self._database.read() as connection:
            rows = connection.execute(sa.select(models).order_by(models.c.id)).all()
        covers = actor.principal.clearance.dominates
        return [found for row in rows if covers((found := self._value(row)).label)]

    def approved(self, id: str) -> Manifest:
        """The manifest of a model that may be used now.

        Raises NotFound; Refused if it is not approved or all its addresses left the perimeter;
        Tampered if its manifest is not the one that was approved.
        """
        found = self._gate.memory.recall(("model", id), lambda: self._one(id))
        if found.state != "approved":
            raise Refused(
                f"Model {id} is {found.state}, not approved.",
                f"A second person approves it: `casemate model approve {id}`."
                if found.state == "proposed"
                else "Choose another model.",
            )
        self._check_declared(found)
        return found.manifest

    def approved_digest(self, id: str) -> str:
        """The digest of the manifest that ``approved`` gives, for the gate. Raises like it."""
        return self.approved(id).digest()

    def files(self, manifest: Manifest) -> Path:
        """The folder with the files of an approved model, found to be those of its manifest.

        They are read from end to end when a day has passed since the last time or anything about
        them has changed. Raises like ``approved``; Refused if nobody believes their signer any
        more; Tampered if a file differs, is missing or was added.
        """
        found = self._one(manifest.name)
        if self.approved(manifest.name).digest() != manifest.digest() or not manifest.files:
            raise Refused("These are not the files of an approved model.", "Ask again.")
        self._check_signer(found)
        self._read_files(found)
        return self.shelf.place(found.digest)

    def check(
        self, actor: Caller, id: str | None = None
    ) -> Iterator[tuple[Model, Tampered | None]]:
        """Read the files of one model, or of all in use, and say what is wrong with them.

        Raises Refused, NotFound; Invalid if the one model has no files here.
        """
        self.may_propose(actor)
        chosen = self.list(actor) if id is None else [self._seen(actor, id)]
        if id is not None and not chosen[0].manifest.files:
            raise Invalid(f"Model {id} has no files here.", "`casemate model list`.")
        for model in chosen:
            if not model.manifest.files or (id is None and model.state == "withdrawn"):
                continue
            problem = None
            try:
                self._read_files(model, fully=True, reader=actor)
            except Tampered as found:
                problem = found
            yield self._one(model.id), problem

    def _label(self, text: str, made_from: Mapping[str, str]) -> Label:
        """A model's label: at least the join of all it was made from. Raises Invalid, Refused.

        What a model has learnt it may say again.
        """
        policy = self._gate.country.policy
        label = policy.parse(text)
        for name, other in made_from.items():
            if not label.dominates(policy.parse(other)):
                raise Refused(
                    f"The model is labelled {label}, and {name}, from which it was made, {other}.",
                    "Give the model a label that dominates those of all it was made from.",
                )
        return label

    def recover(self) -> None:
        """Delete what an interrupted import left behind (at start)."""
        with self._database.read() as connection:
            kept = set(connection.execute(sa.select(models.c.digest)).scalars())
        self.shelf.sweep(kept)

    def register_builtin(self) -> None:
        """Make ``quote`` known and approved (first start); nothing if it is known."""
        manifest = quote()
        with self._database.write() as connection:
            if connection.execute(sa.select(models).where(models.c.id == QUOTE)).first():
                return
            label = self._label(manifest.label, manifest.made_from or {})
            self._insert(connection, manifest, label, "approved", _BUILT_IN)
            self._gate.acts.record("model.approved", None, model=QUOTE, manifest=manifest.digest())

    def _insert(
        self,
        connection: sa.Connection,
        manifest: Manifest,
        label: Label,
        state: str,
        proposed_by: str,
        **signed: bytes | str,
    ) -> None:
        _check_new(connection, manifest.name)
        connection.execute(
            models.insert().values(
                id=manifest.name,
                engine=manifest.engine,
                manifest=manifest.canonical().decode(),
                digest=manifest.digest(),
                label=str(label),
                state=state,
                proposed_by=proposed_by,
                approved_by=proposed_by if state == "approved" else None,
                created=self._gate.acts.now(),
                **signed,
            )
        )

    def _check_release(self, connection: sa.Connection, manifest: Manifest) -> None:
        """Refuse what is older than the newest approved model of its lineage."""
        lineage, release = manifest.line
        approved = connection.execute(sa.select(models).where(models.c.state == "approved")).all()
        for other in map(self._value, approved):
            name, newest = other.manifest.line
            if name == lineage and newest > release and other.id != manifest.name:
                raise Refused(
                    f"Release {release} of {lineage} is older than release {newest}, which is "
                    f"approved as {other.id}.",
                    "Take the newer one, or withdraw that first: "
                    f"`casemate model withdraw {other.id}`.",
                )

    def _check_signer(self, model: Model) -> None:
        if model.signer is None or self.signers.by_fingerprint(model.signer) is None:
            raise Refused(
                f"Who signed model {model.id} is not trusted here any more.",
                "Trust them again with `casemate model trust add`, or choose another model.",
            )

    def _read_files(
        self, model: Model, *, fully: bool = False, reader: Caller | None = None
    ) -> None:
        """Compare files and manifest, keep when that was, and record what was found."""
        actor = reader.principal if reader else None
        facts = {"model": model.id, "manifest": model.digest}
        with self._database.read() as connection:
            query = sa.select(models.c.checked).where(models.c.id == model.id)
            before = _checked(connection.execute(query).scalar())
        try:
            after = self.shelf.check(
                model.manifest, before, self._gate.acts.clock(), fully=fully or reader is not None
            )
        except Tampered:
            self._gate.acts.record("model.tampered", actor, **facts)
            raise
        if after is before:
            return
        with self._database.write() as connection:
            connection.execute(
                models.update()
                .where(models.c.id == model.id)
                .values(checked=msgspec.json.encode(after).decode())
            )
            if reader is not None:
                self._gate.acts.record("model.checked", actor, **facts)

    def _move(
        self, connection: sa.Connection, actor: Caller, found: Model, before: str, after: str
    ) -> None:
        values = {"state": after}
        if after == "approved":
            values["approved_by"] = actor.principal.id
        # The condition decides, not what was read before: two people may decide at once.
        moved = connection.execute(
            models.update()
            .where(models.c.id == found.id, models.c.state == before, models.c.state != after)
            .values(**values)
        )
        if moved.rowcount != 1:
            raise Conflict(f"Model {found.id} cannot become {after} now.", "Look at its state.")
        self._gate.acts.record(
            f"model.{after}", actor.principal, model=found.id, manifest=found.digest
        )

    def _one(self, id: str) -> Model:
        query = sa.select(models).where(models.c.id == id)
        row = None
        if is_name(id):
            with self._database.read() as connection:
                row = connection.execute(query).first()
        if row is None:
            raise _no_model()
        return self._value(row)

    def _seen(self, actor: Caller, id: str) -> Model:
        """A model whose papers the actor may read: they tell what it was made from."""
        found = self._one(id)
        if not actor.principal.clearance.dominates(found.label):
            raise _no_model()
        return found

    def _value(self, row: sa.Row[Any]) -> Model:
        manifest = Manifest.parse(row.manifest)
        if manifest.digest() != row.digest:
            raise Tampered(
                f"The manifest of model {row.id} is not the one that was approved.",
                "Restore the database from a backup.",
            )
        return Model(
            row.id,
            manifest,
            row.digest,
            self._gate.country.policy.parse(row.label),
            row.state,
            row.proposed_by,
            row.approved_by,
            row.created,
            row.signer,
            checked.time if (checked := _checked(row.checked)) else None,
        )

    def _check_address(self, manifest: Manifest, label: Label) -> None:
        for address in manifest.servers:
            self._gate.perimeter.check(address, label)

    def _check_declared(self, found: Model) -> None:
        """Raise Refused if none of its servers lies inside; the others are then left alone.

        What a name means now is looked up when somebody connects, not on every question.
        """
        refused: Refused | None = None
        for address in found.manifest.servers:
            try:
                self._gate.perimeter.declared(address, found.label)
            except Refused as met:
                refused = refused or met
            else:
                return
        if refused is not None:
            raise refused


def quote() -> Manifest:
    """The manifest of what is always there: it quotes, and generates nothing."""
    return Manifest.new(
        name=QUOTE,
        version="1",  # raise it when the engine would answer the same prompt otherwise
        engine="quote",
        architecture="Sentence selection by full-text rank; no neural network, no weights.",
        licence="EUPL-1.2",
        origin="Part of Casemate.",
        intended_use="Answering questions with verbatim quotes from one's own documents.",
        limits="Does not write, translate, summarise or calculate; quotes or says that it cannot.",
        label="unclassified",
    )


def _check_new(connection: sa.Connection, id: str) -> None:
    if connection.execute(sa.select(models.c.id).where(models.c.id == id)).first():
        raise Conflict(
            f"There is a model {id!r} already.",
            "Give the new one its own name, for instance with its version in it.",
        )


def _checked(text: str | None) -> Checked | None:
    return msgspec.json.decode(text, type=Checked) if text else None


def _no_model() -> NotFound:
    return NotFound("There is no such model.", "`casemate model list` shows those there are.")


def _resource(actor: Caller, id: str, proposed_by: str | None) -> Resource:
    # Models belong to the installation: every tenant's policies see them as their own.
    return Resource("Model", id, actor.principal.tenant, proposed_by)
