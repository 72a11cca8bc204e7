"""Which parser reads which file: the one table.

A parser is a module with ``parse(content: bytes, draft: Draft, limits: Limits) -> None``. It is
named here and imported only in the reading process.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType
from typing import Final

from casemate.errors import Unsupported


class UnknownFormat(Unsupported):
    """A file of a type that is not read here."""

    status = 415


@dataclass(frozen=True)
class Format:
    """A file format: its registered media type (IANA) and the module that parses it."""

    media_type: str
    module: str


_HERE = "casemate.library.parse"
_MARKDOWN = Format("text/markdown", f"{_HERE}.markdown")
_TEXT = Format("text/plain", f"{_HERE}.text")
_HTML = Format("text/html", f"{_HERE}.html")
_OFFICE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

FORMATS: Final = MappingProxyType(
    {
        ".md": _MARKDOWN,
        ".markdown": _MARKDOWN,
        ".txt": _TEXT,
        ".text": _TEXT,
        ".html": _HTML,
        ".htm": _HTML,
        ".pdf": Format("application/pdf", f"{_HERE}.pdf"),
        ".docx": Format(_OFFICE, f"{_HERE}.docx"),
        ".odt": Format("application/vnd.oasis.opendocument.text", f"{_HERE}.odt"),
        ".csv": Format("text/csv", f"{_HERE}.csv"),
    }
)

SUPPORTED: Final = frozenset(FORMATS)


def extension(name: str) -> str:
    """The extension of a supported file, lower case with its dot.

    Raises UnknownFormat, naming the file and what is supported.
    """
    found = PurePath(name).suffix.lower()
    if found not in SUPPORTED:
        kind = f"files of type {found}" if found else "files without an extension"
        raise UnknownFormat(
            f"{name} is not read: {kind} are not supported.",
            f"Supported are {', '.join(sorted(SUPPORTED))}.",
        )
    return found
