"""What people keep here for themselves: files, conversations, agents, batches.

Each thing belongs to one principal, lies sealed under that principal's data key, and carries a
label. Nobody else sees it: absent, another's and above one's clearance are the same answer. A key
that is bound to a use case sees what was made under that use case, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from casemate.errors import NotFound, Refused
from casemate.store.blobs import Blobs
from casemate.store.database import Database
from casemate.store.keyring import Keyring
from casemate.store.tables import kept

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.label import Label, LabelPolicy


@dataclass(frozen=True)
class Thing:
    """One thing that somebody keeps. ``facts``: what is said about it, for its owner alone."""

    number: int
    id: str
    kind: str
    principal: str
    use_case: str | None
    label: Label
    parent: str | None
    run: str | None
    state: str
    created: str
    blob: str | None
    facts: Mapping[str, Any]


class Kept:
    """Keeps things, and gives them back to whose they are."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        blobs: Blobs,
        policy: LabelPolicy,
        *,
        clock: Callable[[], str],
        new_id: Callable[[str], str],
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._blobs = blobs
        self._policy = policy
        self._clock = clock
        self._new_id = new_id

    def add(
        self,
        caller: Caller,
        kind: str,
        facts: Mapping[str, Any],
        *,
        label: Label,
        use_case: str | None = None,
        parent: str | None = None,
        run: str | None = None,
        state: str = "",
        content: bytes | None = None,
    ) -> Thing:
        """Keep a thing; durable when it returns. Its id begins with ``kind``.

        ``use_case``: under whose retention it is; for a bound key, that of the key. Raises
        Refused if the caller's clearance does not dominate ``label``, NotFound if it was forgotten.
        """
        principal = caller.principal
        if not principal.clearance.dominates(label):
            raise Refused(
                "That label is above your clearance.", "Choose one that your clearance dominates."
            )
        id = self._new_id(kind)
        blob = None
        if content is not None:
            sealed = self._keyring.seal(principal.id, content, about=f"kept/{id}/content")
            blob = self._blobs.put(sealed)
        # Before the transaction: the first thing of somebody makes their key, in one of its own.
        about = self._sealed(principal.id, id, facts)
        with self._database.write() as connection:
            self._keyring.require(connection, principal.id)
            connection.execute(
                kept.insert().values(
                    id=id,
                    kind=kind,
                    tenant=principal.tenant,
                    principal=principal.id,
                    use_case=caller.use_case if use_case is None else use_case,
                    label=str(label),
                    parent=parent,
                    run=run,
                    state=state,
                    created=self._clock(),
                    blob=blob,
                    sealed=about,
                )
            )
        return self.get(caller, kind, id)

    def get(self, caller: Caller, kind: str, id: str) -> Thing:
        """One thing. Raises NotFound if it is absent or hidden."""
        query = sa.select(kept).where(kept.c.id == id, *self._own(caller, kind))
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise absent(kind)
        return self._thing(row)

    def of_run(self, caller: Caller, kind: str, run: str) -> Thing:
        """What came of a run. Raises NotFound if it is absent or hidden."""
        query = sa.select(kept).where(kept.c.run == run, *self._own(caller, kind))
        with self._database.read() as connection:
            row = connection.execute(query.order_by(kept.c.number)).first()
        if row is None:
            raise absent(kind)
        return self._thing(row)

    def list(
        self,
        caller: Caller,
        kind: str,
        *,
        parent: str | None = None,
        state: str | None = None,
    ) -> Sequence[Thing]:
        """Those that the caller may see, oldest first; of one ``parent`` or ``state``."""
        query = sa.select(kept).where(*self._own(caller, kind))
        if parent is not None:
            query = query.where(kept.c.parent == parent)
        if state is not None:
            query = query.where(kept.c.state == state)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(kept.c.number)).all()
        return [self._thing(row) for row in rows]

    def count(self, caller: Caller, kind: str, *, parent: str, state: str) -> int:
        """How many the caller may see, without opening them."""
        query = sa.select(sa.func.count()).select_from(kept)
        query = query.where(
            kept.c.parent == parent, kept.c.state == state, *self._own(caller, kind)
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def change(
        self,
        thing: Thing,
        *,
        facts: Mapping[str, Any] | None = None,
        state: str | None = None,
        label: Label | None = None,
        run: str | None = None,
        unless: Iterable[str] = (),
    ) -> bool:
        """Say something else about a thing; whether it was there to be changed.

        ``label``: joined to its own, which only rises. ``unless``: states in which it stays.
        """
        changes: dict[str, Any] = {}
        if facts is not None:
            changes["sealed"] = self._sealed(thing.principal, thing.id, facts)
        if state is not None:
            changes["state"] = state
        if run is not None:
            changes["run"] = run
        with self._database.write() as connection:
            row = connection.execute(
                sa.select(kept.c.label).where(
                    kept.c.id == thing.id, kept.c.state.not_in(list(unless))
                )
            ).one_or_none()
            if row is None:
                return False
            if label is not None:
                changes["label"] = str(self._policy.parse(row.label).join(label))
            connection.execute(kept.update().where(kept.c.id == thing.id).values(**changes))
        return True

    def content(self, thing: Thing) -> bytes:
        """Its bytes. Raises NotFound if it has none."""
        if thing.blob is None:
            raise absent(thing.kind)
        sealed = self._blobs.get(thing.blob)
        return self._keyring.open(thing.principal, sealed, about=f"kept/{thing.id}/content")

    def delete(self, thing: Thing) -> None:
        """Erase it for good, with the parts of it."""
        mine = (kept.c.id == thing.id) | (kept.c.parent == thing.id)
        with self._database.write() as connection:
            blobs = self._blobs_of(connection, mine)
            connection.execute(sa.delete(kept).where(mine))
        self.drop(blobs)

    # Without a caller: for who works through batches, and for erasure

    def waiting(self, kind: str, states: Iterable[str]) -> Sequence[Thing]:
        """Everybody's in these states, oldest first; no rights asked."""
        query = sa.select(kept).where(kept.c.kind == kind, kept.c.state.in_(list(states)))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(kept.c.number)).all()
        return [self._thing(row) for row in rows]

    def erase(
        self, connection: sa.Connection, which: sa.ColumnElement[bool]
    ) -> tuple[int, Sequence[str]]:
        """Erase these, in the caller's transaction: how many, and the blobs to ``drop`` after."""
        blobs = self._blobs_of(connection, which)
        return connection.execute(sa.delete(kept).where(which)).rowcount, blobs

    def drop(self, blobs: Iterable[str]) -> None:
        """Remove the content of what was erased."""
        for blob in blobs:
            self._blobs.delete(blob)

    def _blobs_of(self, connection: sa.Connection, which: sa.ColumnElement[bool]) -> Sequence[str]:
        query = sa.select(kept.c.blob).where(which, kept.c.blob.is_not(None))
        return list(connection.execute(query).scalars())

    def _own(self, caller: Caller, kind: str) -> Sequence[sa.ColumnElement[bool]]:
        """What holds for the things a caller may see: in the query, so that counts hold no more."""
        mine = [kept.c.kind == kind, kept.c.principal == caller.principal.id]
        with self._database.read() as connection:
            labels = connection.execute(sa.select(kept.c.label).where(*mine).distinct()).scalars()
            readable = [
                text
                for text in labels
                if caller.principal.clearance.dominates(self._policy.parse(text))
            ]
        mine.append(kept.c.label.in_(readable))
        if caller.use_case is not None:
            mine.append(kept.c.use_case == caller.use_case)
        return mine

    def _sealed(self, principal: str, id: str, facts: Mapping[str, Any]) -> bytes:
        return self._keyring.seal(principal, msgspec.json.encode(facts), about=f"kept/{id}")

    def _thing(self, row: sa.Row[Any]) -> Thing:
        plain = self._keyring.open(row.principal, row.sealed, about=f"kept/{row.id}")
        return Thing(
            number=row.number,
            id=row.id,
            kind=row.kind,
            principal=row.principal,
            use_case=row.use_case,
            label=self._policy.parse(row.label),
            parent=row.parent,
            run=row.run,
            state=row.state,
            created=row.created,
            blob=row.blob,
            facts=msgspec.json.decode(plain),
        )


def absent(kind: str) -> NotFound:
    """The one answer about a thing that is not there, or not the asker's."""
    return NotFound(f"There is no such {kind} of yours.", "List yours to find it.")
