"""The ``quote`` engine: answers with sentences of the documents, word for word, or says so.

It never generates. For each part of a question it weighs the sentences of the passages found:
how many of the telling words a sentence covers (character 4-grams, so that "Hundesteuer" meets
"Steuer für Hunde"), how many its surroundings cover, and whether it holds the kind of thing asked
for. If the most telling words are nowhere, or too little is covered, it says that nothing in the
documents answers this. The same prompt gives the same answer, bit for bit.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from casemate.engines import question
from casemate.engines.engine import Evidence, Found, Part, Prompt, Sampling, Scores, Token
from casemate.errors import Unsupported
from casemate.language import words
from casemate.language.sentence import sentences

VERSION = "1"  # raise it when the same prompt would give another answer

# Weights and limits, chosen on the tuning half of the demo questions; the other half judges them.
_IN_SENTENCE, _NEARBY = 0.6, 0.4
_KIND_SHOWN, _KIND_MISSING = 0.18, 0.12
_RANK = 0.12  # for the passage that the search put first, less for each further one
_ENOUGH = 0.5  # covered weight below which nothing answers
_COVERED = 0.5  # share of a word's grams from which it counts as present
_CLOSE = 0.93  # of the best score, from which a second sentence is quoted too
_MOST = 2  # sentences quoted for a part
_LONGEST = 900  # characters of a sentence worth quoting

NOTHING = {
    "en": "Nothing in these documents answers this.",
    "fr": "Rien dans ces documents ne répond à cette question.",
    "de": "Nichts in diesen Dokumenten beantwortet diese Frage.",
    "lb": "Näischt an dësen Dokumenter beäntwert dës Fro.",
}
NOTHING_FOR = {
    "en": "Nothing in these documents answers “{}”.",
    "fr": "Rien dans ces documents ne répond à « {} ».",
    "de": "Nichts in diesen Dokumenten beantwortet „{}“.",
    "lb": "Näischt an dësen Dokumenter beäntwert „{}“.",
}


@dataclass(frozen=True)
class _Candidate:
    evidence: Evidence
    start: int
    end: int
    score: float
    covered: float  # 0…1, without the additions for kind and rank
    shown: bool  # holds the kind of thing asked for

    @property
    def text(self) -> str:
        return self.evidence.text[self.start : self.end]


class QuoteEngine:
    """Quotes; needs no model, no memory to speak of, and gives equal answers to equal prompts."""

    @property
    def capabilities(self) -> frozenset[str]:
        """See Engine."""
        return frozenset({"generate", "deterministic", "quotes"})

    def plan(self, text: str) -> tuple[Part, ...]:
        """See Engine."""
        return question.parts(text)

    async def generate(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Token, None]:
        """See Engine. One token is one quoted sentence, or one plain statement of absence."""
        chosen = [_choose(found, prompt.evidence) for found in prompt.found]
        if not any(chosen):
            yield Token(NOTHING[prompt.language])
            return
        quoted: set[tuple[int, int]] = set()
        separator = ""
        for found, candidates in zip(prompt.found, chosen, strict=True):
            if not candidates:
                asked = found.part.question.rstrip(" ?.!")
                yield Token(separator + NOTHING_FOR[prompt.language].format(asked))
                separator = "\n"
            for candidate in candidates:
                number, start = candidate.evidence.number, candidate.start
                if (number, start) in quoted:
                    continue
                quoted.add((number, start))
                if separator:
                    yield Token(separator)
                yield Token(candidate.text, evidence=number, start=start)
                separator = " "
            separator = "\n" if quoted else separator

    async def score(self, prompt: Prompt, continuation: str) -> Scores:
        """See Engine."""
        raise Unsupported("Quotes have no probabilities.", "Choose a model whose engine can score.")

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See Engine."""
        raise Unsupported("Quotes have no vectors.", "Choose a model whose engine can embed.")

    async def close(self) -> None:
        """See Engine."""


def _choose(found: Found, evidence: Sequence[Evidence]) -> list[_Candidate]:
    """The sentences that answer one part, in the order in which they read well."""
    weights = _weights(found)
    if not weights:
        return []
    kind = question.kind(found.part.question)
    by_number = {one.number: one for one in evidence}
    candidates = [
        candidate
        for rank, number in enumerate(found.evidence)
        for candidate in _weigh(by_number[number], rank, weights, kind)
    ]
    if not candidates:
        return []
    best = max(candidates, key=lambda one: (one.score, -one.evidence.number, -one.start))
    if best.covered < _ENOUGH or not _covers_most_telling(best, weights):
        return []
    if kind is not None and not best.shown:
        return []
    chosen = [
        one
        for one in candidates
        if one.evidence.number == best.evidence.number and one.score >= best.score * _CLOSE
    ]
    chosen.sort(key=lambda one: -one.score)
    return sorted(chosen[:_MOST], key=lambda one: one.start)


def _weights(found: Found) -> dict[str, float]:
    rarity = dict(found.rarity)
    return {
        word: 0.15 + rarity.get(word, 1000) / 1000
        for word in words.content_words(question.topic(found.part.query))
    }


def _weigh(
    evidence: Evidence, rank: int, weights: Mapping[str, float], kind: str | None
) -> list[_Candidate]:
    around = words.text_grams(f"{evidence.title} {evidence.heading} {evidence.text}")
    nearby = {word: _covered(word, around) for word in weights}
    total = sum(weights.values())
    heading = words.text_grams(evidence.heading)
    found = []
    for start, end in sentences(evidence.text):
        text = evidence.text[start:end]
        if end - start > _LONGEST or _is_heading(text, evidence):
            continue
        grams = words.text_grams(text) | heading
        covered = (
            sum(
                weight * (_IN_SENTENCE * _covered(word, grams) + _NEARBY * nearby[word])
                for word, weight in weights.items()
            )
            / total
        )
        shown = kind is None or question.shows(kind, text)
        score = covered + _RANK / (1 + rank)
        if kind is not None:
            score += _KIND_SHOWN if shown else -_KIND_MISSING
        found.append(_Candidate(evidence, start, end, score, covered, shown))
    return found


def _covered(word: str, grams: frozenset[str]) -> float:
    own = words.grams(word)
    share = len(own & grams) / len(own)
    return min(1.0, share * 1.25) if share >= _COVERED else 0.0


def _covers_most_telling(best: _Candidate, weights: Mapping[str, float]) -> bool:
    """Whether the rarest word asked for stands in or around the sentence."""
    around = words.text_grams(f"{best.evidence.title} {best.evidence.heading} {best.evidence.text}")
    most = max(weights.values())
    return any(
        _covered(word, around) > 0 for word, weight in weights.items() if weight > most - 0.05
    )


def _is_heading(text: str, evidence: Evidence) -> bool:
    plain = text.strip("# ")
    return bool(plain) and (plain == evidence.title or plain in evidence.heading.split(" › "))
