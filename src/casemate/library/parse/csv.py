"""CSV: each row becomes one line that can be quoted on its own.

Format: RFC 4180, with the delimiters that spreadsheets in Europe use.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice

from casemate.library.parse.draft import Draft
from casemate.library.parse.extracted import Limits, Unreadable
from casemate.library.parse.text import decode

_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 50
_SAMPLE_CHARACTERS = 64 * 1024


def parse(content: bytes, draft: Draft, limits: Limits) -> None:
    """Add "Header: value; Header: value" for each row, or "value; value" without headers.

    Empty cells are left out. Raises Unreadable if the file is not text.
    """
    text = decode(content)
    csv.field_size_limit(limits.text_characters)
    rows = _rows(text, delimiter_of(text[:_SAMPLE_CHARACTERS]))
    try:
        first = next(rows, None)
        if first is None:
            return
        second = next(rows, None)
        # A first row that is the only one has nothing to name.
        names: list[str] = first if second is not None and _is_header(first) else []
        leading = [row for row in (first if not names else None, second) if row is not None]
        for row in chain(leading, rows):
            # Rows stand apart like paragraphs: none is ever read as the continuation of another.
            draft.paragraph(_line(names, row))
    except csv.Error as error:
        raise Unreadable("is damaged", "a quotation mark is opened and never closed") from error


def delimiter_of(sample: str) -> str:
    """The delimiter that cuts most rows of ``sample`` into the same number of cells, above one."""
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        widths = Counter(len(row) for row in islice(_rows(sample, delimiter), _SAMPLE_ROWS))
        if not widths:
            continue
        width, rows = widths.most_common(1)[0]
        score = rows / widths.total() * (1 + min(width, 20) / 1000) if width > 1 else 0.0
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    """The rows that hold anything, each cell on one line."""
    for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
        cells = [" ".join(cell.split()) for cell in row]
        if any(cells):
            yield cells


def _is_header(row: list[str]) -> bool:
    """Whether the first row names the columns: all filled, all different, none a number."""
    return (
        all(row)
        and len(set(row)) == len(row)
        and not any(any(sign.isdigit() for sign in cell) and _is_number(cell) for cell in row)
    )


def _is_number(cell: str) -> bool:
    return not any(sign.isalpha() for sign in cell)


def _line(names: list[str], row: list[str]) -> str:
    cells = []
    for place, cell in enumerate(row):
        name = names[place].rstrip(" :") if place < len(names) else ""
        if cell:
            cells.append(f"{name}: {cell}" if name else cell)
    return "; ".join(cells)
