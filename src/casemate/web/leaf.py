"""A document's text cut into leaves: its pages, or stretches of like length where it has none.

A long document is shown some leaves at a time, those around the passage one came for.
Offsets are code points of the document's text, half open.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from casemate.library.document import Document
from casemate.web.passage import Run, Span, runs

LEAVES = 12  # shown at a time
STRETCH = 6_000  # characters of a leaf where a document has no pages
_BREAK = re.compile(r"\n[ \t]*\n\s*")


@dataclass(frozen=True)
class Block:
    """A paragraph, or a heading of ``level`` 1 to 6 (0: a paragraph)."""

    level: int
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Leaf:
    """One leaf. ``number`` counts from 1."""

    number: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Opened:
    """The leaves that are shown, and where the others are."""

    leaves: tuple[Leaf, ...]
    total: int
    paged: bool  # whether leaves are the document's own pages
    earlier: int | None  # a leaf to go to
    later: int | None


def open_at(document: Document, text: str, mark: Span | None, wanted: int | None) -> Opened:
    """The leaves around ``wanted`` (from 1), else around ``mark``, else the first ones."""
    spans = list(document.pages) or _stretches(text)
    at = 0
    if wanted is not None:
        at = min(max(wanted - 1, 0), len(spans) - 1)
    elif mark is not None:
        at = next((n for n, (_, end) in enumerate(spans) if mark.start < end), len(spans) - 1)
        at = max(at - LEAVES // 3, 0)
    # whole leaves to the end rather than a window with a gap behind it
    first = max(min(at, len(spans) - LEAVES), 0)
    shown = spans[first : first + LEAVES]
    marks = [mark] if mark else []
    return Opened(
        tuple(
            Leaf(first + n + 1, tuple(_blocks(text, start, end, document.headings, marks)))
            for n, (start, end) in enumerate(shown)
        ),
        len(spans),
        bool(document.pages),
        max(first - LEAVES, 0) + 1 if first > 0 else None,
        first + LEAVES + 1 if first + LEAVES < len(spans) else None,
    )


def _stretches(text: str) -> list[tuple[int, int]]:
    found = []
    start = 0
    while len(text) - start > STRETCH * 3 // 2:
        end = text.find("\n", start + STRETCH)
        if end < 0 or end > start + 2 * STRETCH:
            end = start + STRETCH
        found.append((start, end))
        start = end
    found.append((start, len(text)))
    return found


def _blocks(
    text: str,
    start: int,
    end: int,
    headings: Sequence[tuple[int, int, int]],
    marks: Sequence[Span],
) -> list[Block]:
    made: list[Block] = []
    at = start
    for head, tail, level in headings:
        if head >= end or tail <= at:
            continue
        made += _paragraphs(text, at, max(head, at), marks)
        made += _block(text, max(head, at), min(tail, end), marks, min(max(level, 1), 6))
        at = min(tail, end)
    return made + _paragraphs(text, at, end, marks)


def _paragraphs(text: str, start: int, end: int, marks: Sequence[Span]) -> list[Block]:
    made: list[Block] = []
    at = start
    for gap in _BREAK.finditer(text, start, end):
        made += _block(text, at, gap.start(), marks)
        at = gap.end()
    return made + _block(text, at, end, marks)


def _block(text: str, start: int, end: int, marks: Sequence[Span], level: int = 0) -> list[Block]:
    piece = text[start:end]
    inner = piece.strip()
    if not inner:
        return []
    start += len(piece) - len(piece.lstrip())
    return [Block(level, runs(inner, start, marks))]
