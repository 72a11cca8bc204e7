"""Ranking: BM25 over what the asker may read, and nothing else.

Source: Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", with
the idf that never falls below zero. The statistics come from the admitted collections alone, so
that a score says nothing about documents that its reader may not see.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from casemate.language import words
from casemate.language.thesaurus import Alike, stem

_K1, _B = 1.2, 0.75
_USUAL_GRAMS, _USUAL_WORDS = 600.0, 90.0  # in a passage; constants, so that scores stay
# Weight of another word for the same thing, against one gram of the word itself.
OWN_LANGUAGE, FOREIGN = 1.5, 0.8


@dataclass(frozen=True)
class Terms:
    """What a query looks for: grams of its words, and stems of other words with their weights."""

    grams: tuple[str, ...]
    stems: Mapping[str, float]

    @classmethod
    def of(cls, query: str, alike: Alike) -> Terms:
        """The terms of ``query``; function words are left out."""
        grams = {gram for word in words.content_words(query) for gram in words.grams(word)}
        stems = dict.fromkeys(sorted(alike.foreign), FOREIGN)
        stems.update(dict.fromkeys(sorted(alike.own), OWN_LANGUAGE))
        return cls(tuple(sorted(grams)), stems)


@dataclass(frozen=True)
class Statistics:
    """How many passages there are, and how many hold each term."""

    passages: int
    grams: Mapping[str, int]
    stems: Mapping[str, int]

    def idf(self, holding: int) -> float:
        """How telling a term is that ``holding`` passages hold; natural logarithm, above 0."""
        holding = min(holding, self.passages)
        return math.log(1 + (self.passages - holding + 0.5) / (holding + 0.5))


def score(text: str, terms: Terms, statistics: Statistics) -> float:
    """The BM25 score of a passage, its title and heading counted in."""
    folded = words.words(text)
    spaced = f" {' '.join(folded)} "
    stems = Counter(map(stem, folded))
    total = 0.0
    for gram in terms.grams:
        often = spaced.count(gram)
        if often:
            length = len(spaced) / _USUAL_GRAMS
            total += statistics.idf(statistics.grams[gram]) * _often(often, length)
    for other, weight in terms.stems.items():
        often = stems[other]
        if often:
            length = len(folded) / _USUAL_WORDS
            total += weight * statistics.idf(statistics.stems[other]) * _often(often, length)
    return total


def _often(times: int, length: float) -> float:
    return times * (_K1 + 1) / (times + _K1 * (1 - _B + _B * length))
