"""Passages: a document in pieces that can be found, read and quoted on their own.

A passage is a run of whole sentences under one heading and on one page. Heading lines go with
what follows them, so that no passage is a heading without its matter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from casemate.language.sentence import sentences
from casemate.library.parse.extracted import Extracted

_DIVIDING_LEVEL = 3
_PATH_SEPARATOR = " › "
_PARAGRAPH = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class Span:
    """One passage: ``text[start:end]`` in code points, trimmed.

    ordinal: from 0 in reading order. page: from 1, None when the format has no pages. heading:
    the path of headings above it, "Fees › Building permits", or "".
    """

    ordinal: int
    page: int | None
    start: int
    end: int
    heading: str


def split(document: Extracted, target: int = 700, most: int = 1200) -> tuple[Span, ...]:
    """Cut ``document`` into passages of about ``target`` and at most ``most`` code points.

    Passages hold whole sentences (one longer than ``most`` is cut between words), cross neither
    a page nor a heading of level 1 to 3, never overlap and together hold every sentence. Heading
    lines before the first sentence of a passage do not count towards ``most``.
    Raises ValueError unless 0 < target <= most.
    """
    if not 0 < target <= most:
        raise ValueError("a passage needs 0 < target <= most")
    packed: list[_Group] = []
    for group in _groups(document, most):
        if packed and _belongs(packed[-1], group, document.text, target, most):
            packed[-1] = _joined(packed[-1], group)
        else:
            packed.append(group)
    return tuple(
        Span(ordinal, group.page, group.start, group.end, group.heading)
        for ordinal, group in enumerate(packed)
    )


@dataclass(frozen=True)
class _Group:
    """A sentence with the heading lines directly above it; ``body`` is where it begins itself.

    divides: it must begin a passage. has_body: it is more than headings.
    """

    page: int | None
    start: int
    body: int
    end: int
    heading: str
    divides: bool
    has_body: bool


def _belongs(passage: _Group, group: _Group, text: str, target: int, most: int) -> bool:
    """Whether ``group`` goes into ``passage`` or begins the next one."""
    if group.divides or group.page != passage.page:
        return False
    length, joined = passage.end - passage.body, group.end - passage.body
    if joined > most or (length >= target // 2 and group.body > group.start):
        return False
    if _PARAGRAPH.search(text, passage.end, group.start) and length >= target * 3 // 5:
        return False
    return joined <= target or length < target // 2


def _joined(passage: _Group, group: _Group) -> _Group:
    return _Group(
        passage.page,
        passage.start,
        passage.body,
        group.end,
        passage.heading,
        passage.divides,
        passage.has_body or group.has_body,
    )


def _groups(document: Extracted, most: int) -> Iterator[_Group]:
    """Sentences with their headings, in order."""
    path: list[tuple[int, str]] = []
    waiting: list[_Piece] = []
    divides = True
    page: int | None = None
    for piece in _pieces(document, most):
        if piece.page != page:
            if waiting:
                yield _group(waiting, None, path, divides)
                waiting = []
            page, divides = piece.page, True
        if piece.level:
            # A run of headings longer than a passage is no heading of anything.
            if waiting and piece.end - waiting[0].start > most:
                yield _group(waiting, None, path, divides)
                waiting, divides = [], False
            path = [step for step in path if step[0] < piece.level]
            path.append((piece.level, " ".join(document.text[piece.start : piece.end].split())))
            divides = divides or piece.level <= _DIVIDING_LEVEL
            waiting.append(piece)
        else:
            yield _group(waiting, piece, path, divides)
            waiting, divides = [], False
    if waiting:
        yield _group(waiting, None, path, divides)


@dataclass(frozen=True)
class _Piece:
    """One sentence (level 0) or heading line, or a part of one too long."""

    page: int | None
    start: int
    end: int
    level: int


def _group(
    headings: list[_Piece], sentence: _Piece | None, path: list[tuple[int, str]], divides: bool
) -> _Group:
    pieces = [*headings, sentence] if sentence else headings
    first, last = pieces[0], pieces[-1]
    return _Group(
        page=first.page,
        start=first.start,
        body=last.start if sentence else first.start,
        end=last.end,
        heading=_PATH_SEPARATOR.join(title for _, title in path),
        divides=divides,
        has_body=sentence is not None,
    )


def _pieces(document: Extracted, most: int) -> Iterator[_Piece]:
    """Sentences and headings between every boundary of page and heading."""
    text = document.text
    levels = {heading.start: heading.level for heading in document.headings}
    pages = {page.start: page for page in document.pages if page.start < page.end}
    bounds = {0, len(text)}
    bounds.update(edge for span in document.pages for edge in (span.start, span.end))
    bounds.update(edge for span in document.headings for edge in (span.start, span.end))
    ordered = sorted(bounds)
    page_number: int | None = None
    page_end = heading_end = level = 0
    ends = {heading.start: heading.end for heading in document.headings}
    for start, end in pairwise(ordered):
        if start in pages:
            page_number, page_end = pages[start].number, pages[start].end
        if start >= page_end:
            page_number = None
        if start in levels and ends[start] > start:
            level, heading_end = levels[start], ends[start]
        inside = level if start < heading_end else 0
        for first, last in sentences(text, start, end):
            for cut in _cut(text, first, last, most):
                yield _Piece(page_number, *cut, inside)


def _cut(text: str, start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """The span in parts of at most ``most``, between words where there are any."""
    while end - start > most:
        cut = _last_gap(text, start, start + most + 1)
        yield start, len(text[start:cut].rstrip()) + start
        start = cut
        while text[start].isspace():
            start += 1
    yield start, end


def _last_gap(text: str, start: int, stop: int) -> int:
    """The last white space in ``text[start:stop]``, or the last place that parts no letter."""
    for position in range(stop - 1, start, -1):
        if text[position].isspace():
            return position
    position = stop - 1
    while position > start + 1 and unicodedata.combining(text[position]):
        position -= 1
    return position
