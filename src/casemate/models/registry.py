"""The registry of models: proposed → approved → withdrawn; a second person approves.

Only an approved model is ever used. The address of a remote one is checked against the perimeter
when it is proposed, approved and used, for the perimeter may shrink in between. An engine asks
``Perimeter.route`` once more when it connects, with the label of what it sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from casemate.errors import Conflict, NotFound, Refused, Tampered
from casemate.gate.admission import QUOTE, Gate
from casemate.gate.caller import Caller
from casemate.gate.label import Label
from casemate.gate.policy import Resource
from casemate.models.manifest import Manifest, is_name
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


class Models:
    """Proposes, approves and withdraws models; each act is recorded."""

    def __init__(self, database: Database, gate: Gate) -> None:
        self._database = database
        self._gate = gate
        # The gate lies below and cannot know this registry; it asks through this.
        gate.approved_model = self.approved_digest

    def propose(self, actor: Caller, manifest: Manifest) -> Model:
        """Put a model forward under its name. Raises Invalid, Refused, Conflict."""
        self._gate.rights.require(actor, "administer", _resource(actor, manifest.name, None))
        label = self._gate.country.policy.parse(manifest.label)
        self._check_address(manifest, label)
        proposed_by = actor.principal.id
        with self._database.write() as connection:
            self._insert(connection, manifest, label, "proposed", proposed_by)
            self._gate.acts.record(
                "model.proposed", actor.principal, model=manifest.name, manifest=manifest.digest()
            )
        return self._one(manifest.name)

    def approve(self, actor: Caller, id: str) -> Model:
        """Let use cases use it. By a second person. Raises Refused, NotFound, Conflict."""
        found = self._one(id)
        self._gate.rights.require(actor, "approve", _resource(actor, id, found.proposed_by))
        self._check_address(found.manifest, found.label)
        with self._database.write() as connection:
            self._gate.rights.second_person(connection, actor, found.proposed_by)
            self._move(connection, actor, found, "proposed", "approved")
        return self._one(id)

    def withdraw(self, actor: Caller, id: str) -> Model:
        """Stop every use of it, for good. Raises Refused, NotFound, Conflict."""
        found = self._one(id)
        self._gate.rights.require(actor, "administer", _resource(actor, id, found.proposed_by))
        with self._database.write() as connection:
            self._move(connection, actor, found, found.state, "withdrawn")
        return self._one(id)

    def list(self, actor: Caller) -> list[Model]:
        """Every model, by id. Raises Refused."""
        self._gate.rights.require(actor, "read", _resource(actor, "model", None))
        with self._database.read() as connection:
            rows = connection.execute(sa.select(models).order_by(models.c.id)).all()
        return [self._value(row) for row in rows]

    def approved(self, id: str) -> Manifest:
        """The manifest of a model that may be used now.

        Raises NotFound; Refused if it is not approved or its address left the perimeter;
        Tampered if its manifest is not the one that was approved.
        """
        found = self._one(id)
        if found.state != "approved":
            raise Refused(
                f"Model {id} is {found.state}, not approved.",
                f"A second person approves it: `casemate model approve {id}`."
                if found.state == "proposed"
                else "Choose another model.",
            )
        if found.manifest.address is not None:
            # What the name means now is looked up when somebody connects, not on every question.
            self._gate.perimeter.declared(found.manifest.address, found.label)
        return found.manifest

    def approved_digest(self, id: str) -> str:
        """The digest of the manifest that ``approved`` gives, for the gate. Raises like it."""
        return self.approved(id).digest()

    def register_builtin(self) -> None:
        """Make ``quote`` known and approved (first start); nothing if it is known."""
        manifest = quote()
        with self._database.write() as connection:
            if connection.execute(sa.select(models).where(models.c.id == QUOTE)).first():
                return
            label = self._gate.country.policy.parse(manifest.label)
            self._insert(connection, manifest, label, "approved", _BUILT_IN)
            self._gate.acts.record("model.approved", None, model=QUOTE, manifest=manifest.digest())

    def _insert(
        self,
        connection: sa.Connection,
        manifest: Manifest,
        label: Label,
        state: str,
        proposed_by: str,
    ) -> None:
        if connection.execute(sa.select(models).where(models.c.id == manifest.name)).first():
            raise Conflict(
                f"There is a model {manifest.name!r} already.",
                "Give the new one its own name, for instance with its version in it.",
            )
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
            )
        )

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
            raise NotFound(
                "There is no such model.", "`casemate model list` shows those there are."
            )
        return self._value(row)

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
        )

    def _check_address(self, manifest: Manifest, label: Label) -> None:
        if manifest.address is not None:
            self._gate.perimeter.check(manifest.address, label)


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


def _resource(actor: Caller, id: str, proposed_by: str | None) -> Resource:
    # Models belong to the installation: every tenant's policies see them as their own.
    return Resource("Model", id, actor.principal.tenant, proposed_by)
