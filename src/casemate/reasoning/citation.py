"""Citations: binding text to the exact words it rests on, verified before anything is shown.

A quotation counts only where its words stand verbatim in the passage; runs of white space count
as equal, because a line break in a PDF is not a difference of words. A sentence that a model wrote
in its own words and marked with a number keeps that number only if the passage carries it
(``support``). Whatever else a model claims is shown as its own words, without a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from casemate.engines.engine import Token
from casemate.language.sentence import sentences
from casemate.reasoning.event import Source
from casemate.reasoning.support import supporting

# Bounded, so that no text a model writes makes these slow.
_MARKER = re.compile(r"\s{0,4}\[(\d{1,3})\]")
_QUOTED = re.compile(r"[“„\"«]([^“”„\"«»]{3,})[”“\"»]")
_SHORTEST = 8  # characters of a quotation that says something
_SHORTEST_UNMARKED = 12  # and of one that binds where no marker points
_LONGEST_WAIT = 8_000  # characters without a sentence's end, after which what is there is bound


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
    support: str  # verbatim | words | none


class Whole:
    """Takes tokens as ``Binder`` does, and binds nothing: the text is one, as it was written."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, token: Token) -> list[Bound]:
        """Nothing yet."""
        self._text += token.text
        return []

    def finish(self) -> list[Bound]:
        """All of it."""
        return [Bound("", self._text, (), "none")] if self._text else []


class Binder:
    """Takes tokens, gives whole sentences with verified citations as soon as they are complete."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._waiting = ""
        self._look_at = 0  # length of what waits from which it is worth looking again

    def feed(self, token: Token) -> list[Bound]:
        """The sentences that ``token`` completes."""
        if token.evidence is None:
            self._waiting += token.text
            return self._complete()
        done = self._rest()
        before, self._waiting = self._waiting, ""
        cites = self._copied(token)
        return [*done, Bound(before, token.text, cites, "verbatim" if cites else "none")]

    def finish(self) -> list[Bound]:
        """What is left when the stream ends."""
        done = self._rest()
        self._waiting = ""
        return done

    def _complete(self) -> list[Bound]:
        # The last sentence may still grow, and a marker may still follow the one before it.
        if len(self._waiting) > _LONGEST_WAIT:
            return self._rest()
        if len(self._waiting) < self._look_at:
            return []
        spans = _with_markers(self._waiting)
        if len(spans) < 3:
            self._look_at = len(self._waiting) + len(self._waiting) // 4
            return []
        self._look_at = 0
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
                found.append(Bound(text[done:start], plain, *self._cites(plain, numbers)))
            done = end
        return found, text[done:]

    def _copied(self, token: Token) -> tuple[Span, ...]:
        source = self._sources[(token.evidence or 0) - 1]
        end = token.start + len(token.text)
        if source.text[token.start : end] != token.text:
            return ()
        index = (token.evidence or 0) - 1
        return (Span(index, source.start + token.start, source.start + end),)

    def _cites(self, plain: str, numbers: Sequence[int]) -> tuple[tuple[Span, ...], str]:
        """What a sentence cites, and how that supports it.

        All of its quotations are verbatim, or it cites nothing.
        """
        quotes = [quote.strip() for quote in _QUOTED.findall(plain)]
        marked = list(dict.fromkeys(n - 1 for n in numbers if 0 < n <= len(self._sources)))
        if not quotes:
            whole = self._found(plain, marked)[:1]
            if whole:
                return whole, "verbatim"
            carried = tuple(filter(None, (self._carried(plain, index) for index in marked)))
            return carried, "words" if carried else "none"
        found: dict[Span, None] = {}
        for quote in quotes:
            spans = self._found(quote, marked)
            if not spans and len(quote) >= _SHORTEST_UNMARKED:
                spans = self._found(quote, range(len(self._sources)))[:1]
            if not spans:
                return (), "none"
            found.update(dict.fromkeys(spans))
        return tuple(found), "verbatim"

    def _carried(self, plain: str, index: int) -> Span | None:
        source = self._sources[index]
        found = supporting(plain, source.text)
        if found is None:
            return None
        return Span(index, source.start + found[0], source.start + found[1])

    def _found(self, quote: str, indices: Iterable[int]) -> tuple[Span, ...]:
        if len(quote) < _SHORTEST:
            return ()
        places = (self._locate(quote, index) for index in indices)
        return tuple(place for place in places if place is not None)

    def _locate(self, quote: str, index: int) -> Span | None:
        source = self._sources[index]
        words = r"\s+".join(re.escape(word) for word in quote.split())
        # Whole words: "tax" does not stand in "taxes".
        match = re.search(rf"(?<!\w){words}(?!\w)", source.text) if words else None
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
