"""From lines on a page to paragraphs: which line continues the one above it.

Lengths are points (1/72 inch), heights grow upwards, as in PDF.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from casemate.language.sentence import begins_item
from casemate.library.parse.draft import Draft

_HEADING_RATIO = 1.15
_HEADING_CHARACTERS = 200
_MOST_LEVELS = 6
_USUAL_STEP = 1.2  # line distance in font sizes when a document is too short to tell
_COLUMN = 36.0
_BULLET = re.compile(r"[^\w\s\"'„“”«»‚‘(\[]\s")
_ENDED = re.compile(r"[.!?:;…][\"'”“’»)\]]*\Z")
# U+FFFE is where PDFium has seen a hyphen at the end of a line.
_HYPHEN = re.compile(r"(?<=\w)(?:\ufffe|[-\u2010\u00ad]\n)\s*(?=\w)")
_HYPHEN_STAYS = re.compile(r"(?:und|oder|bzw|sowie|and|or|et|ou|resp)\b")
_HYPHEN_BELONGS = re.compile(r"(?:vous|nous|ils|elles|mêmes?)\b")


@dataclass(frozen=True)
class Line:
    """A line of text and where it lies.

    base and end_base: bottom of its first and last glyph. cells: it is a table row, its cells
    separated by " | ". bold: it begins and ends in bold print.
    """

    text: str
    left: float
    right: float
    base: float
    end_base: float
    size: float
    cells: bool = False
    bold: bool = False


@dataclass(frozen=True)
class Typography:
    """What is usual in a document.

    step: distance of lines, in sizes. levels: size of headings to their level. edges: right edge
    of the text by where, in columns, lines begin. bold_level: level of a heading that is only
    bold, None where bold print is nothing special.
    """

    step: float
    levels: dict[float, int]
    edges: dict[int, float]
    bold_level: int | None


def measure(pages: list[list[Line]]) -> Typography:
    """The habits of a document: line distance, right edges, and sizes above the usual one."""
    sizes: Counter[float] = Counter()
    steps: Counter[float] = Counter()
    edges: dict[int, float] = {}
    bold = 0
    for lines in pages:
        for line in lines:
            sizes[_rounded(line.size)] += len(line.text)
            bold += len(line.text) * line.bold
            column = int(line.left // _COLUMN)
            edges[column] = max(edges.get(column, 0.0), line.right)
        for above, line in pairwise(lines):
            step = above.end_base - line.base
            if line.size and _alike(above, line) and 0.8 * line.size < step < 2 * line.size:
                steps[round(step / line.size, 1)] += 1
    body = sizes.most_common(1)[0][0] if sizes else 0.0
    larger = sorted((size for size in sizes if size >= body * _HEADING_RATIO), reverse=True)
    levels = {size: min(place, _MOST_LEVELS) for place, size in enumerate(larger, 1)}
    # The smallest of the frequent distances: in short documents paragraphs outnumber lines.
    frequent = [step for step, count in steps.items() if count * 6 >= steps.total()]
    bold_level = min(len(levels) + 1, _MOST_LEVELS) if bold * 4 < sizes.total() else None
    return Typography(min(frequent, default=_USUAL_STEP), levels, edges, bold_level)


def without_running_lines(pages: list[list[Line]]) -> list[list[Line]]:
    """The pages without the header and footer that most of them share.

    Shared means: the same words, but for the number of the page and of all pages, at the same
    height, on top or at the bottom of the page.
    """
    total = len(pages)
    shared = Counter(
        key
        for number, lines in enumerate(pages, 1)
        for key in {_running(line, number, total) for line in _outermost(lines)}
    )
    least = max(2, total * 3 // 5)
    return [
        [
            line
            for line in lines
            if line not in _outermost(lines) or shared[_running(line, number, total)] < least
        ]
        for number, lines in enumerate(pages, 1)
    ]


def _outermost(lines: list[Line]) -> list[Line]:
    """The highest and the lowest line, of a page that has others besides."""
    if len(lines) < 3:
        return []
    return [max(lines, key=lambda line: line.base), min(lines, key=lambda line: line.base)]


def _running(line: Line, number: int, total: int) -> tuple[str, int]:
    return re.sub(rf"\b(?:{number}|{total})\b", "#", line.text), round(line.base)


def add(lines: list[Line], typography: Typography, draft: Draft) -> None:
    """Add the lines of one page to ``draft`` as headings, paragraphs, list items and rows."""
    in_table = False
    for block, listed in _blocks(lines, typography):
        if block[0].cells != in_table:
            draft.end_rows()
            in_table = block[0].cells
        _add_block(block, listed, typography, draft)


def _blocks(lines: list[Line], typography: Typography) -> Iterator[tuple[list[Line], bool]]:
    """Lines that belong together, and whether they are a list item."""
    block: list[Line] = []
    listed = False
    for line in lines:
        above = block[-1] if block else None
        item = begins_item(line.text, above.text if above else None, in_list=listed)
        if above and (item or not _continues(above, line, typography)):
            yield block, listed
            block, listed = [], False
        listed = listed or item
        block.append(line)
    if block:
        yield block, listed


def _add_block(block: list[Line], listed: bool, typography: Typography, draft: Draft) -> None:
    text = unwrapped([line.text for line in block])
    level = typography.levels.get(_rounded(block[0].size))
    if level is None and len(block) <= 2 and all(line.bold for line in block):
        level = None if text.endswith((".", ":", ";", ",")) else typography.bold_level
    if block[0].cells:
        draft.row(text)
    elif level is not None and len(text) <= _HEADING_CHARACTERS and _may_be_heading(text):
        draft.heading(text, level)
    elif listed:
        draft.row(text)
    else:
        draft.paragraph(text)


def _may_be_heading(text: str) -> bool:
    """Large print that is words, and no item of a list."""
    return any(map(str.isalpha, text)) and not _BULLET.match(text)


def unwrapped(lines: list[str]) -> str:
    """Lines of one paragraph as one line; a word is put together if it goes on in lower case."""
    return re.sub(r"\s*\n\s*", " ", _HYPHEN.sub(_without_hyphen, "\n".join(lines)))


def _without_hyphen(match: re.Match[str]) -> str:
    rest = match.string[match.end() : match.end() + 8]
    if _HYPHEN_STAYS.match(rest):
        return "- "
    return "" if rest[0].islower() and not _HYPHEN_BELONGS.match(rest) else "-"


def _continues(above: Line, line: Line, typography: Typography) -> bool:
    """Whether ``line`` goes on with the paragraph of ``above``."""
    if above.cells or line.cells or not _alike(above, line):
        return False
    if above.bold != line.bold and not line.text[0].islower():
        return False
    step = above.end_base - line.base
    if abs(step) < 0.3 * line.size:
        return True  # one line that the PDF holds in pieces
    if step < 0:
        # The next column, or a box: the sentence says whether it goes on.
        return not _ENDED.search(above.text) and line.text[0].islower()
    if step > 1.25 * typography.step * line.size:
        return False
    if line.text[0].islower() or above.text.endswith(("-", ",", "\ufffe")):
        return True
    return not _had_room(above, line, typography.edges)


def _had_room(above: Line, line: Line, edges: dict[int, float]) -> bool:
    """Whether the first word of ``line`` would have fitted above: then the break is meant."""
    column = int(above.left // _COLUMN)
    edge = max(edges.get(near, 0.0) for near in (column - 1, column, column + 1))
    word = line.text.split(None, 1)[0]
    width = (line.right - line.left) / len(line.text) if line.right > line.left else 0.0
    return above.right + width * (len(word) + 2) < edge - line.size


def _alike(above: Line, line: Line) -> bool:
    return abs(above.size - line.size) <= 0.1 * max(above.size, line.size)


def _rounded(size: float) -> float:
    return round(size, 1)
