"""The library: the one door to collections, documents and passages.

Every method takes the caller and answers only about what that caller may read; what is hidden and
what does not exist give the same NotFound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec
import sqlalchemy as sa

from casemate.errors import Conflict, Invalid, NotFound, Refused
from casemate.gate.acts import digest
from casemate.gate.principal import ROLES
from casemate.language import words
from casemate.language.thesaurus import Alike, Thesaurus
from casemate.library.document import Collection, Document, Hit
from casemate.library.importing import Added, File, Importing
from casemate.library.index import Damaged, Index
from casemate.library.parse import Reader
from casemate.library.search import Search
from casemate.library.turns import Turns
from casemate.store.blobs import Blobs
from casemate.store.database import Database
from casemate.store.tables import collections, documents, principals, use_cases

if TYPE_CHECKING:
    from casemate.gate.admission import Admission, Gate
    from casemate.gate.caller import Caller
    from casemate.gate.label import Label
    from casemate.ledger.record import Ledger

T = TypeVar("T")

_LONGEST_NAME = 80
_IMPORTS = 2
_IMPORTS_WAITING = 16


class Library:
    """Collections and documents of one installation."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        index: Index,
        gate: Gate,
        ledger: Ledger,
        *,
        clock: Callable[[], str],
        new_id: Callable[[str], str],
        most_bytes: int,
        thesaurus: Callable[[], Thesaurus],
        may_hold: Callable[[Label], object] = lambda label: None,
    ) -> None:
        """``may_hold`` raises Refused if originals of a label may not lie where blobs lie."""
        self._database = database
        self._blobs = blobs
        self._index = index
        self._gate = gate
        self._ledger = ledger
        self._clock = clock
        self._new_id = new_id
        self._may_hold = may_hold
        self._search = Search(database, index, gate.country.policy, thesaurus)
        self._importing = Importing(
            database, blobs, index, clock=clock, new_id=new_id, most_bytes=most_bytes
        )
        # Each has a reading process of its own, and whoever waits keeps a thread of the server.
        self._imports = Turns(at_once=_IMPORTS, waiting=_IMPORTS_WAITING)

    def recover(self) -> None:
        """Clear what a crash left half-way, and rebuild an index that does not match."""
        try:
            self._importing.recover()
            whole = self._index.size() == self._importing.passages()
        except Damaged:
            whole = False
        if not whole:
            self._importing.rebuild_index()
            self._importing.recover()
        self._database.fold_in()  # a crash may have come between a deletion and this

    # Collections

    def collections(self, caller: Caller) -> list[Collection]:
        """Every collection that the caller may read, by name."""
        reach = [reach.id for reach in self._gate.collections(caller)]
        query = sa.select(collections).where(collections.c.id.in_(reach))
        people = sa.select(principals.c.id, principals.c.name).where(
            principals.c.tenant == caller.principal.tenant
        )
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(collections.c.name)).all()
            names: dict[str, str] = {}
            if any(row.readers is not None for row in rows):
                names = {row.id: row.name for row in connection.execute(people)}
        return [self._collection(row, names) for row in rows]

    def collection(self, caller: Caller, name: str) -> Collection:
        """One collection by name. Raises NotFound if it is absent or hidden."""
        for collection in self.collections(caller):
            if collection.name == name:
                return collection
        raise NotFound(
            f"There is no collection “{name}” that you may read.",
            "List yours with `casemate collection list`.",
        )

    def create_collection(
        self,
        caller: Caller,
        name: str,
        *,
        label: str | None = None,
        readers: tuple[str, ...] | None = None,
        originator: str | None = None,
        review: str | None = None,
    ) -> Collection:
        """Make an empty collection; without ``label`` it is of the policy's lowest level.

        ``originator`` gave the label if it came from elsewhere ("kind:name"); it is to be looked
        at again at ``review`` (UTC). ``readers``: names of principals of the tenant and
        "role:NAME"; None: the whole tenant.
        Raises Invalid for a bad name, label or role, Refused if the caller's clearance does not
        dominate the label, NotFound for a reader whom there is not, Conflict if the name is taken.
        """
        name = _name(name)
        policy = self._gate.country.policy
        wanted = policy.parse(label) if label else policy.lowest()
        if not caller.principal.clearance.dominates(wanted):
            raise Refused(
                "That label is above your clearance.",
                "Choose one that your clearance dominates.",
            )
        self._may_hold(wanted)
        self._gate.require(caller, "add", label=wanted, resource="collection")
        known = None if readers is None else self._readers(caller, readers)
        made = Collection(
            self._new_id("c"),
            caller.principal.tenant,
            name,
            wanted,
            caller.principal.id,
            None if known is None else tuple(known),
            self._clock(),
            originator,
            review,
        )
        with self._database.write() as connection:
            taken = connection.execute(
                sa.select(collections.c.id).where(
                    collections.c.tenant == made.tenant, collections.c.name == name
                )
            ).scalar()
            if taken is not None:
                # The same words whether the other one is visible or not.
                raise Conflict(f"The name “{name}” is not free.", "Choose another name.")
            connection.execute(
                collections.insert().values(
                    id=made.id,
                    tenant=made.tenant,
                    name=made.name,
                    label=str(made.label),
                    owner=made.owner,
                    readers=None
                    if known is None
                    else msgspec.json.encode(list(known.values())).decode(),
                    created=made.created,
                    originator=originator,
                    review=review,
                )
            )
            # Last before the commit, like every act at the gate (see gate/acts.py).
            self._record(caller, "collection.created", collection=made.id, label=str(wanted))
        return made

    def change_readers(
        self, caller: Caller, name: str, readers: tuple[str, ...] | None
    ) -> Collection:
        """Let others read a collection, see ``create_collection``; they count from the next call.

        Who already reads it as its owner keeps that. Raises Invalid, NotFound, Refused.
        """
        before = self.collection(caller, name)
        resource = f"collection:{before.id}"
        self._gate.require(caller, "administer", label=before.label, resource=resource)
        known = None if readers is None else self._readers(caller, readers)
        stored = None if known is None else msgspec.json.encode(list(known.values())).decode()
        this = collections.c.id == before.id
        with self._database.write() as connection:
            old = connection.execute(sa.select(collections.c.readers).where(this)).scalar_one()
            connection.execute(collections.update().where(this).values(readers=stored))
            # Ids of people are random, and the ledger never shows them: the digests hide who.
            self._record(
                caller,
                "collection.changed",
                collection=before.id,
                before=digest([before.id, old or ""]),
                after=digest([before.id, stored or ""]),
            )
        return self.collection(caller, name)

    def remove_collection(self, caller: Caller, name: str) -> None:
        """Remove an empty collection. Raises NotFound, Refused, Conflict if anything needs it."""
        found = self.collection(caller, name)
        resource = f"collection:{found.id}"
        self._gate.require(caller, "delete", label=found.label, resource=resource)
        with self._database.write() as connection:
            filled = connection.execute(
                sa.select(documents.c.id).where(documents.c.collection == found.id).limit(1)
            ).first()
            if filled is not None:
                raise Conflict(
                    f"Collection {found.name} holds documents.",
                    "Delete them first, each on record.",
                )
            named = sa.select(use_cases.c.id).where(
                use_cases.c.state != "retired", use_cases.c.collections.contains(f'"{found.id}"')
            )
            if connection.execute(named.limit(1)).first() is not None:
                raise Conflict(
                    f"A use case names collection {found.name}.", "Change the use case first."
                )
            connection.execute(collections.delete().where(collections.c.id == found.id))
            self._record(
                caller,
                "collection.removed",
                collection=found.id,
                before=digest([found.id, str(found.label)]),
            )

    # Documents

    def documents(self, caller: Caller, collection: str | None = None) -> list[Document]:
        """Documents of one collection, or of all that the caller may read, by name."""
        if collection is not None:
            within = [self.collection(caller, collection)]
        else:
            within = self.collections(caller)
        known = {one.id: one for one in within}
        query = sa.select(documents).where(
            documents.c.collection.in_(known), documents.c.state == "ready"
        )
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(documents.c.name)).all()
        return [_document(row, known[row.collection]) for row in rows]

    def document(self, caller: Caller, id: str) -> Document:
        """One document. Raises NotFound if it is absent or hidden."""
        row, collection = self._row(caller, id)
        return _document(row, collection)

    def text(self, caller: Caller, id: str) -> str:
        """The extracted text that every span refers to."""
        row, _ = self._row(caller, id)
        return self._blobs.get(row.text_digest).decode()

    def original(self, caller: Caller, id: str) -> bytes:
        """The file as it was added."""
        row, _ = self._row(caller, id)
        return self._blobs.get(row.digest)

    def add(self, caller: Caller, collection: str, name: str, content: bytes) -> Added:
        """Take one file in. Raises what is wrong with it (Unreadable, Unsupported, TooLarge)."""
        file = File(name, len(content), lambda: content)
        (added,) = self.add_all(caller, collection, [file])
        if added.problem is not None:
            raise added.problem
        return added

    def add_all(self, caller: Caller, collection: str, files: Iterable[File]) -> Iterator[Added]:
        """Take files in; yields what became of each. Interrupted and run again, it goes on.

        A few imports run at a time and some wait; raises TooMany beyond that.
        """
        into = self.collection(caller, collection)
        self._gate.require(caller, "add", label=into.label, resource=f"collection:{into.id}")
        self._may_hold(into.label)

        def record(ids: list[str]) -> None:
            if self._gate.principals.by_id(caller.principal.id).disabled:
                # Shut out, or forgotten, while the files were read.
                raise Refused("You may no longer add documents.", "Ask an administrator.")
            self._record(caller, "documents.added", collection=into.id, documents=ids)

        with self._imports.turn(), Reader() as reader:
            yield from self._importing.add(into, map(_named, files), reader, record)

    def delete(self, caller: Caller, id: str) -> None:
        """Remove a document for good."""
        _, collection = self._row(caller, id)
        self._gate.require(
            caller, "delete", label=collection.label, resource=f"collection:{collection.id}"
        )
        self._importing.delete(
            id,
            lambda: self._record(
                caller, "documents.deleted", collection=collection.id, documents=[id]
            ),
        )

    # Forgetting

    def personal(self, principal: str) -> list[tuple[str, str]]:
        """Id and name of each collection that ``principal`` owns and nobody else may read.

        No rights asked: for forgetting, which asks for its own.
        """
        query = sa.select(collections).where(collections.c.owner == principal)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(collections.c.name)).all()
        return [
            (row.id, row.name)
            for row in rows
            if row.readers is not None
            and set(msgspec.json.decode(row.readers, type=list[str])) <= {principal}
        ]

    def erase_personal(
        self, principal: str, note: Callable[[sa.Connection, Mapping[str, int]], None]
    ) -> None:
        """Erase those collections with all they hold. No rights asked; may be called again.

        ``note`` is called with how many collections, documents and blobs go, see
        ``Importing.erase``; no document that lies elsewhere as well loses its blob.
        """
        ids = [id for id, _ in self.personal(principal)]
        if ids:
            self._importing.erase(ids, note)

    def remaining(
        self, ids: Iterable[str], leaving_out: Iterable[str]
    ) -> Sequence[Mapping[str, str]]:
        """Of the documents with these ids, those that are there: id, name, collection.

        Without those in the collections ``leaving_out`` (ids).
        """
        query = (
            sa.select(documents.c.id, documents.c.name, collections.c.name.label("collection"))
            .join(collections, collections.c.id == documents.c.collection)
            .where(documents.c.state == "ready", documents.c.collection.not_in(list(leaving_out)))
            .order_by(collections.c.name, documents.c.name)
        )
        wanted = set(ids)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [dict(row._mapping) for row in rows if row.id in wanted]

    # Search

    def search(
        self,
        caller: Caller,
        query: str,
        *,
        collections: tuple[str, ...] = (),
        use_case: str | None = None,
        limit: int = 10,
    ) -> list[Hit]:
        """Passages for a query, outside a run."""
        if not query.strip():
            raise Invalid("The query is empty.", "Say what to look for.")
        admission = self._gate.admit(
            caller, use_case=use_case, collections=collections, action="search"
        )
        return self.find(query, admission, limit=limit)

    def find(self, query: str, admission: Admission, *, limit: int = 10) -> list[Hit]:
        """Passages for a query within a run's admission."""
        return self._searched(lambda: self._search.find(query, admission, limit=limit))

    def readable(self, admission: Admission) -> int:
        """How many passages may be read under this admission."""
        return self._searched(lambda: self._search.readable(admission))

    def rarity(self, query: str, admission: Admission) -> dict[str, int]:
        """How telling each content word of ``query`` is among the readable passages, 0…1000."""
        return self._searched(lambda: self._search.rarity(query, admission))

    def alike(self, query: str) -> dict[str, Alike]:
        """Other words for each content word of ``query``, from the country pack."""
        return self._search.alike(query, words.content_words(query))

    def count(self) -> int:
        """How many documents there are, for the operator's metrics."""
        query = sa.select(sa.func.count()).select_from(documents)
        with self._database.read() as connection:
            return int(connection.execute(query.where(documents.c.state == "ready")).scalar_one())

    def _searched(self, search: Callable[[], T]) -> T:
        try:
            return search()
        except Damaged:
            self._importing.rebuild_index()
            return search()

    def _row(self, caller: Caller, id: str) -> tuple[sa.Row[tuple[object, ...]], Collection]:
        readable = {one.id: one for one in self.collections(caller)}
        query = sa.select(documents).where(
            documents.c.id == id,
            documents.c.state == "ready",
            documents.c.collection.in_(readable),
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(
                "There is no such document that you may read.",
                "List yours with `casemate document list`.",
            )
        return row, readable[row.collection]

    def _collection(self, row: sa.Row[tuple[object, ...]], names: Mapping[str, str]) -> Collection:
        readers = None if row.readers is None else msgspec.json.decode(row.readers, type=list[str])
        return Collection(
            id=row.id,
            tenant=row.tenant,
            name=row.name,
            label=self._gate.country.policy.parse(row.label),
            owner=row.owner,
            readers=None if readers is None else tuple(names.get(one, one) for one in readers),
            created=row.created,
            originator=row.originator,
            review=row.review,
        )

    def _readers(self, caller: Caller, readers: Iterable[str]) -> dict[str, str]:
        """What the readers are called, and how that is stored. Raises Invalid or NotFound."""
        found: dict[str, str] = {}
        for reader in readers:
            role = reader.removeprefix("role:")
            if role == reader:
                known = self._gate.principals.colleague(caller, reader)
                found[known.name] = known.id
            elif role in ROLES:
                found[reader] = reader
            else:
                raise Invalid(
                    f"There is no role {role[:40]!r}.", f"There are: {', '.join(sorted(ROLES))}."
                )
        return found

    def _record(self, caller: Caller, kind: str, **more: object) -> None:
        self._ledger.record(
            {
                "v": 1,
                "kind": kind,
                "time": self._clock(),
                "actor": caller.principal.pseudonym,
                **more,
            }
        )


def _document(row: sa.Row[tuple[object, ...]], collection: Collection) -> Document:
    return Document(
        id=row.id,
        name=row.name,
        collection=collection.name,
        label=collection.label,
        title=row.title,
        media_type=row.media_type,
        digest=row.digest,
        size=row.size,
        characters=row.characters,
        pages=tuple(map(tuple, msgspec.json.decode(row.pages))),
        headings=tuple(map(tuple, msgspec.json.decode(row.headings))),
        added=row.added,
    )


def _name(name: str) -> str:
    tidy = name.strip()
    if not tidy or len(tidy) > _LONGEST_NAME or not tidy.isprintable() or "/" in tidy:
        raise Invalid(
            "That is not a name for a collection.",
            f"Use 1 to {_LONGEST_NAME} printable characters without “/”.",
        )
    return tidy


def _named(file: File) -> File:
    # A file name is bytes to the system; what is not UTF-8 in it is shown as a question mark box.
    tidy = file.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return File(
        "".join(char if char.isprintable() else "\ufffd" for char in tidy), file.size, file.content
    )
