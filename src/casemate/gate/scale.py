"""The scale: levels of several label policies in one order, by their equivalences.

A rung holds the levels that are worth the same, as treaties and laws say: RESTREINT LUX,
RESTREINT UE/EU RESTRICTED and NATO RESTRICTED. Rungs go from the lowest up. Source for such tables:
Council Decision 2013/488/EU, Appendix B.

The rung says how high a level is; it does not make a policy's information everybody's. A policy
that *binds* is only for people briefed for it, whatever their level. The others are the house's
own, and each rung has a level of one of them: so every height can be said in the house's words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from casemate.gate.label import LabelPolicy


class Scale:
    """Policies, the house's own first, and their levels on rungs. Equal when their rungs are."""

    def __init__(
        self,
        policies: Sequence[LabelPolicy],
        rungs: Sequence[Sequence[str]],
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        """``rungs``: "policy:level", lowest first, without ``holes``. Each policy then knows it.

        ``aliases``: three-letter codes of communities by the code that is used here (LUX for LU).
        """
        self.policies: Mapping[str, LabelPolicy] = MappingProxyType(
            {one.id: one for one in policies}
        )
        self.rungs = tuple(tuple(rung) for rung in rungs)
        self.aliases: Mapping[str, str] = MappingProxyType(dict(aliases or {}))
        self._heights = {
            _parts(level): height for height, rung in enumerate(self.rungs) for level in rung
        }
        self._order = {one.id: place for place, one in enumerate(policies)}
        self._hash = hash(self.rungs)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Scale) and self.rungs == other.rungs)

    def __hash__(self) -> int:
        return self._hash

    def height(self, policy: str, level: str) -> int:
        """The rung of a level, lowest 0: for comparing, never for storage."""
        return self._heights[policy, level]

    def place(self, policy: str) -> int:
        """Where a policy stands among the others: the house's own come first."""
        return self._order[policy]

    def spelling(self, height: int, needs: frozenset[str]) -> tuple[LabelPolicy, str]:
        """How a height is said with the house's own policies and ``needs``; the first that can."""
        for level in sorted(self.rungs[height], key=lambda one: self._order[_parts(one)[0]]):
            id, name = _parts(level)
            if not self.policies[id].binds or id in needs:
                return self.policies[id], name
        raise AssertionError("unreachable: each rung has a level that binds nobody")


def holes(policies: Sequence[LabelPolicy], rungs: Sequence[Sequence[str]]) -> Iterator[str]:
    """What is wrong with these rungs: unknown, missing or repeated levels, and cycles."""
    known = {f"{policy.id}:{level.id}" for policy in policies for level in policy.levels}
    heights: dict[str, int] = {}
    for height, rung in enumerate(rungs):
        for level in rung:
            if level not in known:
                yield f"the equivalences name an unknown level {level[:40]!r}"
            elif level in heights:
                yield f"level {level!r} has two places in the equivalences"
            else:
                heights[level] = height
    for level in sorted(known - heights.keys()):
        yield f"level {level!r} has no equivalent: the equivalences do not name it"
    for policy in policies:
        own = [f"{policy.id}:{level.id}" for level in policy.levels]
        placed = [level for level in own if level in heights]
        for lower, higher in pairwise(placed):
            if heights[lower] == heights[higher]:
                yield f"levels {lower!r} and {higher!r} of one policy are said to be equivalent"
            elif heights[lower] > heights[higher]:
                yield (
                    f"the equivalences make a cycle: {higher!r} is above {lower!r} in its policy "
                    "and below it in them"
                )
    free = {policy.id for policy in policies if not policy.binds}
    for rung in rungs:
        if rung and not free & {_parts(level)[0] for level in rung}:
            yield f"no level of the house's own policies is equivalent to {rung[0]!r}"


def _parts(level: str) -> tuple[str, str]:
    policy, _, name = level.partition(":")
    return policy, name
