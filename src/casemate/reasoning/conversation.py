"""Conversations that are kept: exchanges of questions and answers, to be gone on with.

An exchange is one run and what was said before it. It belongs to the asker, has the label of its
run, and is erased with it. The answer itself lies with the run and nowhere else, so that what its
record no longer holds is no part of a conversation either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from casemate.errors import NotFound
from casemate.library.kept import Kept, Thing
from casemate.reasoning.event import Counted, Finished, Turn
from casemate.reasoning.record import Runs

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.label import Label

Said = tuple[str, str] | Turn
"""A turn of a conversation: (role, text), or one in which tools take part."""

_EXCHANGE, _CONVERSATION, _NOTED = "exchange", "conversation", "noted"


@dataclass(frozen=True)
class Exchange:
    """One run in a conversation. ``turns``: all before its answer; the last ``given`` are new.

    ``facts``: what else whoever kept it wanted to find again.
    """

    run: str
    use_case: str
    conversation: str | None
    label: Label
    created: str
    turns: tuple[Said, ...]
    given: int
    facts: Mapping[str, Any]
    finished: Finished

    @property
    def after(self) -> tuple[Said, ...]:
        """The conversation with the answer in it."""
        answer = self.finished.answer
        said: Said = ("assistant", answer.text)
        if answer.calls:
            said = Turn(role="assistant", text=answer.text, calls=answer.calls)
        return (*self.turns, said)


@dataclass(frozen=True)
class Noted:
    """What somebody added to a conversation without asking anything."""

    id: str
    facts: Mapping[str, Any]


class Conversations:
    """Everybody's own conversations."""

    def __init__(self, kept: Kept, runs: Runs) -> None:
        self._kept = kept
        self._runs = runs

    def keep(
        self,
        caller: Caller,
        finished: Finished,
        use_case: str,
        label: Label,
        turns: Sequence[Said],
        *,
        given: int,
        facts: Mapping[str, Any],
        conversation: str | None = None,
    ) -> None:
        """Keep an exchange that has just ended, under the id of its run; ``label`` is the run's.

        Raises NotFound if the asker was forgotten meanwhile.
        """
        self._kept.add(
            caller,
            _EXCHANGE,
            {
                "turns": msgspec.to_builtins(list(turns)),
                "given": given,
                "facts": dict(facts),
                "counted": msgspec.to_builtins(finished.counted),
            },
            label=label,
            use_case=use_case,
            parent=conversation,
            run=finished.run,
        )

    def exchange(self, caller: Caller, run: str) -> Exchange:
        """One exchange. Raises NotFound if it is absent, hidden, or its content was erased."""
        return self._exchange(caller, self._kept.of_run(caller, _EXCHANGE, run))

    def forget(self, caller: Caller, run: str) -> None:
        """Erase one exchange; its run and the record of it stay. Raises NotFound."""
        self._kept.delete(self._kept.of_run(caller, _EXCHANGE, run))

    def start(self, caller: Caller, facts: Mapping[str, Any], label: Label) -> Thing:
        """A conversation without exchanges."""
        return self._kept.add(caller, _CONVERSATION, facts, label=label)

    def conversation(self, caller: Caller, id: str) -> Thing:
        """One conversation. Raises NotFound if it is absent or hidden."""
        return self._kept.get(caller, _CONVERSATION, id)

    def list(self, caller: Caller) -> Sequence[Thing]:
        """The caller's conversations, oldest first."""
        return self._kept.list(caller, _CONVERSATION)

    def exchanges(self, caller: Caller, conversation: str) -> Sequence[Exchange]:
        """What was said in a conversation, oldest first; without what was erased."""
        parts = self.parts(caller, conversation)
        return [part for part in parts if isinstance(part, Exchange)]

    def note(self, caller: Caller, conversation: Thing, facts: Mapping[str, Any]) -> Noted:
        """Add something to a conversation without asking anything; it has the same label."""
        made = self._kept.add(
            caller, _NOTED, facts, label=conversation.label, parent=conversation.id
        )
        return Noted(made.id, made.facts)

    def unnote(self, caller: Caller, id: str) -> None:
        """Erase what somebody added. Raises NotFound."""
        self._kept.delete(self._kept.get(caller, _NOTED, id))

    def parts(self, caller: Caller, conversation: str) -> Sequence[Exchange | Noted]:
        """All that a conversation is made of, oldest first; without what was erased."""
        found: list[tuple[int, Exchange | Noted]] = [
            (thing.number, Noted(thing.id, thing.facts))
            for thing in self._kept.list(caller, _NOTED, parent=conversation)
        ]
        for thing in self._kept.list(caller, _EXCHANGE, parent=conversation):
            with suppress(NotFound):
                found.append((thing.number, self._exchange(caller, thing)))
        return [part for _, part in sorted(found, key=lambda one: one[0])]

    def change(self, conversation: Thing, facts: Mapping[str, Any]) -> None:
        """Say something else about a conversation."""
        self._kept.change(conversation, facts=facts)

    def rise(self, conversation: Thing, label: Label) -> None:
        """A conversation has at least the label of what is said in it."""
        self._kept.change(conversation, label=label)

    def delete(self, caller: Caller, id: str) -> None:
        """Erase a conversation with its exchanges. Raises NotFound."""
        self._kept.delete(self.conversation(caller, id))

    def _exchange(self, caller: Caller, thing: Thing) -> Exchange:
        run = self._runs.get(caller, thing.run or "")
        if run.answer is None or run.finished_entry is None:
            raise NotFound("The content of this exchange was erased.", "Begin anew.")
        return Exchange(
            run=run.id,
            use_case=run.use_case,
            conversation=thing.parent,
            label=thing.label,
            created=thing.created,
            turns=msgspec.convert(thing.facts["turns"], tuple[Said, ...]),
            given=thing.facts["given"],
            facts=thing.facts["facts"],
            finished=Finished(
                run=run.id,
                outcome=run.outcome or "",
                label=run.label,
                entry=run.finished_entry,
                answer=run.answer,
                steps=run.steps,
                counted=msgspec.convert(thing.facts.get("counted", {}), Counted),
            ),
        )
