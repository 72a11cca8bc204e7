"""Batches: many questions from one file, each a run under its owner's rights.

What was answered is kept line by line, so that a batch goes on after a restart where it was. A
line that was cut off is asked again. At the end the answers become files of the owner's, with the
highest label among them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from casemate.errors import CasemateError, Conflict, Invalid, Unauthenticated
from casemate.gate.caller import Caller
from casemate.library.files import RESULT, Files
from casemate.library.kept import Kept, Thing

if TYPE_CHECKING:
    from casemate.gate.admission import Gate
    from casemate.gate.label import Label

MOST_LINES = 50_000
OPEN = ("in_progress", "cancelling")
_BATCH, _LINE = "batch", "line"
_LASTING = ("key", "certificate")  # ways in that are there until somebody takes them back
_LOOK_AGAIN = 30.0  # seconds without anything to do
_PAUSE = 1.0  # seconds after which a line that found no free place is tried again


class Line(msgspec.Struct, frozen=True):
    """One question of a batch, in the dialect it is written in."""

    custom_id: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Answered:
    """What became of a line: HTTP status and body, the run, and what it was asked under."""

    status: int
    body: Mapping[str, Any]
    run: str | None = None
    use_case: str | None = None
    label: Label | None = None


Answer = Callable[[Caller, Mapping[str, Any], Mapping[str, Any], "Label"], Awaitable[Answered]]
"""Puts one line: the owner, what is said about the batch, the line's body, the label of both."""


@dataclass
class _Work:
    """A batch that is being worked through."""

    thing: Thing
    left: deque[Line] = field(default_factory=deque)


class Batches:
    """Everybody's own batches, and the work on them. ``at_once``: lines put at a time."""

    def __init__(self, kept: Kept, files: Files, gate: Gate, *, at_once: int) -> None:
        self._kept = kept
        self._files = files
        self._gate = gate
        self._at_once = at_once
        self._working: dict[str, _Work] = {}
        self._wake: Callable[[], None] = lambda: None

    def create(
        self,
        caller: Caller,
        inputs: Sequence[str],
        facts: Mapping[str, Any],
        *,
        hours: int,
        read: Callable[[Mapping[str, Any]], Line],
    ) -> Thing:
        """Begin a batch over the lines of some files (ids).

        ``facts``: what the dialect wants to find again. ``read``: makes a line of a JSON object,
        or raises Invalid. Raises NotFound (file), Invalid naming the first line that is wrong.
        """
        label = self._gate.country.policy.lowest()
        seen: set[str] = set()
        for id in inputs:
            label = label.join(self._files.get(caller, id).label)
            for line in _lines(self._files.content(caller, id), read):
                if line.custom_id in seen:
                    raise Invalid(
                        f"custom_id {line.custom_id[:40]!r} stands twice.", "Give each its own."
                    )
                seen.add(line.custom_id)
        if not 0 < len(seen) <= MOST_LINES:
            raise Invalid(
                f"The batch has {len(seen)} lines.", f"Give between 1 and {MOST_LINES:,}."
            )
        made = self._kept.add(
            caller,
            _BATCH,
            {
                **facts,
                "inputs": list(inputs),
                "bound": caller.use_case,
                # what is revoked later answers no more lines; a session may end before its batch
                "via": caller.via if caller.via in _LASTING else "key",
                "credential": caller.credential if caller.via in _LASTING else "",
                "hours": hours,
                "counts": {"total": len(seen), "completed": 0, "failed": 0},
                "began": self._gate.acts.now(),
            },
            label=label,
            state="in_progress",
        )
        self._gate.acts.record(
            "batch.created", caller.principal, batch=made.id, label=str(label), lines=len(seen)
        )
        self._wake()
        return made

    def get(self, caller: Caller, id: str) -> Thing:
        """One batch. Raises NotFound if it is absent or hidden."""
        return self._kept.get(caller, _BATCH, id)

    def list(self, caller: Caller) -> Sequence[Thing]:
        """The caller's batches, oldest first."""
        return self._kept.list(caller, _BATCH)

    def cancel(self, caller: Caller, id: str) -> Thing:
        """End a batch after the lines that are being answered. Raises NotFound, Conflict."""
        thing = self.get(caller, id)
        if thing.state not in OPEN:
            raise Conflict(f"This batch is {thing.state}.", "Only one that goes on can be ended.")
        facts = {**thing.facts, "cancelling": self._gate.acts.now()}
        self._kept.change(thing, facts=facts, state="cancelling")
        self._wake()
        return self.get(caller, id)

    # Working through

    async def work(
        self, answer: Answer, read: Callable[[Mapping[str, Any], Mapping[str, Any]], Line]
    ) -> None:
        """Work through all batches until cancelled, some lines of each in turn.

        ``read``: makes a line of what is said about a batch and a JSON object.
        """
        loop, wake = asyncio.get_running_loop(), asyncio.Event()

        def woken() -> None:
            loop.call_soon_threadsafe(wake.set)

        self._wake = woken
        try:
            while True:
                wake.clear()
                await self.work_through(answer, read)
                try:
                    async with asyncio.timeout(_LOOK_AGAIN):
                        await wake.wait()
                except TimeoutError:
                    continue
        finally:
            self._wake = lambda: None

    async def work_through(
        self, answer: Answer, read: Callable[[Mapping[str, Any], Mapping[str, Any]], Line]
    ) -> None:
        """Work through the batches that there are, until all have ended."""
        while found := await asyncio.to_thread(self._kept.waiting, _BATCH, OPEN):
            for thing in found:
                await self._some(thing, answer, read)

    async def _some(
        self,
        thing: Thing,
        answer: Answer,
        read: Callable[[Mapping[str, Any], Mapping[str, Any]], Line],
    ) -> None:
        try:
            owner = await asyncio.to_thread(self._owner, thing)
            work = self._working.get(thing.id)
            if work is None:
                work = await asyncio.to_thread(self._resumed, owner, thing, read)
                self._working[thing.id] = work
            late = self._late(thing)
            if thing.state == "cancelling" or late or not work.left:
                state = "expired" if late else "cancelled" if work.left else "completed"
                await asyncio.to_thread(self._end, owner, thing, state)
                return
            lines = [work.left.popleft() for _ in range(min(self._at_once, len(work.left)))]
            await asyncio.gather(*(self._one(owner, thing, line, answer) for line in lines))
        except CasemateError as problem:
            # Its owner was shut out or forgotten, or an input is gone.
            self._working.pop(thing.id, None)
            facts = {**thing.facts, "problem": str(problem), "ended": self._gate.acts.now()}
            await asyncio.to_thread(self._fail, thing, facts)

    async def _one(self, owner: Caller, thing: Thing, line: Line, answer: Answer) -> None:
        while True:
            told = await answer(owner, thing.facts, line.body, thing.label)
            if told.status != 429 or self._late(thing):
                break
            await asyncio.sleep(_PAUSE)
        await asyncio.to_thread(self._note, owner, thing, line, told)

    def _note(self, owner: Caller, thing: Thing, line: Line, told: Answered) -> None:
        fine = told.status < 400
        self._kept.add(
            owner,
            _LINE,
            {"custom_id": line.custom_id, "status": told.status, "body": told.body},
            label=thing.label if told.label is None else thing.label.join(told.label),
            use_case=told.use_case,
            parent=thing.id,
            run=told.run,
            state="completed" if fine else "failed",
        )

    def _owner(self, thing: Thing) -> Caller:
        principal = self._gate.principals.by_id(thing.principal)
        if principal.disabled:
            raise Unauthenticated("The owner of this batch was shut out.", "")
        facts = thing.facts
        caller = Caller(
            principal,
            facts["bound"],
            facts.get("via", "key"),
            credential=facts.get("credential", ""),
        )
        if not self._gate.stands(caller):
            raise Unauthenticated("What this batch was made with was taken back.", "")
        return caller

    def _resumed(
        self,
        owner: Caller,
        thing: Thing,
        read: Callable[[Mapping[str, Any], Mapping[str, Any]], Line],
    ) -> _Work:
        done = {one.facts["custom_id"] for one in self._answered(owner, thing)}
        lines = (
            line
            for id in thing.facts["inputs"]
            for line in _lines(self._files.content(owner, id), lambda one: read(thing.facts, one))
        )
        return _Work(thing, deque(line for line in lines if line.custom_id not in done))

    def counts(self, caller: Caller, thing: Thing) -> Mapping[str, int]:
        """How many lines there are, and how many of them were answered or failed."""
        counts: dict[str, int] = dict(thing.facts["counts"])
        if thing.state in OPEN:
            for state in ("completed", "failed"):
                counts[state] = self._kept.count(caller, _LINE, parent=thing.id, state=state)
        return counts

    def _answered(self, owner: Caller, thing: Thing) -> Sequence[Thing]:
        return self._kept.list(owner, _LINE, parent=thing.id)

    def _end(self, owner: Caller, thing: Thing, state: str) -> None:
        lines = self._answered(owner, thing)
        facts = {**thing.facts, "ended": self._gate.acts.now()}
        counts = dict(facts["counts"])
        for outcome, name in (("completed", "output"), ("failed", "errors")):
            some = [one for one in lines if one.state == outcome]
            counts[outcome] = len(some)
            if some:
                facts[name] = self._result(owner, thing, some, name).id
        facts["counts"] = counts
        label = thing.label
        for one in lines:
            label = label.join(one.label)
        self._working.pop(thing.id, None)
        if self._kept.change(thing, facts=facts, state=state, label=label):
            for one in lines:
                self._kept.delete(one)
            self._gate.acts.record(
                "batch.ended",
                owner.principal,
                batch=thing.id,
                outcome=state,
                completed=counts["completed"],
                failed=counts["failed"],
            )

    def _result(self, owner: Caller, thing: Thing, lines: Sequence[Thing], name: str) -> Thing:
        label = thing.label
        for one in lines:
            label = label.join(one.label)
        content = b"".join(msgspec.json.encode(_row(one)) + b"\n" for one in lines)
        file_name = f"{thing.id}_{name}.jsonl"
        return self._files.add(
            owner,
            file_name,
            content,
            purpose=RESULT,
            label=label,
            # Under the retention of what was asked first: mostly it is the same for all.
            use_case=next((one.use_case for one in lines if one.use_case), None),
        )

    def _fail(self, thing: Thing, facts: Mapping[str, Any]) -> None:
        try:
            self._kept.change(thing, facts=facts, state="failed")
        except CasemateError:
            return  # forgotten, with all that was kept
        self._gate.acts.record("batch.ended", None, batch=thing.id, outcome="failed")

    def _late(self, thing: Thing) -> bool:
        began = datetime.fromisoformat(thing.created)
        hours: int = thing.facts["hours"]
        return (self._gate.acts.clock() - began).total_seconds() > hours * 3600


def _row(line: Thing) -> dict[str, Any]:
    """A line of a result, as both dialects write it."""
    response = {
        "status_code": line.facts["status"],
        "request_id": line.run or line.id,
        "body": line.facts["body"],
    }
    fine = line.state == "completed"
    return {
        "id": line.id,
        "custom_id": line.facts["custom_id"],
        "response": response,
        "error": None if fine else line.facts["body"].get("error", line.facts["body"]),
    }


def _lines(content: bytes, read: Callable[[Mapping[str, Any]], Line]) -> Sequence[Line]:
    """The lines of a file. Raises Invalid, with the number of the first that is wrong."""
    found = []
    for number, raw in enumerate(content.splitlines(), 1):
        if not raw.strip():
            continue
        try:
            found.append(read(msgspec.json.decode(raw, type=dict[str, Any])))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise Invalid(f"Line {number} is not a JSON object.", "Correct it.") from None
        except Invalid as problem:
            raise Invalid(f"Line {number}: {problem.what}", problem.next) from None
    return found
