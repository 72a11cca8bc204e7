"""Downgrading: a document gets a lower label by its originator's authority and a second person.

Nothing else lowers a label. One person requests it, another approves it, one of the two gave the
label (owns the collection), and both say so as people, not through a key. What comes of it is a
new document in a collection of the lower label; the old one stays as it was. A label that came from
elsewhere is lowered there.

Compare Council Decision 2013/488/EU, Article 3(4): no downgrading without the originator's consent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from casemate.errors import Conflict, Invalid, NotFound, Refused
from casemate.gate.acts import digest
from casemate.store.database import Database
from casemate.store.tables import downgrades, principals

if TYPE_CHECKING:
    from casemate.gate.admission import Gate
    from casemate.gate.caller import Caller
    from casemate.library.document import Collection, Document
    from casemate.library.library import Library

_LONGEST_REASON = 2_000


class Downgrade(msgspec.Struct, frozen=True, kw_only=True):
    """One request and what became of it. ``made``: the id of the new document."""

    id: str
    state: str  # requested | approved | rejected
    document: str  # id
    name: str
    before: str  # labels
    after: str
    into: str  # name of the collection
    reason: str
    requested_by: str  # names
    requested: str
    decided_by: str | None
    decided: str | None
    made: str | None


class Downgrades:
    """Takes requests and decisions; each is an entry of the ledger."""

    def __init__(
        self,
        database: Database,
        gate: Gate,
        library: Library,
        *,
        clock: Callable[[], str],
        new_id: Callable[[str], str],
    ) -> None:
        self._database = database
        self._gate = gate
        self._library = library
        self._clock = clock
        self._new_id = new_id

    def request(self, caller: Caller, document: str, *, into: str, reason: str) -> Downgrade:
        """Ask that ``document`` be had in the collection ``into``, whose label is lower.

        Raises NotFound for what is absent or hidden; Refused if it is not lower, its label came
        from elsewhere, or the caller may not add there; Invalid without a reason.
        """
        _person(caller)
        reason = reason.strip()
        if not reason or len(reason) > _LONGEST_REASON or not reason.isprintable():
            raise Invalid(
                "A downgrade needs a reason.", f"Write 1 to {_LONGEST_REASON} characters, one line."
            )
        found = self._library.document(caller, document)
        source = self._library.collection(caller, found.collection)
        target = self._library.collection(caller, into)
        _lower(source, target)
        self._gate.require(caller, "add", label=target.label, resource=f"collection:{target.id}")
        self._free(caller, target, found)
        id = self._new_id("g")
        with self._database.write() as connection:
            connection.execute(
                downgrades.insert().values(
                    id=id,
                    tenant=caller.principal.tenant,
                    document=found.id,
                    digest=found.digest,
                    name=found.name,
                    source=source.id,
                    target=target.id,
                    before=str(source.label),
                    after=str(target.label),
                    reason=reason,
                    state="requested",
                    requested_by=caller.principal.id,
                    requested=self._clock(),
                )
            )
            self._record(caller, "downgrade.requested", id, self._row(connection, caller, id))
        return self.get(caller, id)

    def approve(self, caller: Caller, id: str) -> Downgrade:
        """Make the new document. By a second person, one of the two the originator.

        Raises NotFound, Refused, Conflict if it was decided or the document changed since.
        """
        _person(caller)
        found, source, target = self._seen(caller, id)
        self._gate.require(
            caller, "approve", label=source.label, resource=f"collection:{source.id}"
        )
        self._gate.require(caller, "add", label=target.label, resource=f"collection:{target.id}")
        _lower(source, target)
        content = self._library.original(caller, found.id)
        with self._database.write() as connection:
            row = self._row(connection, caller, id)
            if row.state == "rejected" or row.made is not None:
                raise Conflict(f"This downgrade is {row.state}.", "Request another one.")
            if (row.digest, row.before, row.after) != (
                *(found.digest, str(source.label)),
                str(target.label),
            ):
                raise Conflict(
                    "The document or a label is not what it was when this was requested.",
                    "Request it again.",
                )
            self._gate.rights.second_person(connection, caller, row.requested_by)
            self._originator(connection, source, {row.requested_by, caller.principal.id})
            if row.state == "requested":
                self._free(caller, target, found)
                self._decide(connection, caller, id, "approved")
        # In a transaction of its own. If it fails, approving again goes on here, and finds the
        # document unchanged if only the last step was missing.
        added = self._library.add(caller, target.name, found.name, content)
        with self._database.write() as connection:
            mine = downgrades.c.id == id
            connection.execute(downgrades.update().where(mine).values(made=added.document))
        return self.get(caller, id)

    def reject(self, caller: Caller, id: str) -> Downgrade:
        """Say no; also for who requested it. Raises NotFound, Refused, Conflict."""
        _person(caller)
        _, source, _ = self._seen(caller, id)
        with self._database.write() as connection:
            row = self._row(connection, caller, id)
            if row.requested_by != caller.principal.id:
                self._gate.require(
                    caller, "approve", label=source.label, resource=f"collection:{source.id}"
                )
            if row.state != "requested":
                raise Conflict(f"This downgrade is {row.state}.", "It cannot be rejected any more.")
            self._decide(connection, caller, id, "rejected")
        return self.get(caller, id)

    def list(self, caller: Caller) -> list[Downgrade]:
        """Those whose two collections the caller may read, newest first."""
        query = sa.select(downgrades).where(downgrades.c.tenant == caller.principal.tenant)
        readable = {one.id: one for one in self._library.collections(caller)}
        with self._database.read() as connection:
            rows = connection.execute(
                query.where(
                    downgrades.c.source.in_(readable), downgrades.c.target.in_(readable)
                ).order_by(downgrades.c.requested.desc(), downgrades.c.id)
            ).all()
            names = _names(connection, rows)
        return [_shown(row, readable[row.target].name, names) for row in rows]

    def get(self, caller: Caller, id: str) -> Downgrade:
        """One of them. Raises NotFound if it is absent or hidden."""
        for one in self.list(caller):
            if one.id == id:
                return one
        raise _absent()

    def _seen(self, caller: Caller, id: str) -> tuple[Document, Collection, Collection]:
        """The document and both collections, all of which the caller reads. Raises NotFound."""
        asked = self.get(caller, id)
        try:
            found = self._library.document(caller, asked.document)
        except NotFound:
            raise Conflict(
                "The document was changed or removed since this was requested.",
                "Request it for the document as it is now.",
            ) from None
        source = self._library.collection(caller, found.collection)
        return found, source, self._library.collection(caller, asked.into)

    def _row(self, connection: sa.Connection, caller: Caller, id: str) -> sa.Row[Any]:
        query = sa.select(downgrades).where(
            downgrades.c.id == id, downgrades.c.tenant == caller.principal.tenant
        )
        row = connection.execute(query).first()
        if row is None:
            raise _absent()
        return row

    def _decide(self, connection: sa.Connection, caller: Caller, id: str, state: str) -> None:
        connection.execute(
            downgrades.update()
            .where(downgrades.c.id == id)
            .values(state=state, decided_by=caller.principal.id, decided=self._clock())
        )
        self._record(caller, f"downgrade.{state}", id, self._row(connection, caller, id))

    def _record(self, caller: Caller, kind: str, id: str, row: sa.Row[Any]) -> None:
        self._gate.acts.record(
            kind,
            caller.principal,
            downgrade=id,
            document=row.document,
            before=row.before,
            after=row.after,
            collection=row.source,
            into=row.target,
            # A reason may tell what is secret: the ledger holds that it was given, not what it is.
            reason=digest({"id": id, "reason": row.reason}),
        )

    def _originator(self, connection: sa.Connection, source: Collection, two: set[str]) -> None:
        """Refuse unless one of the ``two`` gave the label, or stands in for one who left."""
        if source.owner in two:
            return
        rows = connection.execute(
            sa.select(principals).where(principals.c.id.in_({*two, source.owner}))
        )
        known = {row.id: row for row in rows}
        owner = known.get(source.owner)
        if (owner is None or owner.disabled is not None) and any(
            "owner" in known[id].roles.split() for id in two
        ):
            return
        raise Refused(
            "Neither of you gave this document its label.",
            "Its originator requests or approves the downgrade: the owner of the collection.",
        )

    def _free(self, caller: Caller, target: Collection, document: Document) -> None:
        """Refuse to replace what lies there under that name."""
        if any(one.name == document.name for one in self._library.documents(caller, target.name)):
            raise Conflict(
                f"The collection {target.name} has a document called {document.name}.",
                "Choose another collection.",
            )


def _person(caller: Caller) -> None:
    if caller.principal.kind != "person" or caller.via == "key":
        raise Refused("A downgrade is people's decision.", "Sign in as a person to decide.")


def _lower(source: Collection, target: Collection) -> None:
    if source.originator is not None:
        raise Refused(
            f"The label of {source.name} was given by {source.originator}, and is lowered there.",
            "Ask for a new label, and import the document under it.",
        )
    if not source.label.dominates(target.label) or source.label == target.label:
        raise Refused(
            f"{target.label} is not lower than {source.label}.",
            "A downgrade leads to a label that the old one dominates.",
        )


def _shown(row: sa.Row[Any], into: str, names: dict[str, str]) -> Downgrade:
    return Downgrade(
        id=row.id,
        state=row.state,
        document=row.document,
        name=row.name,
        before=row.before,
        after=row.after,
        into=into,
        reason=row.reason,
        requested_by=names[row.requested_by],
        requested=row.requested,
        decided_by=None if row.decided_by is None else names[row.decided_by],
        decided=row.decided,
        made=row.made,
    )


def _names(connection: sa.Connection, rows: list[Any] | Any) -> dict[str, str]:
    ids = {id for row in rows for id in (row.requested_by, row.decided_by) if id is not None}
    query = sa.select(principals.c.id, principals.c.name).where(principals.c.id.in_(ids))
    return {row.id: row.name for row in connection.execute(query)}


def _absent() -> NotFound:
    return NotFound(
        "There is no such downgrade that you may see.", "`casemate document downgrade list`."
    )
