"""An answer laid out for reading: paragraphs, numbers, and the sources beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from casemate.language.words import language_of
from casemate.reasoning.event import Answer, Citation, Source, Step
from casemate.web.passage import Excerpt, Span, excerpt
from casemate.web.words import Words

_MARKERS = re.compile(r"(?: \[\d{1,4}\])+")
_NUMBER = re.compile(r"\[(\d{1,4})\]")
# Places as runs record them. No document's name ends so: it ends with what tells its format.
_RECORDED = re.compile(r"(?P<document>.+), page (?P<page>\d+)", re.DOTALL)


@dataclass(frozen=True)
class Mark:
    """A superior number. ``cited``: ids of the marked words it stands for, once known."""

    number: int
    cited: tuple[str, ...]
    name: str  # for people who hear it: "Source 1: fees.pdf, page 2"


@dataclass(frozen=True)
class Piece:
    """Words of the answer and the numbers behind them."""

    text: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Shown:
    """One source beside the answer."""

    number: int
    place: str  # "fees.pdf, page 2"
    source: Source
    language: str
    marking: str
    excerpt: Excerpt
    address: str  # of the passage in its document


def place(source: Source, words: Words) -> str:
    """Where a passage stands, for people: the document, and the page if it has pages."""
    if source.page is None:
        return source.document
    return words("source.page", document=source.document, page=str(source.page))


def places(recorded: Sequence[str], words: Words) -> list[str]:
    """Places as a run records them ("fees.pdf, page 2"), in the reader's words."""
    found = [(one, _RECORDED.fullmatch(one)) for one in recorded]
    return [words("source.page", **parts.groupdict()) if parts else one for one, parts in found]


def cited_name(index: int) -> str:
    """The id of the words that citation ``index`` marks."""
    return f"cited-{index + 1}"


def show(
    number: int,
    source: Source,
    citations: Sequence[tuple[int, Citation]],
    marking: str,
    words: Words,
) -> Shown:
    """One source with the words that its ``citations`` (index, citation) rest on."""
    spans = [Span(cited_name(index), one.start, one.end) for index, one in citations]
    first = min(spans, key=lambda span: span.start)
    return Shown(
        number,
        place(source, words),
        source,
        language_of(source.text),
        marking,
        excerpt(source.text, source.start, spans),
        f"/documents/{source.document_id}?start={first.start}&end={first.end}#passage",
    )


def pieces(text: str, known: dict[int, str], words: Words) -> list[Piece]:
    """Text that is still arriving: numbers get their names where ``known`` has them."""
    return [
        Piece(
            body,
            tuple(
                Mark(number, (), _mark_name(number, known.get(number, ""), words))
                for number in numbers
            ),
        )
        for body, numbers, _ in _split(text)
    ]


def paragraphs(answer: Answer, words: Words) -> list[list[Piece]]:
    """The answer's text in paragraphs, every number tied to the exact words it stands for."""
    places = {one.number: place(answer.sources[one.source], words) for one in answer.citations}
    made = []
    for start, text in _blocks(answer.text):
        made.append(
            [
                Piece(
                    body,
                    tuple(
                        Mark(
                            number,
                            _cited(answer, number, start + at),
                            _mark_name(number, places[number], words),
                        )
                        for number in numbers
                    ),
                )
                for body, numbers, at in _split(text, places)
            ]
        )
    return made


def by_number(answer: Answer) -> dict[int, list[tuple[int, Citation]]]:
    """The citations (index, citation) of each number, in the order of the numbers."""
    found: dict[int, list[tuple[int, Citation]]] = {}
    for index, one in enumerate(answer.citations):
        found.setdefault(one.number, []).append((index, one))
    return dict(sorted(found.items()))


def summary(steps: Sequence[Step], words: Words) -> str:
    """What was done, in one quiet line."""
    searches = [step for step in steps if step.kind == "search"]
    parts = []
    if searches:
        parts.append(words("steps.searches", count=len(searches)))
        parts.append(words("steps.passages", count=sum(step.count for step in searches)))
    parts.append(words("steps.steps", count=len(steps)))
    return " · ".join(parts)


class Flow:
    """Turns text that arrives in bits into parts of paragraphs."""

    def __init__(self) -> None:
        self._held = "\n"  # line ends whose meaning the next bit decides

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """(whether a paragraph begins, its text) for each part that ``text`` adds."""
        whole = self._held + text
        kept = whole.rstrip("\n")
        self._held = whole[len(kept) :]
        made = []
        for number, part in enumerate(re.split(r"\n+", kept)):
            if part:
                made.append((number > 0, part))
        return made


def _blocks(text: str) -> list[tuple[int, str]]:
    """Paragraphs, one a line, and where they begin."""
    return [(found.start(), found[0]) for found in re.finditer(r"[^\n]+", text)]


def _split(
    text: str, known: dict[int, str] | None = None
) -> list[tuple[str, tuple[int, ...], int]]:
    """(words, the numbers behind them, where the numbers stand). Unknown numbers stay words."""
    made = []
    begun = 0
    for found in _MARKERS.finditer(text):
        numbers = tuple(int(number) for number in _NUMBER.findall(found[0]))
        if known is not None and not all(number in known for number in numbers):
            continue
        made.append((text[begun : found.start()], numbers, found.start()))
        begun = found.end()
    if text[begun:].strip() or not made:
        made.append((text[begun:], (), len(text)))
    return made


def _cited(answer: Answer, number: int, at: int) -> tuple[str, ...]:
    """Ids of the words that ``number`` stands for in the sentence that reaches ``at``."""
    sentence = next(
        (one for one in reversed(answer.sentences) if one.start < at and one.citations), None
    )
    within = [] if sentence is None else sentence.citations
    exact = [index for index in within if answer.citations[index].number == number]
    if not exact:
        exact = [index for index, one in enumerate(answer.citations) if one.number == number][:1]
    return tuple(cited_name(index) for index in exact)


def _mark_name(number: int, where: str, words: Words) -> str:
    if not where:
        return words("source.number", number=number)
    return words("source.name", number=number, place=where)
