"""DOCX: paragraphs, headings, lists and tables in the order of the document.

Format: ECMA-376 (Office Open XML), part 1, WordprocessingML. Deleted text and comments are left
out; inserted text, hyperlinks, content controls and text boxes are read.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import docx
from docx.oxml.ns import qn

from casemate.library.parse import archive
from casemate.library.parse.draft import Draft
from casemate.library.parse.extracted import Limits

_HEADING = re.compile(r"heading (\d)\Z", re.IGNORECASE)
_TEXT, _DELETED = qn("w:t"), qn("w:del")
_BREAKS = {
    qn("w:tab"): "\t",
    qn("w:br"): "\n",
    qn("w:cr"): "\n",
    qn("w:noBreakHyphen"): "\u2011",
    qn("w:ptab"): "\t",
}
_PARAGRAPH, _TABLE = qn("w:p"), qn("w:tbl")
_ROW, _CELL = qn("w:tr"), qn("w:tc")
_WRAPPERS = frozenset(
    map(qn, ("w:sdt", "w:sdtContent", "w:ins", "w:moveTo", "w:customXml", "w:smartTag"))
)
_TEXT_BOX = qn("w:txbxContent")
# Properties hold tab stops that are no tabs; a fallback repeats the box before it.
_NOT_TEXT = frozenset(
    (
        qn("w:pPr"),
        qn("w:rPr"),
        qn("w:moveFrom"),
        "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",
    )
)


def parse(content: bytes, draft: Draft, limits: Limits) -> None:
    """Add the blocks of the body; set the title. Raises Unreadable."""
    archive.weigh(content, limits, holding="word/document.xml", listing="[Content_Types].xml")
    document = docx.Document(io.BytesIO(content))
    draft.title = document.core_properties.title
    _Body(draft, _levels(document)).add(document.element.body)


def _levels(document: Any) -> dict[str, int]:
    """Heading level of each paragraph style that is one, also by inheritance.

    Built-in styles bear English names in files of every language.
    """
    levels: dict[str, int] = {}
    for style in document.styles:
        ancestor, hops = style, 0
        while ancestor is not None and hops < 10:
            found = _HEADING.match(ancestor.name or "")
            if found or (ancestor.name or "").lower() == "title":
                levels[style.style_id] = int(found[1]) if found else 1
                break
            ancestor, hops = getattr(ancestor, "base_style", None), hops + 1
    return levels


class _Body:
    """Walks block content and adds it to a draft."""

    def __init__(self, draft: Draft, levels: dict[str, int]) -> None:
        self._draft = draft
        self._levels = levels

    def add(self, container: Any) -> None:
        for element in container:
            if element.tag == _PARAGRAPH:
                self._add_paragraph(element)
            elif element.tag == _TABLE:
                self._draft.end_rows()
                self._add_table(element)
                self._draft.end_rows()
            elif element.tag in _WRAPPERS:
                self.add(element)

    def _add_paragraph(self, paragraph: Any) -> None:
        text = "".join(_runs(paragraph))
        level = self._levels.get(paragraph.style or "")
        if level is not None:
            self._draft.heading(text, level)
        elif text.strip() and _is_item(paragraph):
            self._draft.row(f"- {text.lstrip()}")
        else:
            self._draft.paragraph(text)
        for box in _boxes(paragraph):
            self.add(box)

    def _add_table(self, table: Any) -> None:
        for row in _inside(table, _ROW):
            cells = (self._cell(cell) for cell in _inside(row, _CELL))
            self._draft.row(" | ".join(cell for cell in cells if cell))

    def _cell(self, cell: Any) -> str:
        inner = Draft(Limits())
        _Body(inner, self._levels).add(cell)
        return inner.line()


def _is_item(paragraph: Any) -> bool:
    """Whether a paragraph bears a bullet or number; number 0 switches them off."""
    if (paragraph.style or "").startswith("List"):
        return True
    numbering = paragraph.pPr.numPr if paragraph.pPr is not None else None
    identifier = numbering.numId if numbering is not None else None
    return identifier is not None and identifier.val != 0


def _inside(container: Any, tag: str) -> Iterator[Any]:
    """Children with ``tag``, also those that a content control or a revision wraps."""
    for element in container:
        if element.tag == tag:
            yield element
        elif element.tag in _WRAPPERS:
            yield from _inside(element, tag)


def _runs(element: Any) -> Iterator[str]:
    """The pieces of text below ``element``, without text boxes and deletions."""
    for child in element:
        tag = child.tag
        if tag == _TEXT:
            yield child.text or ""
        elif tag in _BREAKS:
            yield _BREAKS[tag]
        elif tag not in _NOT_TEXT and tag not in (_TEXT_BOX, _DELETED):
            yield from _runs(child)


def _boxes(element: Any) -> Iterator[Any]:
    for child in element:
        if child.tag == _TEXT_BOX:
            yield child
        elif child.tag not in _NOT_TEXT:
            yield from _boxes(child)
