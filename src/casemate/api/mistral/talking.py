"""Talking: what is new in a conversation, the run that it becomes, and how that is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct
from starlette.types import ASGIApp

from casemate.api.body import converted
from casemate.api.mistral import agents, entries
from casemate.api.mistral.asked import SetUp, arguments_of
from casemate.api.mistral.chat import names_of
from casemate.api.mistral.entries import Entry, GivenEntry, output_entries
from casemate.api.mistral.models import offered
from casemate.api.mistral.request import ToolShape
from casemate.api.mistral.response import Usage, encode, thought, usage
from casemate.api.parameters import MISTRAL_CONVERSATION
from casemate.api.resource import json_response
from casemate.api.running import Desk, EventStream
from casemate.errors import CasemateError
from casemate.reasoning import event as run
from casemate.reasoning.conversation import Said

if TYPE_CHECKING:
    from casemate.library.kept import Thing


class ConversationRequest(Struct, frozen=True):
    """A conversation to start, or what is new in one."""

    inputs: str | list[GivenEntry] | None = None
    stream: bool | None = None
    store: bool | None = None
    model: str | None = None
    agent_id: str | None = None
    instructions: str | None = None
    tools: list[ToolShape] | None = None
    completion_args: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None
    from_entry_id: str | None = None

    @classmethod
    def parse(cls, body: dict[str, Any]) -> ConversationRequest:
        """Read a request. Raises InvalidParameter, naming the parameter that is not honoured."""
        MISTRAL_CONVERSATION.check(body)
        return converted(body, cls)


class ConversationAnswer(Struct, frozen=True, kw_only=True):
    """Mistral's "conversation.response" object. ``run``: what the ledger knows it by."""

    conversation_id: str
    object: Literal["conversation.response"] = "conversation.response"
    outputs: list[Entry]
    usage: Usage
    run: str


@dataclass(frozen=True)
class Asking:
    """What is asked, in which conversation (None: it is not kept)."""

    thing: Thing | None
    set_up: SetUp
    agent: str | None
    asked: run.Request
    turns: list[Said]
    given: int

    @property
    def id(self) -> str:
        """Of the conversation; empty if it is not kept."""
        return "" if self.thing is None else self.thing.id


async def go_on(
    desk: Desk, thing: Thing, wanted: ConversationRequest, before: list[Said], *, fresh: bool
) -> ASGIApp:
    """The answer after all that was said ``before``; ``fresh``: nothing was said in it yet."""
    new = entries.turns_of(wanted.inputs or "")
    turns = [*before, *new]
    facts = dict(thing.facts)
    if wanted.completion_args is not None:
        facts["completion_args"] = msgspec.to_builtins(arguments_of(wanted.completion_args))
    asked = desk.labelled(await asked_of(desk, facts, turns), str(thing.label))
    kept = None if wanted.store is False else thing
    agent = facts.get("agent_id")
    asking = Asking(kept, agents.set_up_of(facts), agent, asked, turns, len(new))
    return await told(desk, asking, wanted, fresh=fresh)


async def told(desk: Desk, asking: Asking, wanted: ConversationRequest, *, fresh: bool) -> ASGIApp:
    """The answer, whole or as a stream. ``fresh``: the conversation was made for it."""
    if wanted.stream:
        stream = _Stream(desk, asking)
        return EventStream(stream.events(), stream.render, stream.broken)
    try:
        admitted, finished = await desk.answer(asking.asked)
    except CasemateError:
        if fresh and asking.thing is not None:  # nothing was said in it
            await asyncio.to_thread(
                desk.face.installation.conversations.delete, desk.caller, asking.thing.id
            )
        raise
    await _keep(desk, asking, admitted, finished)
    answer = ConversationAnswer(
        conversation_id=asking.id,
        outputs=output_entries(
            finished,
            model=asking.set_up.model,
            agent=asking.agent,
            created=desk.face.installation.gate.acts.now(),
            site=desk.site,
            untold=asking.set_up.untold,
        ),
        usage=usage(asking.asked, finished),
        run=finished.run,
    )
    return json_response(encode(answer))


async def asked_of(desk: Desk, facts: Mapping[str, Any], turns: list[Said]) -> run.Request:
    """The run that a conversation asks for. Raises InvalidParameter, UnknownModel, NotFound."""
    set_up = agents.set_up_of(facts)
    offer = await offered(desk.face, desk.caller, set_up.model)
    names = await names_of(desk, set_up.libraries)
    return set_up.to_run(turns, offer, names, desk.face.settings)


class _Stream:
    """Renders a run as the events of a conversation."""

    def __init__(self, desk: Desk, asking: Asking) -> None:
        self._desk = desk
        self._asking = asking
        self._admitted: run.Admitted | None = None
        self._run = ""
        self._calls = 0

    async def events(self) -> AsyncGenerator[run.Event, None]:
        """The events of the run; before the last one the exchange is kept."""
        async with aclosing(self._desk.events(self._asking.asked)) as events:
            async for event in events:
                if isinstance(event, run.Admitted):
                    self._admitted, self._run = event, event.run
                elif isinstance(event, run.Finished) and self._admitted is not None:
                    await _keep(self._desk, self._asking, self._admitted, event)
                yield event

    def render(self, event: run.Event) -> bytes:
        """The events for one event of the run."""
        if isinstance(event, self._asking.set_up.untold):
            return b""
        match event:
            case run.Admitted():
                return self._frame(
                    "conversation.response.started", {"conversation_id": self._asking.id}
                )
            case run.Thinking():
                return self._message(thought(event.text))
            case run.Text():
                return self._message(event.text)
            case run.Called():
                self._calls += 1
                fields = {
                    "id": f"fc_{self._run}_{self._calls - 1}",
                    "name": event.call.name,
                    "tool_call_id": event.call.id,
                    "arguments": event.call.arguments,
                    "output_index": self._calls,
                }
                return self._frame("function.call.delta", fields)
            case run.Finished():
                return self._last(event)
        return b""

    def broken(self, problem: CasemateError) -> bytes:
        """The end of a stream whose run breaks off."""
        fields = {"message": str(problem), "code": problem.status}
        return self._frame("conversation.response.error", fields)

    def _last(self, finished: run.Finished) -> bytes:
        answer = finished.answer
        # Where the words stand is known only now that they are whole.
        frames = b"".join(
            self._message(entries.reference(answer, index, self._desk.site))
            for index in range(len(answer.citations))
        )
        counted = usage(self._asking.asked, finished)
        return frames + self._frame("conversation.response.done", {"usage": counted})

    def _message(self, content: Any) -> bytes:
        fields = {
            "id": f"msg_{self._run}",
            "role": "assistant",
            "content": content,
            "model": self._asking.set_up.model,
            "output_index": 0,
            "content_index": 0,
        }
        return self._frame("message.output.delta", fields)

    def _frame(self, kind: str, fields: Mapping[str, Any]) -> bytes:
        created = self._desk.face.installation.gate.acts.now()
        told = {"type": kind, "created_at": created, **fields}
        return f"event: {kind}\ndata: ".encode() + msgspec.json.encode(told) + b"\n\n"


async def _keep(desk: Desk, asking: Asking, admitted: run.Admitted, finished: run.Finished) -> None:
    if asking.thing is None:
        return
    installation = desk.face.installation
    label = installation.gate.country.policy.parse(finished.label)
    await asyncio.to_thread(
        installation.conversations.keep,
        desk.caller,
        finished,
        admitted.use_case,
        label,
        asking.turns,
        given=asking.given,
        facts={},
        conversation=asking.thing.id,
    )
    await asyncio.to_thread(installation.conversations.rise, asking.thing, label)
