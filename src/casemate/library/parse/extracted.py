"""What a parser gives: text, and where its pages and headings lie.

All positions are code points into ``Extracted.text``, half open: ``text[start:end]``.
"""

from __future__ import annotations

from dataclasses import dataclass

from casemate.errors import Invalid

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Page:
    """Page ``number`` (from 1) covers ``text[start:end]``; start equals end on an empty page."""

    number: int
    start: int
    end: int


@dataclass(frozen=True)
class Heading:
    """A heading line ``text[start:end]``; level 1 is the highest."""

    start: int
    end: int
    level: int


@dataclass(frozen=True)
class Extracted:
    """The readable text of one file.

    text: NFC, lines end in ``\\n``, no other control character but tab, at most one empty line
    in a row. pages: empty when the format has none. headings: in order of appearance.
    Raises ValueError when a span lies outside the text or spans overlap.
    """

    text: str
    media_type: str
    title: str | None
    pages: tuple[Page, ...]
    headings: tuple[Heading, ...]

    def __post_init__(self) -> None:
        for spans in (self.pages, self.headings):
            reached = 0
            for span in spans:
                if not reached <= span.start <= span.end <= len(self.text):
                    raise ValueError("a page or heading lies outside the text")
                reached = span.end
        if any(heading.level < 1 for heading in self.headings):
            raise ValueError("heading levels start at 1")
        if any(page.number != place for place, page in enumerate(self.pages, 1)):
            raise ValueError("page numbers run from 1 without gaps")


@dataclass(frozen=True)
class Limits:
    """What one file may cost; beyond any of these it is Unreadable.

    file_bytes: size of the file. memory_bytes: address space of the reading process.
    seconds: wall-clock time for one file. text_characters: code points of extracted text.
    unpacked_bytes: sum of all members of a zip-based format. pages: pages of a PDF.
    """

    file_bytes: int = 200 * MEBIBYTE
    memory_bytes: int = 1024 * MEBIBYTE
    seconds: float = 60.0
    text_characters: int = 20_000_000
    unpacked_bytes: int = 200 * MEBIBYTE
    pages: int = 5000


class Unreadable(Invalid):
    """A file of a supported type that cannot be read.

    ``reason`` completes the sentence "The file …": "is encrypted: remove the password and add it
    again". ``fact`` is its first half, ``step`` what helps, ``name`` the file as its owner knows
    it.
    """

    def __init__(self, fact: str, step: str = "", *, name: str = "") -> None:
        next_step = f"{step[0].upper()}{step[1:]}." if step else ""
        super().__init__(f"{name or 'The file'} {fact}.", next_step)
        self.fact = fact
        self.step = step
        self.name = name

    @property
    def reason(self) -> str:
        """Fact and step in one phrase, without the name and without a full stop."""
        return f"{self.fact}: {self.step}" if self.step else self.fact
