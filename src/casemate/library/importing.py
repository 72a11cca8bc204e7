"""Importing: how a document comes in, is replaced and leaves, whole or not at all.

A document is written as ``pending``, indexed, recorded in the ledger, and then made ``ready`` in
one transaction that also sends the version it replaces away. Readers see only ``ready``. Whatever
a crash leaves ``pending`` or ``leaving`` is cleared at the next start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec
import sqlalchemy as sa

from casemate.errors import CasemateError, TooLarge
from casemate.library.document import Collection
from casemate.library.index import Index, Indexed
from casemate.library.parse import Extracted
from casemate.library.passage import Span, split
from casemate.store.blobs import Blobs
from casemate.store.database import Database
from casemate.store.tables import documents, passages

_BATCH_DOCUMENTS = 64
_BATCH_CHARACTERS = 4_000_000


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
    digest: str
    size: int
    extracted: Extracted
    spans: tuple[Span, ...]
    replaces: str | None


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
        characters = 0
        for file in files:
            known = self._known(collection.id, file.name)
            try:
                content = self._content(file)
                digest = "sha256:" + hashlib.sha256(content).hexdigest()
                if known and known[1] == digest:
                    yield Added(file.name, "unchanged", known[0])
                    continue
                arrival = self._read(file, content, digest, reader, known[0] if known else None)
                self._blobs.put(content)
            except CasemateError as problem:
                if problem.status >= 500:
                    raise
                yield Added(file.name, "unread", problem=problem)
                continue
            if any(waiting.name == arrival.name for waiting in batch):
                yield from self._take_in(collection, batch, record)
                batch, characters = [], 0
                arrival = self._again(collection.id, arrival)
            batch.append(arrival)
            characters += len(arrival.extracted.text)
            if len(batch) >= _BATCH_DOCUMENTS or characters >= _BATCH_CHARACTERS:
                yield from self._take_in(collection, batch, record)
                batch, characters = [], 0
        yield from self._take_in(collection, batch, record)

    def delete(self, document: str, record: Callable[[], None]) -> None:
        """Remove a document: rows, index entries and blobs, after ``record`` wrote its entry."""
        record()
        with self._database.write() as connection:
            connection.execute(
                sa.update(documents).where(documents.c.id == document).values(state="leaving")
            )
        self._clear([document])

    def recover(self) -> int:
        """Clear what a crash left half-way. Returns how many documents that were."""
        with self._database.read() as connection:
            unfinished = list(
                connection.execute(
                    sa.select(documents.c.id).where(documents.c.state != "ready")
                ).scalars()
            )
        if unfinished:
            self._clear(unfinished)
        return len(unfinished)

    def rebuild_index(self) -> None:
        """Fill an empty index from the database."""
        query = (
            sa.select(passages, documents.c.collection, documents.c.title)
            .join(documents, documents.c.id == passages.c.document)
            .where(documents.c.state == "ready")
            .order_by(passages.c.id)
        )
        with self._database.read() as connection:
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

    def _read(
        self, file: File, content: bytes, digest: str, reader: Reads, replaces: str | None
    ) -> _Arrival:
        extracted = reader.read(file.name, content)
        return _Arrival(
            id=self._new_id("d"),
            name=file.name,
            digest=digest,
            size=len(content),
            extracted=extracted,
            spans=split(extracted),
            replaces=replaces,
        )

    def _again(self, collection: str, arrival: _Arrival) -> _Arrival:
        known = self._known(collection, arrival.name)
        return replace(arrival, replaces=known[0] if known else None)

    def _take_in(
        self, collection: Collection, batch: list[_Arrival], record: Callable[[list[str]], None]
    ) -> list[Added]:
        if not batch:
            return []
        entries = self._write_pending(collection, batch)
        self._index.apply(add=entries)
        record([arrival.id for arrival in batch])
        replaced = [arrival.replaces for arrival in batch if arrival.replaces]
        with self._database.write() as connection:
            connection.execute(
                sa.update(documents).where(documents.c.id.in_(replaced)).values(state="leaving")
            )
            connection.execute(
                sa.update(documents)
                .where(documents.c.id.in_([arrival.id for arrival in batch]))
                .values(state="ready")
            )
        if replaced:
            self._clear(replaced)
        return [
            Added(arrival.name, "replaced" if arrival.replaces else "added", arrival.id)
            for arrival in batch
        ]

    def _write_pending(self, collection: Collection, batch: list[_Arrival]) -> list[Indexed]:
        texts = {arrival.id: self._blobs.put(arrival.extracted.text.encode()) for arrival in batch}
        label = str(collection.label)
        entries: list[Indexed] = []
        with self._database.write() as connection:
            for arrival in batch:
                connection.execute(
                    documents.insert().values(
                        _document_row(arrival, collection.id, texts[arrival.id], self._clock())
                    )
                )
                rows = _passage_rows(arrival, label)
                last = connection.execute(sa.select(sa.func.max(passages.c.id))).scalar() or 0
                for offset, row in enumerate(rows, 1):
                    row["id"] = last + offset
                if rows:
                    connection.execute(passages.insert(), rows)
                entries.extend(
                    _indexed(
                        int(str(row["id"])),
                        arrival.id,
                        collection.id,
                        label,
                        arrival.extracted.title,
                        str(row["heading"]),
                        str(row["text"]),
                    )
                    for row in rows
                )
        return entries

    def _clear(self, ids: list[str]) -> None:
        """Remove documents that no reader sees any more, from the index first."""
        self._index.apply(remove=ids)
        with self._database.write() as connection:
            blobs = connection.execute(
                sa.select(documents.c.digest, documents.c.text_digest).where(
                    documents.c.id.in_(ids)
                )
            ).all()
            connection.execute(sa.delete(passages).where(passages.c.document.in_(ids)))
            connection.execute(sa.delete(documents).where(documents.c.id.in_(ids)))
            unused = [
                digest
                for digest in {digest for row in blobs for digest in row}
                if not connection.execute(
                    sa.select(sa.func.count())
                    .select_from(documents)
                    .where((documents.c.digest == digest) | (documents.c.text_digest == digest))
                ).scalar()
            ]
        for digest in unused:
            self._blobs.delete(digest)


def _document_row(
    arrival: _Arrival, collection: str, text_digest: str, now: str
) -> dict[str, object]:
    extracted = arrival.extracted
    return {
        "id": arrival.id,
        "collection": collection,
        "name": arrival.name,
        "digest": arrival.digest,
        "text_digest": text_digest,
        "media_type": extracted.media_type,
        "title": extracted.title,
        "size": arrival.size,
        "characters": len(extracted.text),
        "pages": msgspec.json.encode([(page.start, page.end) for page in extracted.pages]).decode(),
        "headings": msgspec.json.encode(
            [(heading.start, heading.end, heading.level) for heading in extracted.headings]
        ).decode(),
        "added": now,
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
