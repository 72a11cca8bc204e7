"""Where a client's secret lies: in a file, or in a variable of the environment; never in settings.

It is read each time it is used, so that a new one needs no restart, and never shown: the value of
a ``Secret`` is where it lies.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from casemate.errors import Invalid, Unavailable

_LONGEST = 4096  # bytes


@dataclass(frozen=True)
class Secret:
    """A reference to a secret."""

    file: Path | None
    variable: str | None

    @classmethod
    def parse(cls, text: str, folder: Path) -> Self:
        """``file:PATH`` (relative to ``folder``) or ``variable:NAME``.

        Raises Invalid, which does not repeat the text: it may be a secret put there by mistake.
        """
        kind, _, where = text.partition(":")
        if kind == "file" and where and where.isprintable():
            return cls(folder / where, None)
        if kind == "variable" and re.fullmatch(r"[A-Z][A-Z0-9_]*", where):
            return cls(None, where)
        raise Invalid("client_secret is a reference, file:PATH or variable:NAME, not the secret")

    def read(self, environment: Mapping[str, str] | None = None) -> str:
        """The secret. Raises Unavailable if it is not there, or if others may read its file."""
        if self.variable is not None:
            text = (os.environ if environment is None else environment).get(self.variable, "")
        else:
            text = "" if self.file is None else _from_file(self.file)
        text = text.strip("\r\n")
        if not text:
            raise Unavailable(
                "The client secret of a sign-in service is missing.",
                "Put it where the file of identity providers says.",
            )
        return text


def _from_file(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            content = opened.read(_LONGEST + 1)
    except OSError:
        return ""
    if stat.S_IMODE(mode) & 0o007:
        raise Unavailable(
            "The client secret of a sign-in service lies in a file that everybody may read.",
            "Take that right away: chmod 600.",
        )
    try:
        return content.decode("ascii") if len(content) <= _LONGEST else ""
    except UnicodeDecodeError:
        return ""
