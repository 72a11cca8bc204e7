"""Made-up prose with the statistics of words: few common, many rare (Zipf), for load only."""

from __future__ import annotations

import random
from collections.abc import Iterator

_SYLLABLES = (
    "ba be bi bo da de di do fa fe ga ge ha he ka ke la le li lo ma me mi mo na ne no pa pe ra re "
    "ri ro sa se si so ta te ti to ung heit tion ment lich isch keit bau amt rat steg tal berg"
).split()


def documents(count: int, *, seed: int = 1, characters: int = 4_000) -> Iterator[str]:
    """``count`` different texts of sentences and paragraphs."""
    dice = random.Random(seed)
    vocabulary = ["".join(dice.choices(_SYLLABLES, k=dice.randint(1, 4))) for _ in range(30_000)]
    weights = [1 / (rank + 5) for rank in range(len(vocabulary))]
    for _ in range(count):
        words = iter(dice.choices(vocabulary, weights, k=characters // 5))
        text, length = [], 0
        while length < characters:
            sentence = " ".join(next(words, "ende") for _ in range(dice.randint(6, 18)))
            text.append(sentence.capitalize() + ".")
            length += len(sentence)
            if dice.random() < 0.2:
                text.append("\n\n")
        yield " ".join(text)


def questions(count: int, *, seed: int = 2) -> list[str]:
    """Questions of a few words of the same vocabulary."""
    dice = random.Random(seed)
    words = " ".join(documents(5, seed=1)).split()
    return [" ".join(dice.choices(words, k=dice.randint(4, 9))) + "?" for _ in range(count)]
