"""The draft of a text: parsers add blocks, the draft keeps every offset right.

Text is cleaned block by block before it is placed, so offsets never need correction: Unicode
NFC (UAX #15), only ``\\n`` and tab of the control characters, no space at the end of a line, at
most one empty line in a row.
"""

from __future__ import annotations

import re
import unicodedata

from casemate.library.parse.extracted import Extracted, Heading, Limits, Page, Unreadable

# Beside control characters: soft hyphens and invisible marks that would hide a word from search,
# bidirectional overrides that show another order than the bytes have, surrogates and
# non-characters that cannot be encoded. Joiners (U+200C, U+200D) stay: scripts need them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u2060\ufeff"
    "\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_LINE_ENDS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_EMPTY_LINES = re.compile(r"\n{3,}")


def clean(text: str) -> str:
    """``text`` normalised as every extracted text is, without outer empty lines."""
    text = _LINE_ENDS.sub("\n", text)
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    # The test spares the common case a slow search that finds nothing.
    if " \n" in text or "\t\n" in text or not text.isascii() or text[-1:].isspace():
        text = "\n".join(line.rstrip() for line in text.split("\n"))
    if "\n\n\n" in text:
        text = _EMPTY_LINES.sub("\n\n", text)
    return text.strip("\n")


class Draft:
    """Text in the making. Blocks are separated by an empty line unless they are ``rows``."""

    def __init__(self, limits: Limits) -> None:
        self.title: str | None = None
        self._limits = limits
        self._parts: list[str] = []
        self._length = 0
        self._headings: list[Heading] = []
        self._pages: list[tuple[int, int]] = []
        self._first_title: str | None = None
        self._in_rows = False

    def paragraph(self, text: str) -> None:
        """Add a block of its own. Raises Unreadable beyond the limit of characters."""
        self._place(text, "\n\n")
        self._in_rows = False

    def row(self, text: str) -> None:
        """Add a list item or table row: it sits directly under the row before it."""
        if self._place(text, "\n" if self._in_rows else "\n\n"):
            self._in_rows = True

    def end_rows(self) -> None:
        """The list or table is over: the next row starts another one."""
        self._in_rows = False

    def heading(self, text: str, level: int) -> None:
        """Add a heading on one line; ``level`` 1 is the highest."""
        line = " ".join(text.split())
        start = self._place(line, "\n\n")
        if start is not None:
            self._headings.append(Heading(start[0], start[1], max(1, level)))
            if level <= 1 and self._first_title is None:
                self._first_title = line
        self._in_rows = False

    def page(self) -> None:
        """Begin the next page: what follows lies on it."""
        if len(self._pages) >= self._limits.pages:
            raise Unreadable(
                f"has more than {self._limits.pages:,} pages", "split it and add the parts"
            )
        self._pages.append((self._length, self._length))
        self._in_rows = False

    def line(self) -> str:
        """All that was added, on one line: what a table cell needs."""
        return " ".join("".join(self._parts).split())

    def _place(self, text: str, gap: str) -> tuple[int, int] | None:
        """Put a block behind what is there; the span it got, or None if nothing is left of it."""
        text = clean(text)
        if not text or text.isspace():
            return None
        if self._length:
            self._parts.append(gap)
            self._length += len(gap)
        start = self._length
        self._parts.append(text)
        self._length += len(text)
        if self._length > self._limits.text_characters:
            raise Unreadable(
                f"holds more than {self._limits.text_characters:,} characters of text",
                "split it and add the parts",
            )
        if self._pages:
            first, last = self._pages[-1]
            self._pages[-1] = (start if first == last else first, self._length)
        return start, self._length

    def finish(self, media_type: str) -> Extracted:
        """The finished text. Raises Unreadable if there is none."""
        if not self._length:
            raise Unreadable("holds no text")
        title = " ".join(clean(self.title or "").split()) or self._first_title
        return Extracted(
            text="".join(self._parts),
            media_type=media_type,
            title=title,
            pages=tuple(Page(number, *span) for number, span in enumerate(self._pages, 1)),
            headings=tuple(self._headings),
        )
