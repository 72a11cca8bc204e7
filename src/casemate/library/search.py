"""Search: from a query to passages that the asker may read.

The index proposes, filtered by collection and label; the database decides. A hit is dropped
unless its document is complete, its collection is among those admitted and its label is dominated
by the admission's, as the database says now and not as the index remembered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from casemate.errors import Invalid
from casemate.language import words
from casemate.language.thesaurus import Alike, Thesaurus
from casemate.library.document import Hit, Passage
from casemate.library.index import Index
from casemate.library.ranking import Statistics, Terms, score
from casemate.store.database import Database
from casemate.store.tables import collections, documents, passages

if TYPE_CHECKING:
    from casemate.gate.admission import Admission
    from casemate.gate.label import LabelPolicy

_IMAGINED = 50  # passages without the word; a few real ones say little about how rare it is
_MORE = 20  # candidates asked for beyond those wanted
_LOOKS = 4  # at an index that changes meanwhile
MOST = 100  # passages in one answer to a search


class Search:
    """Finds passages for an admission."""

    def __init__(
        self,
        database: Database,
        index: Index,
        policy: LabelPolicy,
        thesaurus: Callable[[], Thesaurus],
    ) -> None:
        self._database = database
        self._index = index
        self._policy = policy
        self._thesaurus = thesaurus

    def find(self, query: str, admission: Admission, *, limit: int = 10) -> list[Hit]:
        """At most ``limit`` passages, best first; equal input gives equal order.

        Raises Invalid if ``limit`` is not within 1…100.
        """
        if not 1 <= limit <= MOST:
            raise Invalid(f"The limit {limit} is out of range.", f"Give 1 to {MOST}.")
        labels = self._labels(admission)
        others = self.alike(query, words.content_words(query)).values()
        alike = Alike(
            frozenset().union(*(one.own for one in others)),
            frozenset().union(*(one.foreign for one in others)),
        )
        terms = Terms.of(query, alike)
        within = sorted(admission.collections)
        statistics = self._index.statistics(terms, collections=within)
        # Each collection proposes by its own statistics, and a document on its way in or out is
        # proposed but not readable: asking for more than are wanted leaves room for both.
        reach, looks = limit + _MORE, 0
        while True:
            ids = self._index.candidates(terms, collections=within, labels=labels, limit=reach)
            known = self._readable(ids, admission)
            looks += 1
            if len(known) < len(ids) and looks < _LOOKS:
                # Replaced between the two looks? Then the index proposes the new version by now.
                again = self._index.candidates(
                    terms, collections=within, labels=labels, limit=reach
                )
                if again != ids:
                    continue
            if len(known) >= limit or len(ids) < reach:
                break
            reach *= 4
        ranked = sorted(
            ((passage, _score(passage, terms, statistics)) for passage in known.values()),
            key=lambda hit: (-hit[1], hit[0].id),
        )
        return _explained(query, ranked[:limit])

    def alike(self, query: str, asked: Sequence[str]) -> dict[str, Alike]:
        """Other words for each folded word of ``query``."""
        language = words.language_of(query)
        return {word: self._thesaurus().alike(word, language) for word in asked}

    def readable(self, admission: Admission) -> int:
        """How many passages there are for this admission."""
        return self._index.frequency(
            "", collections=admission.collections, labels=self._labels(admission)
        )

    def rarity(self, query: str, admission: Admission) -> dict[str, int]:
        """How telling each content word of ``query`` is among the readable passages.

        Near 0: it stands in all of many; 1000: in none.
        """
        within: dict[str, Any] = {
            "collections": admission.collections,
            "labels": self._labels(admission),
        }
        asked = words.content_words(query)
        total = self._index.frequency("", **within)
        if total == 0:
            return dict.fromkeys(asked, 1000)
        counts = {
            word: min(total, self._index.frequency(word, alike=others, **within))
            for word, others in self.alike(query, asked).items()
        }
        return {
            word: round(1000 * (1 - math.log1p(count) / math.log1p(total + _IMAGINED)))
            for word, count in counts.items()
        }

    def _labels(self, admission: Admission) -> list[str]:
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(collections.c.label)
                .where(collections.c.id.in_(admission.collections))
                .distinct()
            ).scalars()
            return [text for text in rows if self._dominated(text, admission)]

    def _dominated(self, label: str, admission: Admission) -> bool:
        return self._policy.readable(label, admission.label)

    def _readable(self, ids: Sequence[int], admission: Admission) -> dict[int, Passage]:
        query = (
            sa.select(
                passages,
                documents.c.name.label("document_name"),
                documents.c.digest,
                documents.c.title,
                collections.c.name.label("collection"),
                collections.c.label.label("collection_label"),
            )
            .join(documents, documents.c.id == passages.c.document)
            .join(collections, collections.c.id == documents.c.collection)
            .where(
                passages.c.id.in_(ids),
                documents.c.state == "ready",
                documents.c.collection.in_(admission.collections),
            )
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return {
            row.id: Passage(
                id=row.id,
                document=row.document,
                document_name=row.document_name,
                document_digest=row.digest,
                collection=row.collection,
                page=row.page,
                start=row.start,
                end=row.end,
                heading=row.heading,
                title=row.title or "",
                label=self._policy.parse(row.label),
                text=row.text,
            )
            for row in rows
            if self._dominated(row.label, admission)
            and self._dominated(row.collection_label, admission)
        }


def _score(passage: Passage, terms: Terms, statistics: Statistics) -> float:
    text = f"{passage.title}\n{passage.heading}\n{passage.text}"
    return score(text, terms, statistics)


def _explained(query: str, found: list[tuple[Passage, float]]) -> list[Hit]:
    asked = [(word, words.grams(word)) for word in words.content_words(query)]
    texts = [
        words.text_grams(f"{passage.title} {passage.heading} {passage.text}")
        for passage, _ in found
    ]
    holds = [
        [word for word, grams in asked if len(grams & text) * 3 >= len(grams) * 2] for text in texts
    ]
    spread = {word: sum(word in held for held in holds) for word, _ in asked}
    return [
        Hit(passage, score, tuple(sorted(held, key=lambda word: spread[word])))
        for (passage, score), held in zip(found, holds, strict=True)
    ]
