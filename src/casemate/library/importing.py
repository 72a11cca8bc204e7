"""Importing: how a document comes in, is replaced and leaves, whole or not at all.

A document is written as ``pending``, its bytes stored, indexed, recorded in the ledger, and then
made ``ready`` in one transaction that also sends the version it replaces away. Readers see only
``ready``. No bytes are on disk without a row that names them, so whatever a crash or a full disk
leaves ``pending`` or ``leaving`` can be cleared whole: at the next start, or before the next batch.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa

from casemate.errors import CasemateError, NotFound, Tampered, TooLarge, Unavailable
from casemate.library.document import Collection
from casemate.library.index import Index, Indexed
from casemate.library.parse import Extracted
from casemate.library.passage import Span, split
from casemate.store.blobs import Blobs, digest_of
from casemate.store.database import Database
from casemate.store.tables import collections, documents, passages

_BATCH_DOCUMENTS = 64
_BATCH_BYTES = 32 << 20


class Reads(Protocol):
    """What turns a file into text: ``parse.Reader``."""

    def read(self, name: str, content: bytes) -> Extracted:
        """The text of a file."""


@dataclass(frozen=True)
class File:
    """A file that is offered; its bytes are read when its turn comes."""

    name: str
    size: int
    content: Callable[[], bytes]
    originator: str | None = None  # "kind:name" of where it was labelled, if elsewhere


@dataclass(frozen=True)
class Added:
    """What became of one file: added, replaced, unchanged or unread (then ``problem`` says why)."""

    name: str
    outcome: str
    document: str | None = None  # id
    problem: CasemateError | None = None


@dataclass(frozen=True)
class _Arrival:
    id: str
    name: str
    content: bytes
    digest: str
    text: bytes
    text_digest: str
    extracted: Extracted
    spans: tuple[Span, ...]
    originator: str | None


class Importing:
    """Takes files into one collection."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        index: Index,
        *,
        clock: Callable[[], str],
        new_id: Callable[[str], str],
        most_bytes: int,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._index = index
        self._clock = clock
        self._new_id = new_id
        self._most_bytes = most_bytes
        # One batch or deletion at a time: names stay unique, and no blob goes that is just coming.
        self._changing = threading.Lock()

    def add(
        self,
        collection: Collection,
        files: Iterable[File],
        reader: Reads,
        record: Callable[[list[str]], None],
    ) -> Iterator[Added]:
        """Take ``files`` in, in batches; what is yielded is durable and readable.

        ``record`` writes the ledger entry for a batch of document ids before they are readable.
        A file that cannot be read is yielded as ``unread`` and the rest goes on. Raises
        Unavailable if the disk is full: everything yielded so far stays.
        """
        batch: list[_Arrival] = []
        for file in files:
            if any(waiting.name == file.name for waiting in batch) or _full(batch):
                yield from self._take_in(collection, batch, record)
                batch = []
            known = self._known(collection.id, file.name)
            try:
                content = self._content(file)
                digest = digest_of(content)
                if known and known[1] == digest:
                    yield Added(file.name, "unchanged", known[0])
                    continue
                batch.append(self._read(file, content, digest, reader))
            except (Unavailable, Tampered):
                raise
            except CasemateError as problem:
                yield Added(file.name, "unread", problem=problem)
        yield from self._take_in(collection, batch, record)

    def delete(self, document: str, record: Callable[[], None]) -> None:
        """Remove a document: rows, index entries and blobs, after ``record`` wrote its entry."""
        with self._changing:
            self._sweep()
            record()
            with self._database.write() as connection:
                connection.execute(
                    sa.update(documents).where(documents.c.id == document).values(state="leaving")
                )
            self._sweep()

    def erase(
        self, ids: Sequence[str], note: Callable[[sa.Connection, Mapping[str, int]], None]
    ) -> None:
        """Remove whole collections: documents, passages, index and blobs, then themselves.

        ``note`` is called with how many collections, documents and blobs go, in the transactions
        that decide it. Interrupted and called again, it goes on, and notes only what is new.
        """
        mine = documents.c.collection.in_(ids)
        with self._changing:
            self._sweep()
            with self._database.write() as connection:
                rows = connection.execute(
                    sa.select(documents.c.digest, documents.c.text_digest).where(mine)
                ).all()
                connection.execute(sa.update(documents).where(mine).values(state="leaving"))
                blobs = self._only_here(connection, ids, rows)
                note(connection, {"documents": len(rows), "blobs": blobs})
            self._sweep()
            for id in ids:
                self._index.drop(id)
            with self._database.write() as connection:
                connection.execute(sa.delete(collections).where(collections.c.id.in_(ids)))
                note(connection, {"collections": len(ids)})

    def _only_here(self, connection: sa.Connection, ids: Sequence[str], rows: Sequence[Any]) -> int:
        """How many blobs of ``rows`` no document outside the collections ``ids`` uses."""
        elsewhere = sa.select(documents.c.id).where(documents.c.collection.not_in(ids)).limit(1)
        return sum(
            connection.execute(
                elsewhere.where((documents.c.digest == one) | (documents.c.text_digest == one))
            ).first()
            is None
            for one in {digest for row in rows for digest in row}
        )

    def recover(self) -> int:
        """Clear what a crash left half-way. Returns how many documents that were."""
        with self._changing:
            return self._sweep()

    def rebuild_index(self) -> None:
        """Empty the index and fill it from the database."""
        query = (
            sa.select(passages, documents.c.collection, documents.c.title)
            .join(documents, documents.c.id == passages.c.document)
            .where(documents.c.state == "ready")
            .order_by(documents.c.collection, passages.c.id)
        )
        with self._changing, self._database.read() as connection:
            self._index.clear()
            rows = connection.execution_options(yield_per=1000).execute(query)
            self._index.apply(
                add=(
                    _indexed(
                        row.id,
                        row.document,
                        row.collection,
                        row.label,
                        row.title,
                        row.heading,
                        row.text,
                    )
                    for row in rows
                )
            )

    def passages(self) -> int:
        """How many passages are readable, and so must be in the index."""
        query = (
            sa.select(sa.func.count())
            .select_from(passages.join(documents, documents.c.id == passages.c.document))
            .where(documents.c.state == "ready")
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def _known(self, collection: str, name: str) -> tuple[str, str] | None:
        query = sa.select(documents.c.id, documents.c.digest).where(
            documents.c.collection == collection,
            documents.c.name == name,
            documents.c.state == "ready",
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return (row.id, row.digest) if row else None

    def _content(self, file: File) -> bytes:
        if file.size > self._most_bytes:
            raise TooLarge(
                f"It is larger than {self._most_bytes >> 20} MiB.",
                "Split it, or raise the setting upload_mebibytes.",
            )
        return file.content()

    def _read(self, file: File, content: bytes, digest: str, reader: Reads) -> _Arrival:
        extracted = reader.read(file.name, content)
        text = extracted.text.encode()
        return _Arrival(
            id=self._new_id("d"),
            name=file.name,
            content=content,
            digest=digest,
            text=text,
            text_digest=digest_of(text),
            extracted=extracted,
            spans=split(extracted),
            originator=file.originator,
        )

    def _take_in(
        self, collection: Collection, batch: list[_Arrival], record: Callable[[list[str]], None]
    ) -> list[Added]:
        if not batch:
            return []
        with self._changing:
            self._sweep()
            try:
                entries = self._write_pending(collection, batch)
                self._blobs.put_all(
                    one for arrival in batch for one in (arrival.content, arrival.text)
                )
                self._index.apply(add=entries)
                record([arrival.id for arrival in batch])
                replaced = self._make_ready(collection, batch)
            except Exception:
                # Else it would be in the way of the next attempt; the next start clears it too.
                with contextlib.suppress(CasemateError):
                    self._sweep()
                raise
            if replaced:
                self._sweep()
        return [
            Added(arrival.name, "replaced" if arrival.name in replaced else "added", arrival.id)
            for arrival in batch
        ]

    def _write_pending(self, collection: Collection, batch: list[_Arrival]) -> list[Indexed]:
        label = str(collection.label)
        entries: list[Indexed] = []
        with self._database.write() as connection:
            there = sa.select(collections.c.id).where(collections.c.id == collection.id)
            if connection.execute(there).first() is None:
                raise NotFound("This collection is gone.", "Choose another.")
            # One statement for all rows of a table: a fifth of the work for many small files.
            connection.execute(
                documents.insert(),
                [_document_row(arrival, collection.id, self._clock()) for arrival in batch],
            )
            last = connection.execute(sa.select(sa.func.max(passages.c.id))).scalar() or 0
            rows: list[dict[str, object]] = []
            for arrival in batch:
                for row in _passage_rows(arrival, label):
                    rows.append({"id": last + len(rows) + 1, **row})
                    entries.append(
                        _indexed(
                            last + len(rows),
                            arrival.id,
                            collection.id,
                            label,
                            arrival.extracted.title,
                            str(row["heading"]),
                            str(row["text"]),
                        )
                    )
            if rows:
                connection.execute(passages.insert(), rows)
        return entries

    def _make_ready(self, collection: Collection, batch: list[_Arrival]) -> set[str]:
        """Show the batch to readers, and send away what it replaces; the names of that."""
        ready = sa.and_(
            documents.c.collection == collection.id,
            documents.c.name.in_([arrival.name for arrival in batch]),
            documents.c.state == "ready",
        )
        with self._database.write() as connection:
            replaced = set(connection.execute(sa.select(documents.c.name).where(ready)).scalars())
            connection.execute(sa.update(documents).where(ready).values(state="leaving"))
            connection.execute(
                sa.update(documents)
                .where(documents.c.id.in_([arrival.id for arrival in batch]))
                .values(state="ready")
            )
        return replaced

    def _sweep(self) -> int:
        """Remove every document that no reader sees, bytes first; how many there were."""
        with self._database.read() as connection:
            ids = list(
                connection.execute(
                    sa.select(documents.c.id).where(documents.c.state != "ready")
                ).scalars()
            )
        if not ids:
            return 0
        self._index.apply(remove=ids)
        with self._database.write() as connection:
            blobs = connection.execute(
                sa.select(documents.c.digest, documents.c.text_digest).where(
                    documents.c.id.in_(ids)
                )
            ).all()
            connection.execute(sa.delete(passages).where(passages.c.document.in_(ids)))
            connection.execute(sa.delete(documents).where(documents.c.id.in_(ids)))
            for digest in {digest for row in blobs for digest in row}:
                if not connection.execute(
                    sa.select(sa.func.count())
                    .select_from(documents)
                    .where((documents.c.digest == digest) | (documents.c.text_digest == digest))
                ).scalar():
                    # Before the commit: after a crash here the rows still say what to remove.
                    self._blobs.delete(digest)
        self._database.fold_in()  # the write-ahead log holds the deleted text until then
        return len(ids)


def _full(batch: list[_Arrival]) -> bool:
    return (
        len(batch) >= _BATCH_DOCUMENTS
        or sum(len(arrival.content) + len(arrival.text) for arrival in batch) >= _BATCH_BYTES
    )


def _document_row(arrival: _Arrival, collection: str, now: str) -> dict[str, object]:
    extracted = arrival.extracted
    return {
        "id": arrival.id,
        "collection": collection,
        "name": arrival.name,
        "digest": arrival.digest,
        "text_digest": arrival.text_digest,
        "media_type": extracted.media_type,
        "title": extracted.title,
        "size": len(arrival.content),
        "characters": len(extracted.text),
        "pages": msgspec.json.encode([(page.start, page.end) for page in extracted.pages]).decode(),
        "headings": msgspec.json.encode(
            [(heading.start, heading.end, heading.level) for heading in extracted.headings]
        ).decode(),
        "added": now,
        "originator": arrival.originator,
        "state": "pending",
    }


def _passage_rows(arrival: _Arrival, label: str) -> list[dict[str, object]]:
    return [
        {
            "document": arrival.id,
            "ordinal": span.ordinal,
            "page": span.page,
            "start": span.start,
            "end": span.end,
            "heading": span.heading,
            "label": label,
            "text": arrival.extracted.text[span.start : span.end],
        }
        for span in arrival.spans
    ]


def _indexed(
    id: int, document: str, collection: str, label: str, title: str | None, heading: str, text: str
) -> Indexed:
    return Indexed(id, document, collection, label, "\n".join((title or "", heading, text)))
