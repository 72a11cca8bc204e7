"""The ``quote`` engine: answers with sentences of the documents, word for word, or says so.

It never generates. For each part of a question it weighs the sentences of the passages found:
how many of the telling words a sentence covers (character 4-grams, so that "Hundesteuer" meets
"Steuer für Hunde"), how many its surroundings cover, and whether it holds the kind of thing asked
for. If the most telling words are nowhere, or too little is covered, it says that nothing in the
documents answers this. The same prompt gives the same answer, bit for bit.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casemate.engines import question
from casemate.engines.engine import (
    Embeddings,
    Evidence,
    Found,
    Part,
    Prompt,
    Sampling,
    Scores,
    Token,
)
from casemate.errors import Unsupported
from casemate.language import words
from casemate.language.sentence import sentences
from casemate.language.thesaurus import stem
from casemate.models.profile import Profile

if TYPE_CHECKING:
    from casemate.gate.label import Label

# Weights and limits, fitted on the tuning half of the demo questions, with the other half in sight
# when some were picked: docs/decisions/0004. Another value is another version of the model.
# Which sentence: what it covers, what its passage covers, what the search thinks of the passage.
_IN_SENTENCE, _NEARBY, _CLOSENESS = 0.3, 0.3, 1.0
_OTHER_LANGUAGE = 0.1  # taken off for a passage that is not in the language of the question
# Whether to answer: how much telling text the search found for each gram asked for, how much of
# the things asked about stands in the passage, how much of everything asked in the sentence.
_DENSITY, _SUBJECTS, _AMOUNT = 5.7, 3.6, 1.9
_SAME_LANGUAGE = 2.0
_FEW, _TYPICAL = 30, 0.45  # passages; density of a passage that covers everything asked
_ENOUGH = 7.9  # below, nothing answers
_COVERED = 0.5  # share of a word's grams from which it counts as present
_OTHER_WORD, _FOREIGN_WORD = 0.8, 0.4  # how much another word for the same thing counts
_CLOSE = 0.85  # of the best score, from which a second sentence is quoted too
_AS_MUCH = 0.8  # and of what the best sentence covers
_MOST = 2  # sentences quoted for a part
_CELLS = " | "  # between the cells of a table's row
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
    covered: Mapping[str, float]  # by the sentence and its heading
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

    @property
    def profile(self) -> Profile:
        """See Engine."""
        return Profile()

    def plan(self, text: str) -> tuple[Part, ...]:
        """See Engine."""
        return question.parts(text)

    async def generate(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Token, None]:
        """See Engine. One token is one quoted sentence, or one plain statement of absence."""
        chosen = await asyncio.to_thread(
            lambda: [_choose(found, prompt.evidence, prompt.language) for found in prompt.found]
        )
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

    async def score(self, prompts: Sequence[Prompt], continuation: str) -> list[Scores]:
        """See Engine."""
        raise Unsupported("Quotes have no probabilities.", "Choose a model whose engine can score.")

    async def embed(self, texts: Sequence[str], *, label: Label) -> Embeddings:
        """See Engine."""
        raise Unsupported("Quotes have no vectors.", "Choose a model whose engine can embed.")

    async def close(self) -> None:
        """See Engine."""


def _choose(found: Found, evidence: Sequence[Evidence], language: str) -> list[_Candidate]:
    """The sentences that answer one part, in the order in which they read well."""
    asked = _Asked.of(found, language)
    if not asked.weights:
        return []
    by_number = {one.number: one for one in evidence}
    best_score = max(found.scores, default=0) or 1  # what stands in every passage scores 0
    candidates = [
        candidate
        for number, score in zip(found.evidence, found.scores, strict=True)
        for candidate in _weigh(by_number[number], score / best_score, asked)
    ]
    # A question for a sum is not answered by a sentence without one.
    candidates = [one for one in candidates if one.shown]
    if not candidates:
        return []
    best = max(candidates, key=lambda one: (one.score, -one.evidence.number, -one.start))
    if not _answers(best, asked, found):
        return []
    chosen = [
        one
        for one in candidates
        if one.evidence.number == best.evidence.number
        and one.score >= best.score * _CLOSE
        and asked.amount(one.covered) >= asked.amount(best.covered) * _AS_MUCH
    ]
    chosen.sort(key=lambda one: -one.score)
    return sorted(chosen[:_MOST], key=lambda one: one.start)


@dataclass(frozen=True)
class _Asked:
    """What one part asks for: its words with their weights, other words for them, its kind."""

    language: str
    weights: Mapping[str, float]
    alike: Mapping[str, tuple[frozenset[str], frozenset[str]]]  # of its own language, of others
    subjects: frozenset[str]
    kind: str | None

    @classmethod
    def of(cls, found: Found, language: str) -> _Asked:
        rarity = dict(found.rarity)
        return cls(
            language,
            {
                word: 0.15 + rarity.get(word, 1000) / 1000
                for word in words.content_words(question.topic(found.part.query))
                or words.content_words(found.part.query)
            },
            {word: (frozenset(own), frozenset(other)) for word, own, other in found.alike},
            question.subjects(found.part.query, language),
            question.kind(found.part.question),
        )

    def covered(self, text: _Text) -> dict[str, float]:
        """For each word, 0…1, how well ``text`` holds it or another word for it."""
        found = {}
        for word in self.weights:
            own = words.grams(word)
            share = len(own & text.grams) / len(own)
            level = min(1.0, share * 1.25) if share >= _COVERED else 0.0
            own_language, foreign = self.alike.get(word, (frozenset(), frozenset()))
            if level < _OTHER_WORD and own_language & text.stems:
                level = _OTHER_WORD
            elif level < _FOREIGN_WORD and foreign & text.stems:
                level = _FOREIGN_WORD
            found[word] = level
        return found

    def share(self, covered: Mapping[str, float]) -> float:
        """The covered part of all weights, 0…1."""
        return self.amount(covered) / sum(self.weights.values())

    def amount(self, covered: Mapping[str, float]) -> float:
        """The covered weight."""
        return sum(weight * covered[word] for word, weight in self.weights.items())

    def share_of_subjects(self, covered: Mapping[str, float]) -> float:
        """The covered part of the weights of the things asked about, 0…1."""
        named = {word: self.weights[word] for word in self.weights if word in self.subjects}
        named = named or dict(self.weights)
        return sum(weight * covered[word] for word, weight in named.items()) / sum(named.values())


@dataclass(frozen=True)
class _Text:
    """A text as it is compared."""

    grams: frozenset[str]
    stems: frozenset[str]

    @classmethod
    def of(cls, *texts: str) -> _Text:
        found = set(words.words(" ".join(texts)))
        return cls(frozenset().union(*map(words.grams, found)), frozenset(map(stem, found)))

    def joined(self, other: _Text) -> _Text:
        """Both together."""
        return _Text(self.grams | other.grams, self.stems | other.stems)


def _weigh(evidence: Evidence, closeness: float, asked: _Asked) -> list[_Candidate]:
    """Every sentence of a passage; ``closeness`` 0…1 is the search's opinion of the passage."""
    passage = asked.covered(_Text.of(evidence.title, evidence.heading, evidence.text))
    heading = _Text.of(evidence.heading)
    around = asked.share(passage) * _NEARBY + closeness * _CLOSENESS
    if words.language_of(evidence.text) != asked.language:
        around -= _OTHER_LANGUAGE
    found = []
    for start, end in sentences(evidence.text):
        text = evidence.text[start:end]
        if end - start > _LONGEST or _is_heading(start, end, evidence):
            continue
        sentence = _Text.of(text)
        covered = asked.covered(sentence.joined(heading))
        own = asked.share(asked.covered(sentence))
        shown = asked.kind is None or question.shows(asked.kind, text)
        score = own * _IN_SENTENCE + around
        found.append(_Candidate(evidence, start, end, score, covered, shown))
    return found


def _answers(best: _Candidate, asked: _Asked, found: Found) -> bool:
    """Whether enough of what was asked stands in and around the best sentence."""
    evidence = best.evidence
    passage = asked.covered(_Text.of(evidence.title, evidence.heading, evidence.text))
    own = words.content_words(found.part.query)
    grams = len(frozenset().union(*map(words.grams, own)))
    # A score grows with the logarithm of how much there is to tell apart, and among a few
    # passages says nothing: then what the passage covers stands for it.
    found_density = max(found.scores) / 1000 / grams / math.log(found.passages + math.e)
    trust = found.passages / (found.passages + _FEW)
    density = trust * found_density + (1 - trust) * _TYPICAL * asked.share(passage)
    for_it = (
        _DENSITY * density
        + _SUBJECTS * asked.share_of_subjects(passage)
        + _AMOUNT * asked.amount(best.covered)
        + _SAME_LANGUAGE * (words.language_of(evidence.text) == asked.language)
    )
    return for_it >= _ENOUGH


def _is_heading(start: int, end: int, evidence: Evidence) -> bool:
    """A title, a heading, or the first row of a table, which only names its columns."""
    plain = evidence.text[start:end].strip("# ")
    if plain == evidence.title or plain in evidence.heading.split(" › "):
        return True
    # A passage may begin in the middle of a table: its first line is not taken for the first row.
    above = evidence.text[:start].split("\n")[-2:-1]
    below = evidence.text[end:].split("\n")[1:2]
    if not above or not below:
        return False
    return _CELLS in plain and _CELLS in below[0] and _CELLS not in above[0]
