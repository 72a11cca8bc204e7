"""A thesaurus: words that people use for what a document calls by another name.

Data of the country pack, in all its languages at once, so that a question in one language also
finds passages in another. Words are compared by their stem, which here is simply how they begin.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from casemate.language import words

STEM = 6  # letters
_SHORTEST_HEAD = 5  # letters of a word that may end a compound: Müll|tonne


def stem(word: str) -> str:
    """How a folded word begins: enough to leave inflection aside."""
    return word[:STEM]


def stems(text: str) -> frozenset[str]:
    """The stems of the words of ``text``."""
    return frozenset(map(stem, words.words(text)))


class Thesaurus:
    """Concepts, and the words for each."""

    def __init__(self, concepts: Iterable[Mapping[str, Iterable[str]]] = ()) -> None:
        self._concepts: list[frozenset[str]] = []
        self._by_stem: dict[str, list[int]] = {}
        self._heads: dict[str, list[int]] = {}
        for number, concept in enumerate(concepts):
            folded = {words.fold(word) for own in concept.values() for word in own}
            self._concepts.append(frozenset(map(stem, folded)))
            for word in folded:
                self._by_stem.setdefault(stem(word), []).append(number)
                if len(word) >= _SHORTEST_HEAD:
                    self._heads.setdefault(word, []).append(number)
        self.alike = lru_cache(maxsize=4096)(self._alike)

    @classmethod
    def parse(cls, raw: bytes) -> Thesaurus:
        """Read TOML: ``concepts = [{ de = [...], fr = [...] }, …]``. Raises ValueError."""
        content: Any = tomllib.loads(raw.decode())
        return cls(content["concepts"])

    def _alike(self, word: str) -> frozenset[str]:
        """Stems of the words that mean (nearly) the same as a folded word, its own left out."""
        found = set(self._by_stem.get(stem(word), ()))
        if not found:
            # German and Luxembourgish compounds end in what they are: a Mülltonne is a Tonne.
            ends = (word[at:] for at in range(3, len(word) - _SHORTEST_HEAD + 1))
            found = set(next((self._heads[end] for end in ends if end in self._heads), ()))
        return frozenset().union(*(self._concepts[one] for one in found)) - {stem(word)}
