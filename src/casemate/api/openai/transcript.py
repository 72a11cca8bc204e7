"""Transcripts: what was said in a conversation, item by item, as OpenAI's clients read it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from casemate.api.openai.given import GivenItem, ResponseRequest, turns_of
from casemate.api.openai.output import Output, events_of
from casemate.api.resource import Face
from casemate.errors import NotFound
from casemate.reasoning import event as run
from casemate.reasoning.conversation import Exchange, Noted, Said

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.library.kept import Thing

DIALECT = "openai"  # of a conversation: the two dialects say different things about theirs


@dataclass(frozen=True)
class Transcript:
    """A conversation, and what was said in it: items, oldest first, each with an id."""

    thing: Thing
    items: Sequence[dict[str, Any]]

    @classmethod
    async def of(cls, face: Face, caller: Caller, id: str) -> Transcript:
        """That of the conversation with this id. Raises NotFound if it is absent or hidden."""
        return await asyncio.to_thread(_read, face, caller, id)

    def turns(self) -> list[Said]:
        """The same as turns for a model. Raises InvalidParameter where they make no sense."""
        return turns_of(msgspec.convert(self.items, list[GivenItem]))


def absent() -> NotFound:
    """The one answer about a conversation that is not there, or not the asker's."""
    return NotFound("There is no such conversation of yours.", "POST /v1/conversations makes one.")


def items_of(id: str, turn: Said) -> list[dict[str, Any]]:
    """A turn as items; ``id``: that they get, or begin with."""
    if not isinstance(turn, run.Turn):
        role, text = turn
        kind = "output_text" if role == "assistant" else "input_text"
        part: dict[str, Any] = {"type": kind, "text": text}
        if role == "assistant":
            part["annotations"] = []
        return [
            {"id": id, "type": "message", "role": role, "status": "completed", "content": [part]}
        ]
    if turn.role == "tool":
        return [
            {
                "id": id,
                "type": "function_call_output",
                "call_id": turn.answers,
                "output": turn.text,
                "status": "completed",
            }
        ]
    said = items_of(f"{id}_said", ("assistant", turn.text)) if turn.text else []
    return said + [
        {
            "id": f"{id}_{number}",
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
            "status": "completed",
        }
        for number, call in enumerate(turn.calls)
    ]


def _read(face: Face, caller: Caller, id: str) -> Transcript:
    conversations = face.installation.conversations
    try:
        thing = conversations.conversation(caller, id)
    except NotFound:
        raise absent() from None
    if thing.facts.get("dialect") != DIALECT:
        raise absent()
    removed = frozenset(thing.facts.get("removed", ()))
    found: list[dict[str, Any]] = []
    for part in conversations.parts(caller, id):
        found += noted_items(part) if isinstance(part, Noted) else _of_exchange(part)
    return Transcript(thing, [one for one in found if one["id"] not in removed])


def _of_exchange(exchange: Exchange) -> list[dict[str, Any]]:
    """What was asked and answered in one run."""
    wanted = msgspec.convert(exchange.facts["wanted"], ResponseRequest)
    output = Output(searching=wanted.searches, results=False)
    for event in events_of(exchange.finished):
        output.tell(event)
    return [*given_of(exchange), *(msgspec.to_builtins(one) for one in output.items)]


def noted_items(noted: Noted) -> list[dict[str, Any]]:
    """What somebody added, as items."""
    turns = msgspec.convert(noted.facts["turns"], list[Said])
    return [
        item for number, turn in enumerate(turns) for item in items_of(f"{noted.id}_{number}", turn)
    ]


def given_of(exchange: Exchange) -> list[dict[str, Any]]:
    """What was new in the question of one run."""
    new = exchange.turns[len(exchange.turns) - exchange.given :]
    return [
        item
        for number, turn in enumerate(new)
        for item in items_of(f"in_{exchange.run}_{number}", turn)
    ]
