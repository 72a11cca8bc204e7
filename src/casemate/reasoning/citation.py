"""Citations: binding text to the exact words it rests on, verified before anything is shown.

A citation exists only where the quoted words stand verbatim in the passage; runs of white space
count as equal, because a line break in a PDF is not a difference of words. Whatever else a model
claims to have read is shown as its own words, without a number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from casemate.engines.engine import Token
from casemate.language.sentence import sentences
from casemate.reasoning.event import Source

_MARKER = re.compile(r"\s*\[(\d{1,3})\]")
_QUOTED = re.compile(r"[“„\"«]\s*([^“”„\"«»]{3,}?)\s*[”“\"»]")
_SHORTEST = 12  # characters of a quotation that binds without a marker


@dataclass(frozen=True)
class Span:
    """Where quoted words stand: index of the source, characters into the document's text."""

    source: int
    start: int
    end: int


@dataclass(frozen=True)
class Bound:
    """A piece of the answer: white space before it, its text without markers, what it cites."""

    before: str
    text: str
    cites: tuple[Span, ...]


class Binder:
    """Takes tokens, gives whole sentences with verified citations as soon as they are complete."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._waiting = ""

    def feed(self, token: Token) -> list[Bound]:
        """The sentences that ``token`` completes."""
        if token.evidence is None:
            self._waiting += token.text
            return self._complete()
        done = self._rest()
        before, self._waiting = self._waiting, ""
        return [*done, Bound(before, token.text, self._copied(token))]

    def finish(self) -> list[Bound]:
        """What is left when the stream ends."""
        done = self._rest()
        self._waiting = ""
        return done

    def _complete(self) -> list[Bound]:
        # The last sentence may still grow, and a marker may still follow the one before it.
        spans = _with_markers(self._waiting)
        if len(spans) < 3:
            return []
        keep = spans[-2][0]
        ready, self._waiting = self._waiting[:keep], self._waiting[keep:]
        bound, white = self._bind(ready)
        self._waiting = white + self._waiting
        return bound

    def _rest(self) -> list[Bound]:
        bound, self._waiting = self._bind(self._waiting)
        return bound

    def _bind(self, text: str) -> tuple[list[Bound], str]:
        """Sentences of ``text``, and the white space that is left at its end."""
        found: list[Bound] = []
        done = 0
        for start, end in _with_markers(text):
            raw = text[start:end]
            numbers = [int(number) for number in _MARKER.findall(raw)]
            plain = _MARKER.sub("", raw).strip()
            if plain:
                found.append(Bound(text[done:start], plain, self._cites(plain, numbers)))
            done = end
        return found, text[done:]

    def _copied(self, token: Token) -> tuple[Span, ...]:
        source = self._sources[(token.evidence or 0) - 1]
        end = token.start + len(token.text)
        if source.text[token.start : end] != token.text:
            return ()
        index = (token.evidence or 0) - 1
        return (Span(index, source.start + token.start, source.start + end),)

    def _cites(self, plain: str, numbers: Sequence[int]) -> tuple[Span, ...]:
        quotes = _QUOTED.findall(plain)
        marked = [number - 1 for number in numbers if 0 < number <= len(self._sources)]
        found: dict[Span, None] = {}
        for index in dict.fromkeys(marked):
            for quote in [*quotes, plain]:
                span = self._locate(quote, index)
                if span is not None:
                    found[span] = None
        for quote in quotes:
            if len(quote) >= _SHORTEST and not found:
                places = (self._locate(quote, index) for index in range(len(self._sources)))
                span = next((place for place in places if place is not None), None)
                if span is not None:
                    found[span] = None
        return tuple(found)

    def _locate(self, quote: str, index: int) -> Span | None:
        source = self._sources[index]
        pattern = r"\s+".join(re.escape(word) for word in quote.split())
        match = re.search(pattern, source.text) if pattern else None
        if match is None:
            return None
        return Span(index, source.start + match.start(), source.start + match.end())


def _with_markers(text: str) -> list[tuple[int, int]]:
    """Sentence spans, with a marker that follows a full stop counted to the sentence before."""
    spans: list[tuple[int, int]] = []
    for start, end in sentences(text):
        begin = start
        while spans and (match := _MARKER.match(text, begin)) and match.end() <= end:
            spans[-1] = (spans[-1][0], match.end())
            begin = match.end()
        if text[begin:end].strip():
            while text[begin].isspace():
                begin += 1
            spans.append((begin, end))
    return spans
