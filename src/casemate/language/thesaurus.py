"""A thesaurus: words that people use for what a document calls by another name.

Data of the country pack, in all its languages at once, so that a question in one language also
finds passages in another. Words are compared by their stem, which here is simply how they begin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from casemate.language import words

STEM = 6  # letters
_SHORTEST_HEAD = 5  # letters of a word that may end a compound: Müll|tonne


def stem(word: str) -> str:
    """How a folded word begins: enough to leave inflection aside."""
    return word[:STEM]


@dataclass(frozen=True)
class Alike:
    """Stems of other words for one word: of its own language, and of the others."""

    own: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()


class Thesaurus:
    """Concepts, and the words for each by language."""

    def __init__(self, concepts: Iterable[Mapping[str, Iterable[str]]] = ()) -> None:
        self._concepts: list[dict[str, frozenset[str]]] = []
        self._by_stem: dict[str, set[int]] = {}
        self._heads: dict[str, set[int]] = {}
        for number, concept in enumerate(concepts):
            folded = {
                language: [words.fold(word) for word in own] for language, own in concept.items()
            }
            self._concepts.append(
                {language: frozenset(map(stem, own)) for language, own in folded.items()}
            )
            for word in (word for own in folded.values() for word in own):
                self._by_stem.setdefault(stem(word), set()).add(number)
                if len(word) >= _SHORTEST_HEAD:
                    self._heads.setdefault(word, set()).add(number)
        self.alike = lru_cache(maxsize=4096)(self._alike)

    @classmethod
    def parse(cls, raw: bytes) -> Thesaurus:
        """Read tab-separated text: a line of language codes, then a line for each concept, in
        each column the words of that language with spaces between. Raises ValueError.
        """
        head, *lines = raw.decode().splitlines()
        languages = head.split("\t")
        rows = [line.split("\t") for line in lines if line]
        if any(len(row) != len(languages) for row in rows):
            raise ValueError("a concept has not one column for each language")
        return cls(
            {language: own.split() for language, own in zip(languages, row, strict=True)}
            for row in rows
        )

    def _alike(self, word: str, language: str) -> Alike:
        """Other words for a folded ``word`` of ``language``, its own stem left out.

        The same letters may mean another thing in another language ("Tax" is a fee in
        Luxembourgish), so concepts that hold the word in its own language come before others.
        """
        numbers = self._by_stem.get(stem(word), set())
        if not numbers:
            # German and Luxembourgish compounds end in what they are: a Mülltonne is a Tonne.
            ends = (word[at:] for at in range(3, len(word) - _SHORTEST_HEAD + 1))
            head = next((end for end in ends if end in self._heads), "")
            numbers, word = self._heads.get(head, set()), head or word
        at_home = {n for n in numbers if stem(word) in self._concepts[n].get(language, ())}
        found = [self._concepts[n] for n in sorted(at_home or numbers)]
        own = frozenset().union(*(one.get(language, frozenset()) for one in found))
        every = frozenset().union(*(stems for one in found for stems in one.values()))
        return Alike(own - {stem(word)}, every - own - {stem(word)})
