"""Configured addresses: each one that Casemate was told to use, and whether it lies inside.

An address outside the perimeter would be refused when it is used. It is said before: when it is
configured, and when the server starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from casemate.errors import CasemateError, Refused
from casemate.gate.place import Place


@dataclass(frozen=True)
class Configured:
    """An address and what it is for; the place that holds it, or the problem with it."""

    what: str
    address: str
    place: str
    problem: str

    @classmethod
    def of(cls, what: str, address: str, look: Callable[[], Place]) -> Configured:
        """``look`` gives the place or raises."""
        try:
            return cls(what, address, look().name, "")
        except CasemateError as problem:
            return cls(what, address, "", problem.what)

    def require(self) -> None:
        """Raise Refused if it lies outside."""
        if self.problem:
            raise Refused(
                f"The {self.what} {self.address} cannot be used. {self.problem}",
                "Declare its place with `casemate perimeter add`, or take it out of the settings.",
            )
