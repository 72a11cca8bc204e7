"""PDF: the text of each page as running paragraphs.

Format: ISO 32000, read by PDFium. A PDF knows glyphs and places, no paragraphs: lines are put
together again by ``layout`` from where they lie and how large they are.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator

import pypdfium2
import pypdfium2.raw as pdfium

from casemate.library.parse import archive, layout
from casemate.library.parse.draft import Draft
from casemate.library.parse.extracted import Limits, Unreadable
from casemate.library.parse.layout import Line

_TRAILER = b"%%EOF"
# Readers look for the trailer in the last kilobyte (ISO 32000-1, annex H.3, note 18).
_TRAILER_WITHIN = 1024
_CELL_GAP = 0.9  # in sizes: wider than any space between words that is not stretched
_EVEN = 1.5
_FONT_NAME_BYTES = 128
_BOLD = re.compile(rb"bold|black|heavy", re.IGNORECASE)
_SPACE = re.compile(r"(?<=\S) (?=\S)")
_MARKER = re.compile(r"(?:[^\w\s]|\(?\w{1,3}[.)]|\d+(?:\.\d+)+\.?|§ ?\d+)\Z")


def parse(content: bytes, draft: Draft, limits: Limits) -> None:
    """Add every page with its paragraphs and headings; set the title. Raises Unreadable."""
    if _TRAILER not in content.rstrip(b"\x00\r\n\t ")[-_TRAILER_WITHIN:]:
        # PDFium would show the pages it still finds: half a document without a word about it.
        raise Unreadable("is damaged or cut off", "its end is missing")
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pdfium.FPDF_ERR_PASSWORD:
            raise archive.encrypted() from error
        raise Unreadable("is damaged") from error
    try:
        if len(document) > limits.pages:
            raise Unreadable(f"has more than {limits.pages:,} pages", "split it and add the parts")
        pages = [list(_lines(document, number)) for number in range(len(document))]
        title = document.get_metadata_value("Title")
    except pypdfium2.PdfiumError as error:
        raise Unreadable("is damaged") from error
    finally:
        document.close()
    if not any(pages):
        raise Unreadable("has no text layer (a scan?)", "OCR it first")
    draft.title = title or None
    pages = layout.without_running_lines(pages)
    typography = layout.measure(pages)
    for lines in pages:
        draft.page()
        layout.add(lines, typography, draft)


def _lines(document: pypdfium2.PdfDocument, number: int) -> Iterator[Line]:
    """The lines of one page in the order of its content."""
    page = document[number]
    glyphs = page.get_textpage()
    try:
        text = glyphs.get_text_range()
        offset = 0
        for part in text.split("\n"):
            line = part.strip()
            if line:
                first = offset + part.index(line[0])
                yield _line(glyphs, line, first, first + _units(line) - 1)
            offset += _units(part) + 1
    finally:
        glyphs.close()
        page.close()


def _units(text: str) -> int:
    """UTF-16 code units: what PDFium counts in."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _line(glyphs: pypdfium2.PdfTextPage, text: str, first: int, last: int) -> Line:
    left, _, _, bottom = _box(glyphs, first)
    _, _, right, end_bottom = _box(glyphs, last)
    # Bullets come from other fonts: a letter tells the size.
    letter = next((place for place, sign in enumerate(text) if sign.isalnum()), 0)
    _, letter_top, _, letter_bottom = _box(glyphs, first + _units(text[:letter]))
    size = letter_top - letter_bottom
    cells = _cells(glyphs, text, first, size)
    return Line(
        text=" | ".join(cells),
        left=left,
        right=right,
        base=bottom,
        end_base=end_bottom,
        size=size,
        cells=len(cells) > 1,
        bold=_is_bold(glyphs, first + _units(text[:letter])) and _is_bold(glyphs, last),
    )


def _is_bold(glyphs: pypdfium2.PdfTextPage, unit: int) -> bool:
    """Whether the font of a glyph is called bold; its weight is rarely recorded."""
    name = ctypes.create_string_buffer(_FONT_NAME_BYTES)
    place = pdfium.FPDFText_GetCharIndexFromTextIndex(glyphs, unit)
    pdfium.FPDFText_GetFontInfo(glyphs, place, name, len(name), None)
    return _BOLD.search(name.value) is not None


def _cells(glyphs: pypdfium2.PdfTextPage, text: str, first: int, size: float) -> list[str]:
    """The line in the parts that wide gaps make of it; a list marker is no part of its own.

    PDFium reports a gap as a space that is not in the file.
    """
    gaps: dict[tuple[int, int], float] = {}
    for space in _SPACE.finditer(text):
        place = first + (space.start() if text.isascii() else _units(text[: space.start()]))
        index = pdfium.FPDFText_GetCharIndexFromTextIndex(glyphs, place)
        if pdfium.FPDFText_IsGenerated(glyphs, index) == 1:
            gaps[space.span()] = _box(glyphs, place + 1)[0] - _box(glyphs, place - 1)[2]
    if len(gaps) > 2 and max(gaps.values()) < _EVEN * min(gaps.values()):
        return [text]  # a justified line, however far it is stretched
    cells: list[str] = []
    reached = 0
    for (start, end), gap in gaps.items():
        if gap > _CELL_GAP * size and not _MARKER.match(text[reached:start]):
            cells.append(text[reached:start])
            reached = end
    return [*cells, text[reached:]]


def _box(glyphs: pypdfium2.PdfTextPage, unit: int) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a glyph in points; its height follows the font size."""
    box = pdfium.FS_RECTF()
    place = pdfium.FPDFText_GetCharIndexFromTextIndex(glyphs, unit)
    pdfium.FPDFText_GetLooseCharBox(glyphs, place, ctypes.byref(box))
    return box.left, box.top, box.right, box.bottom
