"""ODT: paragraphs, headings, lists and tables in the order of the document.

Format: OpenDocument 1.3 (ISO/IEC 26300), part 3. Comments, deleted text and the table of
contents are left out; notes follow the paragraph that refers to them.
"""

from __future__ import annotations

import io
from typing import Any

import odfdo

from casemate.library.parse import archive
from casemate.library.parse.draft import Draft
from casemate.library.parse.extracted import Limits, Unreadable

_LEFT_OUT = frozenset(
    (
        "office:annotation",
        "office:annotation-end",
        "office:forms",
        "text:alphabetical-index",
        "text:note-citation",
        "text:sequence-decls",
        "text:table-of-content",
        "text:tracked-changes",
        "text:user-field-decls",
        "text:variable-decls",
        "svg:title",
        "svg:desc",
    )
)
_MOST_SPACES = 100


def parse(content: bytes, draft: Draft, limits: Limits) -> None:
    """Add the blocks of the body; set the title. Raises Unreadable."""
    manifest = archive.weigh(
        content, limits, holding="content.xml", listing="META-INF/manifest.xml"
    )
    if b"encryption-data" in manifest:
        raise archive.encrypted()
    document = odfdo.Document(io.BytesIO(content))
    body = document.body
    if body is None or body.tag != "office:text":
        raise Unreadable("is not a text document")
    draft.title = document.meta.title
    _add(body, draft, None)


def _add(element: Any, draft: Draft, marker: str | None) -> None:
    """Add what ``element`` contains; ``marker`` begins its first paragraph in a list item."""
    for child in element.children:
        tag = child.tag
        if tag == "text:h":
            level = child.get_attribute("text:outline-level")
            draft.heading(_text(child), int(level) if level else 1)
            _add_asides(child, draft)
        elif tag == "text:p":
            text = _text(child)
            if marker is None:
                draft.paragraph(text)
            elif text.strip():
                draft.row(marker + text)
                marker = ""
            _add_asides(child, draft)
        elif tag == "text:list":
            _add_list(child, draft, nested=marker is not None)
        elif tag == "table:table":
            draft.end_rows()
            _add_rows(child, draft)
            draft.end_rows()
        elif tag not in _LEFT_OUT:
            _add(child, draft, marker)


def _add_list(element: Any, draft: Draft, *, nested: bool) -> None:
    if not nested:
        draft.end_rows()
    for item in element.children:
        _add(item, draft, "- " if item.tag == "text:list-item" else "")
    if not nested:
        draft.end_rows()


def _add_rows(element: Any, draft: Draft) -> None:
    """Rows, also those inside header rows and groups of rows."""
    for child in element.children:
        if child.tag == "table:table-row":
            cells = (_cell(cell) for cell in child.children if cell.tag == "table:table-cell")
            draft.row(" | ".join(cell for cell in cells if cell))
        elif child.tag.startswith("table:table-"):
            _add_rows(child, draft)


def _cell(element: Any) -> str:
    """All the text of a cell on one line."""
    inner = Draft(Limits())
    _add(element, inner, None)
    return inner.line()


def _text(element: Any) -> str:
    """The text of a paragraph, without what is anchored in it."""
    parts = [element.text or ""] if element.tag not in ("text:s", "text:tab") else []
    for child in element.children:
        tag = child.tag
        if tag == "text:s":
            count = child.get_attribute("text:c")
            parts.append(" " * min(int(count) if count else 1, _MOST_SPACES))
        elif tag == "text:tab":
            parts.append("\t")
        elif tag == "text:line-break":
            parts.append("\n")
        elif tag not in _LEFT_OUT and not tag.startswith("draw:") and tag != "text:note":
            parts.append(_text(child))
        parts.append(child.tail or "")
    return "".join(parts)


def _add_asides(element: Any, draft: Draft) -> None:
    """Notes and text boxes anchored in a paragraph come after it."""
    for child in element.children:
        if child.tag in ("text:note", "draw:text-box"):
            _add(child, draft, None)
        elif child.tag not in _LEFT_OUT:
            _add_asides(child, draft)
