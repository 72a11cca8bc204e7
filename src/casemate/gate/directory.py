"""A directory: who is who elsewhere, as one file of the data folder declares it.

``directory.toml``: what groups mean here (see ``mapping``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from casemate.errors import Invalid
from casemate.gate.mapping import FILE, Grant, GroupGrant, Mapping
from casemate.store.folder import disk_problem

if TYPE_CHECKING:
    from casemate.gate.country import Country

_LARGEST = 4 << 20


class Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file as somebody wrote it."""

    group: list[GroupGrant] = []
    everybody: Grant | None = None


def declared(folder: Path) -> Declared:
    """The file in the data folder; nothing is declared where there is none.

    Raises Invalid naming what is wrong, Unavailable if it cannot be read.
    """
    path = folder / FILE
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as problem:
        raise disk_problem(problem) from problem
    if len(content) > _LARGEST:
        raise Invalid(f"{FILE} is larger than {_LARGEST >> 20} MiB.", "Make it smaller.")
    try:
        return msgspec.toml.decode(content, type=Declared)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Invalid(
            f"{FILE} is not usable: {problem}.", f"Correct {FILE} in the data folder."
        ) from None


def meaning(found: Declared, country: Country) -> Mapping:
    """What its groups mean. Raises Invalid naming the rule that is wrong."""
    return Mapping(found.group, found.everybody, country)
