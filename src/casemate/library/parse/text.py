"""Plain text: bytes of some character set become characters.

UTF-8 and anything with a byte order mark is decoded strictly; other bytes are taken for one of
the 8-bit character sets European offices have used, chosen by charset-normalizer, or refused.
"""

from __future__ import annotations

import codecs
import re

from casemate.library.parse.draft import Draft
from casemate.library.parse.extracted import Limits, Unreadable

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    # UTF-32 first: its little-endian mark begins like that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LEGACY = ["cp1252", "iso8859_15", "cp850", "cp437", "mac_roman", "cp1250", "cp1251", "cp1253"]
_SAMPLE = 256 * 1024
# What Windows-1252 (and Latin-1 within it) holds in German, French, English and Luxembourgish.
_WESTERN = re.compile(
    "[äöüÄÖÜßéèêëàâáçîïíôóùûúñœæÉÈÊËÀÂÇÎÏÔÙÛŒÆ\xa0’]"
    "|(?<![^\\W\\d_])[«»„“”‚‘…–—€°§©®•²³½£·]|[«»„“”‚‘…–—€°§©®•²³½£·](?![^\\W\\d_])"
)
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]")


def parse(content: bytes, draft: Draft, limits: Limits) -> None:
    """Add the whole text as it is. Raises Unreadable if it is none."""
    draft.paragraph(decode(content))


def decode(content: bytes, declared: str | None = None) -> str:
    """The characters of ``content``; ``declared`` is a character set that the file itself names.

    Raises Unreadable if the bytes are not text in any plausible way.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _strictly(content[len(mark) :], encoding)
    if b"\x00" in content:
        raise _not_text()
    for encoding in ("utf-8", declared or "utf-8"):
        try:
            return _plausible(content.decode(encoding))
        except (UnicodeDecodeError, LookupError):
            continue
    return _plausible(content.decode(_guess(content), errors="replace"))


def _strictly(content: bytes, encoding: str) -> str:
    try:
        return _plausible(content.decode(encoding))
    except UnicodeDecodeError:
        raise _not_text() from None


def _guess(content: bytes) -> str:
    """The likeliest 8-bit character set, from a sample around the first byte beyond ASCII.

    Windows-1252 comes first: on few such bytes statistics alone prefer exotic sets.
    """
    from charset_normalizer import from_bytes

    beyond = next((match.start() for match in re.finditer(rb"[\x80-\xff]", content)), 0)
    sample = content[max(0, beyond - 1024) :][:_SAMPLE]
    western = sample.decode("cp1252", errors="replace")
    if len(_WESTERN.findall(western)) >= 0.9 * len(_BEYOND_ASCII.findall(western)):
        return "cp1252"
    best = from_bytes(sample, cp_isolation=_LEGACY).best()
    if best is None:
        raise _not_text()
    return best.encoding


def _plausible(text: str) -> str:
    """``text``, unless it holds more control characters than text does by accident."""
    if len(_CONTROLS.findall(text[:_SAMPLE])) > min(len(text), _SAMPLE) // 200:
        raise _not_text()
    return text


def _not_text() -> Unreadable:
    return Unreadable("is not text", "save it again in the format that its name says")
