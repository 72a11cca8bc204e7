"""Signers: whom this installation believes when they vouch for a model.

Trusting is an act of an administrator and is recorded. To stop trusting somebody ends new loads of
the models that they signed; those that run go on until they are stopped, and the record of who
approved what stays.
"""

from __future__ import annotations

from importlib import resources

import sqlalchemy as sa

from casemate.errors import Conflict, Invalid, NotFound
from casemate.gate.admission import Gate
from casemate.gate.caller import Caller
from casemate.models.manifest import is_name
from casemate.models.signature import Signer
from casemate.store.database import Database
from casemate.store.tables import signers

BUILT_IN = "casemate"  # signs what comes with Casemate, and nothing else is taken from it


class Signers:
    """Trusts signers and stops trusting them; each act is recorded."""

    def __init__(self, database: Database, gate: Gate) -> None:
        self._database = database
        self._gate = gate

    def trust(self, actor: Caller, name: str, pem: bytes) -> Signer:
        """Believe a key or a certificate under a name of one's own. Raises Refused, Conflict."""
        self._gate.rights.administer(actor)
        if not is_name(name) or name == BUILT_IN:
            raise Invalid(
                "This cannot be a signer's name.",
                "Give lower-case letters, digits, dots and hyphens, at most 64; not “casemate”.",
            )
        signer = Signer.parse(name, pem)
        with self._database.write() as connection:
            taken = connection.execute(
                sa.select(signers.c.name).where(
                    sa.or_(signers.c.name == name, signers.c.fingerprint == signer.fingerprint)
                )
            ).scalar()
            if taken is not None:
                raise Conflict(
                    f"{taken} is trusted already.", "`casemate model trust list` shows them."
                )
            connection.execute(
                signers.insert().values(
                    name=name,
                    kind=signer.kind,
                    pem=signer.pem,
                    fingerprint=signer.fingerprint,
                    added_by=actor.principal.id,
                    created=self._gate.acts.now(),
                )
            )
            self._gate.acts.record(
                "signer.trusted", actor.principal, signer=name, fingerprint=signer.fingerprint
            )
        return signer

    def remove(self, actor: Caller, name: str) -> Signer:
        """Stop believing. Raises Refused, NotFound."""
        self._gate.rights.administer(actor)
        with self._database.write() as connection:
            row = connection.execute(sa.select(signers).where(signers.c.name == name)).first()
            if row is None:
                raise NotFound(
                    "There is no such signer.", "`casemate model trust list` shows those there are."
                )
            connection.execute(signers.delete().where(signers.c.name == name))
            self._gate.acts.record(
                "signer.removed", actor.principal, signer=name, fingerprint=row.fingerprint
            )
        return Signer(row.name, row.kind, row.pem, row.fingerprint)

    def trusted(self) -> list[Signer]:
        """Whom this installation believes, by name; without the built-in signer."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(signers).order_by(signers.c.name)).all()
        return [Signer(row.name, row.kind, row.pem, row.fingerprint) for row in rows]

    def by_fingerprint(self, fingerprint: str) -> Signer | None:
        """The signer with this key or certificate, if still trusted."""
        for signer in (*self.trusted(), *built_in_signer()):
            if signer.fingerprint == fingerprint:
                return signer
        return None

    def list(self, actor: Caller) -> list[Signer]:
        """Whom this installation believes, by name. Raises Refused."""
        self._gate.rights.administer(actor, "read")
        return self.trusted()


def built_in_signer() -> list[Signer]:
    """Who signs the models that come with Casemate: one, or none where none come with it."""
    place = resources.files("casemate.models").joinpath("nano.pem")
    return [Signer.parse(BUILT_IN, place.read_bytes())] if place.is_file() else []
