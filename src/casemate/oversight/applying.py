"""Applying a declaration: what is not as it is wanted is made so, item by item, each on record.

First everything is compared, and a mistake found then changes nothing at all. Then item after item
is made as wanted; the first that fails ends it, and what was done, what failed and what was not
tried is told. Applied again, it goes on from there; applied once more, it changes nothing. Whoever
applies has no other rights than by hand: use cases and policies are proposed, and another person
approves them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from casemate.errors import CasemateError
from casemate.gate.acts import digest
from casemate.oversight.comparing import Comparing, Difference
from casemate.oversight.declaration import Declaration

if TYPE_CHECKING:
    from casemate.gate.admission import Gate
    from casemate.gate.caller import Caller
    from casemate.library.library import Library


class Problem(Struct, frozen=True):
    """Why something was not done, and what to do next."""

    what: str
    next: str


class Change(Struct, frozen=True, kw_only=True):
    """One item of a declaration: what is to be done about it, and what became of that.

    ``diff``: each field that differs, as it was and as it is wanted.
    """

    kind: str
    name: str
    act: str  # create | change | propose | disable | suspend | retire | remove | none
    state: str  # unchanged | planned | done | failed | not tried
    diff: dict[str, tuple[Any, Any]] = {}
    note: str = ""  # what somebody else has to do now
    problem: Problem | None = None


class Applying:
    """Compares and applies declarations."""

    def __init__(self, gate: Gate, library: Library) -> None:
        self._gate = gate
        self._comparing = Comparing(gate, library)

    def plan(self, actor: Caller, declaration: Declaration) -> list[Change]:
        """What applying would do. Changes nothing. Raises Refused.

        An item that cannot be as it is wanted is "failed".
        """
        self._gate.rights.administer(actor)
        return [
            _outcome(kind, name, compare)[0]
            for kind, name, compare in self._comparing.items(actor, declaration)
        ]

    def apply(self, actor: Caller, declaration: Declaration) -> list[Change]:
        """Make it so. Raises Refused.

        If the plan has an item that cannot be, nothing is done, and that item is "failed".
        """
        planned = self.plan(actor, declaration)
        if any(change.state == "failed" for change in planned):
            return [_not_tried(change) for change in planned]
        made = list(self._made(actor, declaration, planned))
        self._record(actor, declaration, made)
        return made

    def one(self, actor: Caller, declaration: Declaration) -> Change:
        """Apply a declaration of one item. Raises what kept it from being done."""
        self._gate.rights.administer(actor)
        ((kind, name, compare),) = self._comparing.items(actor, declaration)
        difference = compare()
        if difference.act == "none":
            return _change(kind, name, difference, "unchanged")
        difference.do()
        change = _change(kind, name, difference, "done")
        self._record(actor, declaration, [change])
        return change

    def _made(
        self, actor: Caller, declaration: Declaration, planned: list[Change]
    ) -> Iterator[Change]:
        failed = False
        items = self._comparing.items(actor, declaration)
        for (kind, name, compare), before in zip(items, planned, strict=True):
            if failed:
                yield _not_tried(before)
                continue
            # Compared again: what came before it in the declaration is there by now.
            change, do = _outcome(kind, name, compare)
            if change.state == "planned":
                try:
                    do()
                except CasemateError as problem:
                    change = _failed(change, problem)
                else:
                    change = msgspec.structs.replace(change, state="done")
            failed = change.state == "failed"
            yield change

    def _record(self, actor: Caller, declaration: Declaration, made: list[Change]) -> None:
        done = sum(change.state == "done" for change in made)
        if not done:
            return
        # The random id, which the ledger never shows, keeps anyone from guessing what this hides.
        plain = [actor.principal.id, msgspec.to_builtins(declaration)]
        self._gate.acts.record(
            "applied",
            actor.principal,
            declaration=digest(plain),
            changes=done,
            failed=sum(change.state == "failed" for change in made),
        )


def _outcome(
    kind: str, name: str, compare: Callable[[], Difference]
) -> tuple[Change, Callable[[], object]]:
    try:
        difference = compare()
    except CasemateError as problem:
        failed = _failed(Change(kind=kind, name=name, act="none", state="planned"), problem)
        return failed, lambda: None
    state = "unchanged" if difference.act == "none" else "planned"
    return _change(kind, name, difference, state), difference.do


def _change(kind: str, name: str, difference: Difference, state: str) -> Change:
    return Change(
        kind=kind,
        name=name,
        act=difference.act,
        state=state,
        diff=dict(difference.diff),
        note=difference.note,
    )


def _failed(change: Change, problem: CasemateError) -> Change:
    return msgspec.structs.replace(
        change, state="failed", note="", problem=Problem(problem.what, problem.next)
    )


def _not_tried(change: Change) -> Change:
    if change.state != "planned":
        return change
    return msgspec.structs.replace(change, state="not tried", note="")
