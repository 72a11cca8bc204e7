"""Statements: a policy file cut into its policies, so that a mistake is named by file and line.

Cedar's own messages say what is wrong but not where. A policy ends with ";" outside strings and
comments (Cedar grammar, https://docs.cedarpolicy.com/policies/syntax-grammar.html).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from casemate.errors import Invalid

_REPAIR = "Correct the policy file; until then the policies loaded before stay in force."
_PIECE = re.compile(r'//[^\n]*|"(?:\\.|[^"\\])*"|\s+|;|[^\s;"/]+|/|"', re.DOTALL)


@dataclass(frozen=True)
class Statement:
    """One policy as written, and where it begins."""

    file: str
    line: int
    text: str

    @property
    def place(self) -> str:
        """Its place as people look for it."""
        return f"{self.file}, line {self.line}"


def statements(file: str, content: bytes) -> Iterator[Statement]:
    """The policies of one file, in order.

    Raises Invalid if it is not UTF-8, a string is not closed, or the last policy has no ";".
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        raise Invalid(f"{file}, line {line}: this is not UTF-8 text.", _REPAIR) from None
    start: int | None = None
    for piece in _PIECE.finditer(text):
        word = piece.group()
        if word.isspace() or word.startswith("//"):
            continue
        if start is None:
            start = piece.start()
        if word == '"':
            raise Invalid(
                f"{file}, line {_line(text, piece.start())}: a string is not closed.", _REPAIR
            )
        if word == ";":
            yield Statement(file, _line(text, start), text[start : piece.end()])
            start = None
    if start is not None:
        raise Invalid(
            f"{file}, line {_line(text, start)}: this policy does not end with a semicolon.",
            _REPAIR,
        )


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
