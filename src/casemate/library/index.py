"""The index: which passages may answer a query. Character 4-grams, one part per collection.

It holds no text: only the grams and stems of each passage, its id, document and label. Each
collection lies in a part of its own, so that neither hits nor counts nor statistics ever depend on
a collection that the asker may not see; labels are filtered inside the query as well. The database
stays the authority over rights and re-checks every hit.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import tantivy

from casemate.errors import Unavailable
from casemate.language import words
from casemate.language.thesaurus import Alike, stem
from casemate.library.ranking import Statistics, Terms

_VERSION = "3"  # of the schema below; another one is built anew
_HEAP = 32 << 20
_OPTIONS: dict[str, Any] = {"tokenizer_name": "raw", "index_option": "basic"}
NONE_ALIKE = Alike()


@dataclass(frozen=True)
class Indexed:
    """A passage as the index takes it."""

    id: int
    document: str
    collection: str
    label: str
    text: str  # title, heading and text


class Damaged(Unavailable):
    """The index on disk cannot be read; it can be built anew from the database."""


class Index(Protocol):
    """Full-text search over passages. Reading raises Damaged, writing Unavailable."""

    def apply(self, *, add: Iterable[Indexed] = (), remove: Iterable[str] = ()) -> None:
        """Remove documents, then add passages; durable when it returns.

        All or nothing for each collection.
        """

    def candidates(
        self, terms: Terms, *, collections: Sequence[str], labels: Sequence[str], limit: int
    ) -> list[int]:
        """Ids of the best ``limit`` passages of each of these collections, of these labels only."""

    def statistics(self, terms: Terms, *, collections: Sequence[str]) -> Statistics:
        """How many passages of these collections there are, and hold each term."""

    def frequency(
        self,
        word: str,
        *,
        alike: Alike = NONE_ALIKE,
        collections: Sequence[str],
        labels: Sequence[str],
    ) -> int:
        """How many passages of these collections and labels hold a word like this one.

        ``alike``: other words for it, which count too. Without a word: every passage.
        """

    def size(self) -> int:
        """Passages in the index."""

    def drop(self, collection: str) -> None:
        """Remove everything of one collection, so that no trace of its text is left in files."""

    def clear(self) -> None:
        """Empty the index, to build it anew from the database."""

    def close(self) -> None:
        """Release files."""


class TantivyIndex:
    """The embedded index: a folder with one tantivy index for each collection."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _VERSION
        self._schema = _schema()
        self._parts: dict[str, tantivy.Index] = {}
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for older in folder.iterdir():
                if older.name != _VERSION:
                    shutil.rmtree(older)
        except OSError as problem:
            raise _unavailable() from problem

    def apply(self, *, add: Iterable[Indexed] = (), remove: Iterable[str] = ()) -> None:
        """See Index."""
        leaving = list(remove)
        if leaving:
            for collection in self._known():
                with _reading():
                    searcher = self._part(collection).searcher()
                    here = [one for one in leaving if searcher.doc_freq("document", one)]
                if here:
                    self._write(collection, (), here)
        for collection, passages in groupby(add, key=lambda passage: passage.collection):
            self._write(collection, passages, ())

    def candidates(
        self, terms: Terms, *, collections: Sequence[str], labels: Sequence[str], limit: int
    ) -> list[int]:
        """See Index."""
        if not terms.grams or not labels:
            return []
        query = self._within(self._any_of(terms), labels)
        found: list[int] = []
        for collection in self._of(collections):
            with _reading():
                searcher = self._part(collection).searcher()
                hits = searcher.search(query, limit, count=False).hits
                if hits:
                    ids = searcher.fast_field_values("id", [address for _, address in hits])
                    found.extend(int(_one(id)) for id in ids)
        return found

    def statistics(self, terms: Terms, *, collections: Sequence[str]) -> Statistics:
        """See Index."""
        with _reading():
            searchers = [self._part(one).searcher() for one in self._of(collections)]

            def holding(field: str, term: str) -> int:
                return sum(searcher.doc_freq(field, term) for searcher in searchers)

            return Statistics(
                sum(searcher.num_docs for searcher in searchers),
                {gram: holding("grams", gram) for gram in terms.grams},
                {other: holding("stems", other) for other in terms.stems},
            )

    def frequency(
        self,
        word: str,
        *,
        alike: Alike = NONE_ALIKE,
        collections: Sequence[str],
        labels: Sequence[str],
    ) -> int:
        """See Index. A word is like another when it begins alike, so that inflection is no bar."""
        if not labels:
            return 0
        query = self._within(self._like(word, alike), labels)
        count = 0
        for collection in self._of(collections):
            with _reading():
                found = self._part(collection).searcher().search(query, 1)
            count += int(found.count or 0)  # type: ignore[attr-defined]
        return count

    def size(self) -> int:
        """See Index."""
        with _reading():
            return sum(int(self._part(one).searcher().num_docs) for one in self._known())

    def drop(self, collection: str) -> None:
        """See Index."""
        self._parts.pop(collection, None)
        try:
            shutil.rmtree(self._folder / collection)
        except FileNotFoundError:
            return
        except OSError as problem:
            raise _unavailable() from problem

    def clear(self) -> None:
        """See Index."""
        self._parts.clear()
        for collection in self._known():
            shutil.rmtree(self._folder / collection, ignore_errors=True)

    def close(self) -> None:
        """See Index."""
        self._parts.clear()

    def _known(self) -> list[str]:
        return sorted(place.name for place in self._folder.iterdir() if place.is_dir())

    def _of(self, collections: Sequence[str]) -> list[str]:
        """Those of ``collections`` that hold anything, in one order."""
        return [one for one in sorted(collections) if (self._folder / one).is_dir()]

    def _part(self, collection: str) -> tantivy.Index:
        """The index of one collection, opened or made. Raises ValueError if it is damaged."""
        part = self._parts.get(collection)
        if part is None:
            place = self._folder / collection
            place.mkdir(exist_ok=True, mode=0o700)
            part = tantivy.Index(self._schema, path=str(place))
            analyzer = tantivy.TextAnalyzerBuilder(
                tantivy.Tokenizer.ngram(words.SIZE, words.SIZE, False)
            ).build()
            part.register_tokenizer("grams", analyzer)
            self._parts[collection] = part
        return part

    def _write(self, collection: str, add: Iterable[Indexed], remove: Iterable[str]) -> None:
        with _reading():
            part = self._part(collection)
        try:
            writer = part.writer(heap_size=_HEAP, num_threads=1)
            for document in remove:
                writer.delete_documents_by_term("document", document)
            for passage in add:
                writer.add_document(self._entry(passage))
            writer.commit()
            writer.wait_merging_threads()
            part.reload()
        except (ValueError, OSError) as problem:
            raise _unavailable() from problem

    def _entry(self, passage: Indexed) -> tantivy.Document:
        folded = words.words(passage.text)
        return tantivy.Document.from_dict(
            {
                "id": passage.id,
                "document": passage.document,
                "label": passage.label,
                "grams": f" {' '.join(folded)} ",
                "stems": " ".join(map(stem, folded)),
            },
            self._schema,
        )

    def _any_of(self, terms: Terms) -> tantivy.Query:
        should = tantivy.Occur.Should
        own = [(should, self._term("grams", gram)) for gram in terms.grams]
        others = [
            (should, tantivy.Query.boost_query(self._term("stems", other), weight))
            for other, weight in terms.stems.items()
        ]
        return tantivy.Query.boolean_query([*own, *others])

    def _like(self, word: str, alike: Alike) -> tantivy.Query:
        if not word:
            return tantivy.Query.all_query()
        begin = f" {word}"[: max(words.SIZE, 1 + -(-len(word) * 7 // 10))]
        inner = {begin[i : i + words.SIZE] for i in range(max(1, len(begin) - words.SIZE + 1))}
        must, should = tantivy.Occur.Must, tantivy.Occur.Should
        own = tantivy.Query.boolean_query(
            [(must, self._term("grams", gram)) for gram in sorted(inner)]
        )
        others = sorted(alike.own | alike.foreign)
        return tantivy.Query.boolean_query(
            [(should, own), *((should, self._term("stems", other)) for other in others)]
        )

    def _within(self, text: tantivy.Query, labels: Sequence[str]) -> tantivy.Query:
        allowed = tantivy.Query.term_set_query(self._schema, "label", list(labels))
        must = tantivy.Occur.Must
        return tantivy.Query.boolean_query(
            [(must, text), (must, tantivy.Query.const_score_query(allowed, 0.0))]
        )

    def _term(self, field: str, text: str) -> tantivy.Query:
        return tantivy.Query.term_query(self._schema, field, text, index_option="freq")


@contextmanager
def _reading() -> Iterator[None]:
    """Tantivy raises ValueError for a file it cannot open, and panics on one it cannot parse."""
    try:
        yield
    except BaseException as problem:
        panic = type(problem).__name__ == "PanicException"  # of the binding, a BaseException
        if panic or isinstance(problem, ValueError | OSError):
            raise Damaged(
                "The index is damaged.", "Start again: it is then built anew from the database."
            ) from problem
        raise


def _one(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) else value


def _schema() -> tantivy.Schema:
    return (
        tantivy.SchemaBuilder()
        .add_unsigned_field("id", stored=False, indexed=True, fast=True)
        .add_text_field("document", **_OPTIONS)
        .add_text_field("label", **_OPTIONS)
        .add_text_field("grams", tokenizer_name="grams", index_option="freq")
        .add_text_field("stems", tokenizer_name="whitespace", index_option="freq")
        .build()
    )


def _unavailable() -> Unavailable:
    return Unavailable(
        "The index cannot be written or read.",
        "Check that the disk has room and the data folder is writable; then try again.",
    )
