"""Finding notes for a question: BM25 over character 4-grams, as Casemate's index ranks.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009). Small and
slow: it exists so that the model is measured with the passages that it gets in use.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from nano.language import Note

_K1, _B = 1.2, 0.75


class Search:
    """Ranks a fixed set of notes."""

    def __init__(self, notes: Sequence[Note]) -> None:
        self._notes = notes
        self._counts = [Counter(grams(f"{n.service.title}\n{n.body}")) for n in notes]
        self._mean = sum(c.total() for c in self._counts) / len(notes)
        self._with = Counter(gram for counts in self._counts for gram in counts)

    def best(self, question: str, count: int) -> list[Note]:
        """The ``count`` best notes, best first."""
        asked = grams(question)
        scores = [self._score(asked, counts) for counts in self._counts]
        order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
        return [self._notes[index] for index in order[:count]]

    def _score(self, asked: Sequence[str], counts: Counter[str]) -> float:
        length = 1 - _B + _B * counts.total() / self._mean
        score = 0.0
        for gram in asked:
            often, within = counts[gram], self._with[gram]
            if often:
                rare = math.log(1 + (len(self._notes) - within + 0.5) / (within + 0.5))
                score += rare * often * (_K1 + 1) / (often + _K1 * length)
        return score


def grams(text: str) -> list[str]:
    """Character 4-grams of the words of ``text``, in lower case; short words whole."""
    found = []
    for word in text.lower().replace("-", " ").split():
        found += [word[i : i + 4] for i in range(max(1, len(word) - 3))]
    return found
