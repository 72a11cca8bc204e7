"""Text with marked words: how an excerpt or a document shows what a citation rests on.

Offsets are code points of the document's text, half open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

CONTEXT = 260  # characters kept on each side of what an excerpt is about


@dataclass(frozen=True)
class Span:
    """Words to mark: ``name`` is the id that links lead to."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Run:
    """A stretch of text under the same marks. ``anchors`` are the marks that begin with it."""

    text: str
    marks: tuple[str, ...] = ()
    anchors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Excerpt:
    """Runs of text, and whether text was left out before and after."""

    runs: tuple[Run, ...]
    cut_before: bool
    cut_after: bool


def runs(text: str, offset: int, spans: Iterable[Span]) -> tuple[Run, ...]:
    """``text``, which begins at ``offset`` of its document, cut wherever a mark begins or ends.

    Marks may overlap, and may reach beyond the text.
    """
    end = offset + len(text)
    inside = [span for span in spans if span.start < end and span.end > offset]
    cuts = {offset, end}
    for span in inside:
        cuts |= {max(span.start, offset), min(span.end, end)}
    ordered = sorted(cuts)
    made = []
    for start, stop in pairwise(ordered):
        over = [span for span in inside if span.start < stop and span.end > start]
        made.append(
            Run(
                text[start - offset : stop - offset],
                tuple(span.name for span in over),
                tuple(span.name for span in over if span.start == start),
            )
        )
    return tuple(made)


def excerpt(text: str, offset: int, spans: Sequence[Span]) -> Excerpt:
    """The marked words of ``text`` with their surroundings, cut between words.

    Without a mark it is the beginning of the text.
    """
    first = min((span.start for span in spans), default=offset) - offset
    last = max((span.end for span in spans), default=offset) - offset
    start = _word_start(text, max(first - CONTEXT, 0))
    stop = _word_end(text, min(last + CONTEXT, len(text)))
    lead = text[start:stop]
    start += len(lead) - len(lead.lstrip())
    stop -= len(lead) - len(lead.rstrip())
    return Excerpt(
        tuple(
            replace(run, text=_BLANK_LINES.sub("\n", run.text))
            for run in runs(text[start:stop], offset + start, spans)
        ),
        bool(text[:start].strip()),
        bool(text[stop:].strip()),
    )


# An excerpt is narrow: its paragraphs follow each other without empty lines.
_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")


def _word_start(text: str, position: int) -> int:
    if position == 0:
        return 0
    space = text.find(" ", position - 1, position + 40)
    return position if space < 0 else space + 1


def _word_end(text: str, position: int) -> int:
    if position >= len(text):
        return len(text)
    space = text.rfind(" ", position - 40, position + 1)
    return position if space < 0 else space
