"""The index: which passages may answer a query. Character 4-grams, BM25, rights in the query.

The index holds no text: only the grams of each passage, its id, collection and label. It is
filtered by collection and label while it searches, so counts, ranks and cut-offs never depend on
what the asker may not see; the database stays the authority and re-checks every hit.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import tantivy

from casemate.errors import Unavailable
from casemate.language import words
from casemate.language.thesaurus import Alike, stem

_VERSION = "2"  # of the schema below; another one is built anew
# Weight of another word for the same thing, against one gram of the word itself.
_ALIKE, _FOREIGN = 1.5, 0.8
NONE_ALIKE = Alike()
_HEAP = 32 << 20
_OPTIONS: dict[str, Any] = {"tokenizer_name": "raw", "index_option": "basic"}


@dataclass(frozen=True)
class Indexed:
    """A passage as the index takes it."""

    id: int
    document: str
    collection: str
    label: str
    text: str  # heading and text


class Damaged(Unavailable):
    """The index on disk cannot be read; it can be built anew from the database."""


class Index(Protocol):
    """Full-text search over passages."""

    def apply(self, *, add: Iterable[Indexed] = (), remove: Iterable[str] = ()) -> None:
        """Remove documents, then add passages; durable when it returns, all or nothing."""

    def search(
        self,
        query: str,
        *,
        alike: Alike = NONE_ALIKE,
        collections: Sequence[str],
        labels: Sequence[str],
        limit: int,
    ) -> list[tuple[int, float]]:
        """Passage ids and scores, best first, of these collections and labels only.

        ``alike``: other words for what the query says; they count for less.
        Raises Damaged; so does ``frequency``.
        """

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

    def clear(self) -> None:
        """Empty the index, to build it anew from the database."""

    def close(self) -> None:
        """Release files."""


class TantivyIndex:
    """The embedded index."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _VERSION
        self._schema = _schema()
        self._index = self._open()

    def apply(self, *, add: Iterable[Indexed] = (), remove: Iterable[str] = ()) -> None:
        """See Index."""
        try:
            writer = self._index.writer(heap_size=_HEAP, num_threads=1)
        except ValueError as problem:
            raise _unavailable() from problem
        try:
            for document in remove:
                writer.delete_documents_by_term("document", document)
            for passage in add:
                folded = words.words(passage.text)
                writer.add_document(
                    tantivy.Document.from_dict(
                        {
                            "id": passage.id,
                            "document": passage.document,
                            "collection": passage.collection,
                            "label": passage.label,
                            "grams": f" {' '.join(folded)} ",
                            "stems": " ".join(map(stem, folded)),
                        },
                        self._schema,
                    )
                )
            writer.commit()
            writer.wait_merging_threads()
        except (ValueError, OSError) as problem:
            raise _unavailable() from problem
        self._index.reload()

    def search(
        self,
        query: str,
        *,
        alike: Alike = NONE_ALIKE,
        collections: Sequence[str],
        labels: Sequence[str],
        limit: int,
    ) -> list[tuple[int, float]]:
        """See Index."""
        wanted = sorted({gram for word in words.content_words(query) for gram in words.grams(word)})
        if not wanted or not collections or not labels:
            return []
        text = tantivy.Query.boolean_query(
            [
                *((tantivy.Occur.Should, self._term("grams", gram)) for gram in wanted),
                *(
                    (
                        tantivy.Occur.Should,
                        tantivy.Query.boost_query(self._term("stems", other), weight),
                    )
                    for others, weight in ((alike.own, _ALIKE), (alike.foreign, _FOREIGN))
                    for other in sorted(others)
                ),
            ]
        )
        query_within = self._within(text, collections, labels)
        with _reading():
            searcher = self._index.searcher()
            found = searcher.search(query_within, limit, count=False)
            addresses = [address for _, address in found.hits]
            if not addresses:
                return []
            ids = searcher.fast_field_values("id", addresses)
        hits = [
            (int(_one(key)), float(score)) for key, (score, _) in zip(ids, found.hits, strict=True)
        ]
        # Equal scores come in the order of segments; the id makes the order the same every time.
        return sorted(hits, key=lambda hit: (-hit[1], hit[0]))

    def frequency(
        self,
        word: str,
        *,
        alike: Alike = NONE_ALIKE,
        collections: Sequence[str],
        labels: Sequence[str],
    ) -> int:
        """See Index. A word is like another when it begins alike, so that inflection is no bar."""
        if not collections or not labels:
            return 0
        if not word:
            text = tantivy.Query.all_query()
        else:
            begin = f" {word}"[: max(words.SIZE, 1 + -(-len(word) * 7 // 10))]
            inner = {begin[i : i + words.SIZE] for i in range(max(1, len(begin) - words.SIZE + 1))}
            must, should = tantivy.Occur.Must, tantivy.Occur.Should
            own = tantivy.Query.boolean_query(
                [(must, self._term("grams", gram)) for gram in sorted(inner)]
            )
            others = [
                (should, self._term("stems", other)) for other in sorted(alike.own | alike.foreign)
            ]
            text = tantivy.Query.boolean_query([(should, own), *others])
        with _reading():
            found = self._index.searcher().search(self._within(text, collections, labels), 1)
        return int(found.count or 0)  # type: ignore[attr-defined]

    def size(self) -> int:
        """See Index."""
        return int(self._index.searcher().num_docs)

    def close(self) -> None:
        """See Index."""

    def clear(self) -> None:
        """See Index."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._index = self._open()

    def _open(self) -> tantivy.Index:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                index = tantivy.Index(self._schema, path=str(self._folder))
            except ValueError:
                # Damaged or of another shape. It holds nothing that the database does not.
                shutil.rmtree(self._folder)
                self._folder.mkdir(mode=0o700)
                index = tantivy.Index(self._schema, path=str(self._folder))
        except (ValueError, OSError) as problem:
            raise _unavailable() from problem
        analyzer = tantivy.TextAnalyzerBuilder(
            tantivy.Tokenizer.ngram(words.SIZE, words.SIZE, False)
        ).build()
        index.register_tokenizer("grams", analyzer)
        return index

    def _within(
        self, text: tantivy.Query, collections: Sequence[str], labels: Sequence[str]
    ) -> tantivy.Query:
        must = tantivy.Occur.Must
        return tantivy.Query.boolean_query(
            [
                (must, text),
                (must, self._one_of("collection", collections)),
                (must, self._one_of("label", labels)),
            ]
        )

    def _term(self, field: str, text: str) -> tantivy.Query:
        return tantivy.Query.term_query(self._schema, field, text, index_option="freq")

    def _one_of(self, field: str, values: Sequence[str]) -> tantivy.Query:
        return tantivy.Query.const_score_query(
            tantivy.Query.term_set_query(self._schema, field, list(values)), 0.0
        )


@contextmanager
def _reading() -> Iterator[None]:
    """Tantivy raises ValueError for a file it cannot open, and panics on one it cannot parse."""
    try:
        yield
    except BaseException as problem:
        if isinstance(problem, ValueError) or type(problem).__name__ == "PanicException":
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
        .add_text_field("collection", **_OPTIONS)
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
