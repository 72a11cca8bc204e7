"""Names of people, services and tenants, in one Unicode form (NFC, Unicode Annex 15)."""

from __future__ import annotations

import unicodedata

from casemate.errors import Invalid


def checked_name(name: str) -> str:
    """``name`` in Unicode form NFC. Raises Invalid unless it is 1 to 64 printable characters."""
    normal = unicodedata.normalize("NFC", name)
    if not 1 <= len(normal) <= 64 or not normal.isprintable() or normal != normal.strip():
        raise Invalid(
            "That cannot be a name.", "Give 1 to 64 printable characters, no space at the ends."
        )
    return normal


def known_name(name: str) -> str:
    """``name`` as it would be stored, or "", which nobody is called, if nobody can be."""
    normal = unicodedata.normalize("NFC", name)
    return normal if normal.isprintable() else ""
