"""Markdown: what a reader sees of it, without the marks.

Format: CommonMark 0.31 with tables as GitHub writes them; YAML front matter is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from casemate.library.parse import html
from casemate.library.parse.draft import Draft
from casemate.library.parse.extracted import Limits
from casemate.library.parse.text import decode

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)??(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title:[ \t]*(['\"]?)(.+?)\1[ \t]*$", re.MULTILINE)
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)

_AROUND_BREAK = re.compile(r"[ \t]*\n[ \t]*")


def parse(content: bytes, draft: Draft, limits: Limits) -> None:
    """Add headings, paragraphs, "- " list items, "cell | cell" rows and code."""
    text = decode(content).replace("\r\n", "\n").replace("\r", "\n")
    front = _FRONT_MATTER.match(text)
    if front is not None:
        title = _TITLE.search(front[1] or "")
        draft.title = title[2] if title else None
        text = text[front.end() :]
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    _Rendering(draft).render(iter(tokens))


class _Rendering:
    """Walks the tokens of a document; lists and cells are collected until they close."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._markers: list[str] = []  # one a level of lists: "- " or "3. "
        self._numbers: list[int] = []  # the next number, 0 in a bullet list
        self._cells: list[str] | None = None

    def render(self, tokens: Iterator[Token]) -> None:
        for token in tokens:
            if token.type == "heading_open":
                self._draft.heading(_visible(next(tokens).children or ()), int(token.tag[1]))
            elif token.type == "inline":
                self._text(_visible(token.children or ()))
            elif token.type in ("fence", "code_block"):
                self._draft.paragraph(token.content)
            elif token.type == "html_block":
                html.add(token.content, self._draft)
            else:
                self._structure(token)

    def _text(self, text: str) -> None:
        if self._cells is not None:
            self._cells.append(" ".join(text.split()))
        elif self._markers:
            # The marker belongs to the first paragraph of an item only.
            marker, self._markers[-1] = self._markers[-1], ""
            self._draft.row(f"{marker}{text}")
        else:
            self._draft.paragraph(text)

    def _structure(self, token: Token) -> None:
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                first = int(token.attrs.get("start", 1)) if token.type[0] == "o" else 0
                if not self._markers:
                    self._draft.end_rows()
                self._markers.append("")
                self._numbers.append(first)
            case "bullet_list_close" | "ordered_list_close":
                self._markers.pop()
                self._numbers.pop()
                if not self._markers:
                    self._draft.end_rows()
            case "list_item_open":
                number = self._numbers[-1]
                self._markers[-1] = f"{number}. " if token.markup in (".", ")") else "- "
                self._numbers[-1] += 1
            case "table_open" | "table_close":
                self._draft.end_rows()
            case "tr_open":
                self._cells = []
            case "tr_close":
                self._draft.row(" | ".join(self._cells or ()))
                self._cells = None


def _visible(children: Sequence[Token]) -> str:
    """The readable text of inline tokens: links keep their text, images their description."""
    parts = []
    for child in children:
        match child.type:
            case "text" | "code_inline":
                parts.append(child.content)
            case "image":
                parts.append(_visible(child.children or ()))
            case "softbreak":
                parts.append(" ")
            case "hardbreak":
                parts.append("\n")
            case "html_inline" if _BREAK.match(child.content):
                parts.append("\n")
    return _AROUND_BREAK.sub("\n", "".join(parts))
