"""Support: whether a passage says what a sentence claims, though in other words.

A quotation is checked letter for letter (``citation``). A sentence that a model wrote itself is
held against the passage it cites: nearly all of its words, every number and every name must stand
in one or two neighbouring sentences there, and one must not deny what the other says. This is a
test of words, not of meaning: it catches invented figures, names and sources, and says nothing
about whether a faithful paraphrase reads the passage well.
"""

from __future__ import annotations

import re

from casemate.language import words
from casemate.language.sentence import sentences

_ENOUGH = 0.75  # share of a sentence's words that must stand in the passage
_WORD_ALIKE = 0.5  # share of a word's 4-grams from which it counts as present
_NAME_ALIKE = 0.75  # and of a capitalised word's
_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_WORD = re.compile(r"[^\W\d_][^\W_]*(?:['’][^\W\d_]+)*")
_DENIES = re.compile(
    r"(?<!\w)(?:not|no|never|none|nobody|cannot|without|n['’]t"
    r"|nicht|kein\w*|nie|niemals|niemand|ohne"
    r"|pas|jamais|aucune?|sans|ni"
    r"|net|keen\w*|ni|nimools|ouni)(?!\w)|n['’]t\b",
    re.I,
)


def supporting(claim: str, passage: str) -> tuple[int, int] | None:
    """The span of ``passage`` whose words carry ``claim``, or None.

    Characters into ``passage``; one sentence, or two that follow each other.
    """
    asked = words.content_words(claim)
    if not asked:
        return None
    spans = sentences(passage)
    pairs = [(spans[at][0], spans[at + 1][1]) for at in range(len(spans) - 1)]
    found = [
        (_share(asked, passage[start:end]), start, end)
        for start, end in [*spans, *pairs]
        if _agree(claim, passage[start:end])
    ]
    best = max(found, default=None, key=lambda one: (one[0], one[1] - one[2]))
    if best is None or best[0] < _ENOUGH:
        return None
    return best[1], best[2]


def _share(asked: list[str], text: str) -> float:
    there = words.text_grams(text)
    return sum(_alike(word, there) >= _WORD_ALIKE for word in asked) / len(asked)


def _alike(word: str, there: frozenset[str]) -> float:
    own = words.grams(word)
    return len(own & there) / len(own)


def _agree(claim: str, text: str) -> bool:
    """Whether numbers and names of ``claim`` all stand in ``text``, and both or neither deny."""
    if set(_NUMBER.findall(claim)) - set(_NUMBER.findall(text)):
        return False
    if bool(_DENIES.search(claim)) != bool(_DENIES.search(text)):
        return False
    there = words.text_grams(text)
    return all(_alike(words.fold(name), there) >= _NAME_ALIKE for name in _names(claim))


def _names(claim: str) -> list[str]:
    """Capitalised words that do not merely open the sentence."""
    return [found[0] for found in _WORD.finditer(claim) if found.start() and found[0][0].isupper()]
