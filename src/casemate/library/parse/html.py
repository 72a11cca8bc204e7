"""HTML: the text a reader would see, without navigation and scripts.

Format: HTML Living Standard, parsed by lexbor; the character set is the one declared in a meta
element, if any. What is hidden from readers is hidden here: it is where traps are laid.
"""

from __future__ import annotations

import re
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from casemate.library.parse.draft import Draft
from casemate.library.parse.extracted import Limits
from casemate.library.parse.text import decode

_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE
)
_LEFT_OUT = frozenset(
    "script style nav template noscript svg math head title iframe object canvas audio video "
    "select datalist button dialog".split()
)
_BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption "
    "figure footer form header hgroup hr html legend main menu ol p pre section summary table "
    "tbody tfoot thead ul".split()
)
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\n\r\f]+")


def parse(content: bytes, draft: Draft, limits: Limits) -> None:
    """Add headings, paragraphs, "- " list items and "cell | cell" rows; set the title."""
    charset = _CHARSET.search(content[:4096])
    markup = decode(content, charset[1].decode("ascii") if charset else None)
    tree = LexborHTMLParser(markup)
    title = tree.css_first("head title")
    draft.title = title.text() if title is not None else None
    _Walk(draft).walk(tree.body)


def add(markup: str, draft: Draft) -> None:
    """Add the readable blocks of a piece of HTML, as Markdown may contain."""
    _Walk(draft).walk(LexborHTMLParser(markup).body)


class _Walk:
    """One pass over the tree, without recursion: files may be nested deeper than Python calls."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._text: list[str] = []
        self._cells: list[str] = []
        self._in_cell = 0
        self._in_pre = 0
        self._markers: list[str] = []
        self._numbers: list[int] = []

    def walk(self, root: Any) -> None:
        if root is None:
            return
        node, top = root, root.mem_id  # each access makes a new object for the same node
        while node is not None:
            entered = self._enter(node)
            if entered and node.child is not None:
                node = node.child
                continue
            if entered:
                self._leave(node)
            while node.mem_id != top and node.next is None:
                node = node.parent
                self._leave(node)
            node = None if node.mem_id == top else node.next
        self._flush()

    def _enter(self, node: Any) -> bool:
        """Take what ``node`` is itself; whether its children are wanted."""
        if node.is_text_node:
            text = node.text_content or ""
            self._text.append(text if self._in_pre else _SPACES.sub(" ", text))
            return False
        tag = node.tag
        if tag in _LEFT_OUT or not node.is_element_node or _is_hidden(node):
            return False
        if tag == "br":
            self._text.append("\n")
        elif tag in _HEADINGS or tag in _BLOCKS or tag in ("li", "tr"):
            self._flush()
        if tag in ("ul", "ol", "menu", "table") and not self._markers and not self._in_cell:
            self._draft.end_rows()
        if tag in ("ul", "ol", "menu"):
            self._markers.append("")
            self._numbers.append(1)
        elif tag == "li" and self._markers:
            ordered = node.parent is not None and node.parent.tag == "ol"
            self._markers[-1] = f"{self._numbers[-1]}. " if ordered else "- "
            self._numbers[-1] += 1
        elif tag in ("td", "th"):
            self._in_cell += 1
        elif tag == "pre":
            self._in_pre += 1
        return True

    def _leave(self, node: Any) -> None:
        tag = node.tag
        if tag in ("td", "th"):
            self._in_cell -= 1
            if not self._in_cell:
                self._cells.append(" ".join("".join(self._text).split()))
                self._text.clear()
            else:
                self._text.append(" ")
        elif tag == "tr" and not self._in_cell:
            self._draft.row(" | ".join(cell for cell in self._cells if cell))
            self._cells.clear()
        elif tag in _HEADINGS and not self._in_cell:
            self._draft.heading("".join(self._text), int(tag[1]))
            self._text.clear()
        elif tag in _BLOCKS or tag == "li":
            self._flush()
            self._in_pre -= tag == "pre"
            if tag in ("ul", "ol", "menu"):
                self._markers.pop()
                self._numbers.pop()
            if tag in ("ul", "ol", "menu", "table") and not self._markers and not self._in_cell:
                self._draft.end_rows()

    def _flush(self) -> None:
        """What has gathered is a block of its own, unless it belongs to a table cell."""
        if self._in_cell:
            self._text.append(" ")
            return
        text = "".join(self._text)
        if not self._in_pre:
            text = "\n".join(" ".join(line.split(" ")).strip(" ") for line in text.split("\n"))
            text = re.sub(" {2,}", " ", text)
        self._text.clear()
        if not text.strip():
            return
        if self._markers:
            marker, self._markers[-1] = self._markers[-1], ""
            self._draft.row(marker + text.strip("\n"))
        else:
            self._draft.paragraph(text)


def _is_hidden(node: Any) -> bool:
    attributes = node.attributes
    return "hidden" in attributes or bool(_HIDDEN.search(attributes.get("style") or ""))
