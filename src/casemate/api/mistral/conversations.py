"""``/mistral/v1/conversations``: started, gone on with, begun again from an entry, read back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from casemate.api.body import converted, json_object
from casemate.api.caller import bearer
from casemate.api.errors import InvalidParameter
from casemate.api.mistral import agents, entries
from casemate.api.mistral.asked import SetUp, arguments_of
from casemate.api.mistral.chat import names_of
from casemate.api.mistral.entries import Entry, GivenEntry, entries_of, output_entries
from casemate.api.mistral.models import offered
from casemate.api.mistral.paging import page_of
from casemate.api.mistral.request import ToolShape
from casemate.api.mistral.response import Usage, encode, thought, usage
from casemate.api.parameters import MISTRAL_CONVERSATION
from casemate.api.resource import Face, json_response
from casemate.api.running import Desk, EventStream
from casemate.errors import CasemateError, NotFound
from casemate.reasoning import event as run
from casemate.reasoning.conversation import Said

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.library.kept import Thing

_RUN_IN_ID = re.compile(r"(in|msg|fc)_(r_[0-9a-f]+)(?:_(\d+))?(?:_\d+)?")


class ConversationRequest(Struct, frozen=True):
    """A conversation to start, or what is new in one."""

    inputs: str | list[GivenEntry] = ""
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


class ConversationShape(Struct, frozen=True, kw_only=True):
    """Mistral's "conversation" object: with a model, or with an agent."""

    id: str
    object: Literal["conversation"] = "conversation"
    name: str | None
    description: str | None
    metadata: dict[str, Any] | None
    created_at: str
    updated_at: str
    model: str | UnsetType = UNSET
    instructions: str | UnsetType | None = UNSET
    tools: list[dict[str, Any]] | UnsetType = UNSET
    completion_args: dict[str, Any] | UnsetType = UNSET
    agent_id: str | UnsetType = UNSET
    label: str


class ConversationAnswer(Struct, frozen=True, kw_only=True):
    """Mistral's "conversation.response" object. ``run``: what the ledger knows it by."""

    conversation_id: str
    object: Literal["conversation.response"] = "conversation.response"
    outputs: list[Entry]
    usage: Usage
    run: str


class History(Struct, frozen=True, kw_only=True):
    """All entries of a conversation."""

    conversation_id: str
    object: Literal["conversation.history"] = "conversation.history"
    entries: list[Entry]


class Messages(Struct, frozen=True, kw_only=True):
    """The messages of a conversation."""

    conversation_id: str
    object: Literal["conversation.messages"] = "conversation.messages"
    messages: list[entries.InputEntry | entries.OutputEntry]


@dataclass(frozen=True)
class _Asking:
    """What is asked, in which conversation (None: it is not kept)."""

    thing: Thing | None
    set_up: SetUp
    agent: str | None
    asked: run.Request
    turns: list[Said]
    given: int

    @property
    def id(self) -> str:
        return "" if self.thing is None else self.thing.id


async def start(face: Face, request: Request) -> ASGIApp:
    """Start a conversation with a model or an agent."""
    caller = await bearer(face.installation, request)
    wanted = ConversationRequest.parse(await json_object(request))
    if (wanted.model is None) == (wanted.agent_id is None):
        raise InvalidParameter("model", "A conversation has a model or an agent.", "Name one.")
    facts = await _facts(face, caller, wanted)
    desk = Desk.of(face, request, caller)
    new = entries.turns_of(wanted.inputs)
    # Asked once before anything is kept: a body that makes no sense leaves no conversation.
    asked = await _asked(desk, facts, new)
    thing = None
    if wanted.store is not False:
        lowest = face.installation.gate.country.policy.lowest()
        thing = await asyncio.to_thread(
            face.installation.conversations.start, caller, facts, lowest
        )
    asking = _Asking(thing, agents.set_up_of(facts), wanted.agent_id, asked, new, len(new))
    return await _told(desk, asking, wanted, fresh=True)


async def append(face: Face, request: Request) -> ASGIApp:
    """Go on with a conversation."""
    caller = await bearer(face.installation, request)
    wanted = ConversationRequest.parse(await json_object(request))
    thing = await _thing(face, caller, request.path_params["id"])
    desk = Desk.of(face, request, caller)
    before = await asyncio.to_thread(_said, face, caller, thing)
    return await _go_on(desk, thing, wanted, before, fresh=False)


async def restart(face: Face, request: Request) -> ASGIApp:
    """Begin a new conversation from an entry of another."""
    caller = await bearer(face.installation, request)
    wanted = ConversationRequest.parse(await json_object(request))
    thing = await _thing(face, caller, request.path_params["id"])
    before = await asyncio.to_thread(_until, face, caller, thing, wanted.from_entry_id or "")
    facts = {**thing.facts, "base": msgspec.to_builtins(before)}
    if wanted.metadata is not None:
        facts["metadata"] = wanted.metadata
    fresh = await asyncio.to_thread(
        face.installation.conversations.start, caller, facts, thing.label
    )
    return await _go_on(Desk.of(face, request, caller), fresh, wanted, before, fresh=True)


async def conversations(face: Face, request: Request) -> Response:
    """The caller's conversations, newest first."""
    caller = await bearer(face.installation, request)
    found = await asyncio.to_thread(face.installation.conversations.list, caller)
    page = page_of(request, [one for one in reversed(found) if _is_ours(one)])
    return json_response(msgspec.json.encode([_shape(one) for one in page.entries]))


async def conversation(face: Face, request: Request) -> Response:
    """What is said about one conversation."""
    caller = await bearer(face.installation, request)
    return json_response(encode(_shape(await _thing(face, caller, request.path_params["id"]))))


async def delete(face: Face, request: Request) -> Response:
    """Erase a conversation; its runs and the record of them stay."""
    caller = await bearer(face.installation, request)
    thing = await _thing(face, caller, request.path_params["id"])
    await asyncio.to_thread(face.installation.conversations.delete, caller, thing.id)
    return Response(status_code=204)


async def history(face: Face, request: Request) -> Response:
    """All that was said in a conversation."""
    caller = await bearer(face.installation, request)
    thing = await _thing(face, caller, request.path_params["id"])
    found = await asyncio.to_thread(_entries, face, caller, thing)
    return json_response(encode(History(conversation_id=thing.id, entries=found)))


async def messages(face: Face, request: Request) -> Response:
    """The messages of a conversation, without calls and results of tools."""
    caller = await bearer(face.installation, request)
    thing = await _thing(face, caller, request.path_params["id"])
    found = await asyncio.to_thread(_entries, face, caller, thing)
    kept = [one for one in found if isinstance(one, entries.InputEntry | entries.OutputEntry)]
    return json_response(encode(Messages(conversation_id=thing.id, messages=kept)))


async def _go_on(
    desk: Desk, thing: Thing, wanted: ConversationRequest, before: list[Said], *, fresh: bool
) -> ASGIApp:
    new = entries.turns_of(wanted.inputs)
    turns = [*before, *new]
    facts = dict(thing.facts)
    if wanted.completion_args is not None:
        facts["completion_args"] = msgspec.to_builtins(arguments_of(wanted.completion_args))
    asked = desk.labelled(await _asked(desk, facts, turns), str(thing.label))
    kept = None if wanted.store is False else thing
    agent = facts.get("agent_id")
    asking = _Asking(kept, agents.set_up_of(facts), agent, asked, turns, len(new))
    return await _told(desk, asking, wanted, fresh=fresh)


async def _told(
    desk: Desk, asking: _Asking, wanted: ConversationRequest, *, fresh: bool
) -> ASGIApp:
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
        ),
        usage=usage(asking.asked, finished),
        run=finished.run,
    )
    return json_response(encode(answer))


class _Stream:
    """Renders a run as the events of a conversation."""

    def __init__(self, desk: Desk, asking: _Asking) -> None:
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


async def _facts(face: Face, caller: Caller, wanted: ConversationRequest) -> dict[str, Any]:
    """What a conversation is started with. Raises NotFound (agent), InvalidParameter."""
    about: dict[str, Any] = {
        "name": wanted.name,
        "description": wanted.description,
        "metadata": wanted.metadata,
    }
    if wanted.agent_id is not None:
        agent = await agents.named(face, caller, wanted.agent_id)
        own = ("model", "instructions", "tools", "completion_args")
        about |= {name: agent.facts.get(name) for name in own}
        about["agent_id"] = agent.id
    else:
        about |= {"model": wanted.model, "instructions": wanted.instructions}
        about["tools"] = [
            {name: value for name, value in tool.items() if value is not None}
            for tool in msgspec.to_builtins(wanted.tools or [])
        ]
    if wanted.completion_args is not None or wanted.agent_id is None:
        about["completion_args"] = msgspec.to_builtins(arguments_of(wanted.completion_args))
    return about


async def _asked(desk: Desk, facts: Mapping[str, Any], turns: list[Said]) -> run.Request:
    set_up = agents.set_up_of(facts)
    offer = await offered(desk.face, desk.caller, set_up.model)
    names = await names_of(desk, set_up.libraries)
    return set_up.to_run(turns, offer, names, desk.face.settings)


async def _keep(
    desk: Desk, asking: _Asking, admitted: run.Admitted, finished: run.Finished
) -> None:
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


async def _thing(face: Face, caller: Caller, id: str) -> Thing:
    absent = NotFound(
        "There is no such conversation of yours.", "GET /mistral/v1/conversations lists yours."
    )
    try:
        thing = await asyncio.to_thread(face.installation.conversations.conversation, caller, id)
    except NotFound:
        raise absent from None
    if not _is_ours(thing):
        raise absent
    return thing


def _is_ours(thing: Thing) -> bool:
    """Whether a conversation was begun in this dialect: it has a model, or an agent."""
    return "model" in thing.facts


def _base(thing: Thing) -> list[Said]:
    return msgspec.convert(thing.facts.get("base", []), list[Said])


def _said(face: Face, caller: Caller, thing: Thing) -> list[Said]:
    """All that was said in a conversation."""
    found = face.installation.conversations.exchanges(caller, thing.id)
    return list(found[-1].after) if found else _base(thing)


def _until(face: Face, caller: Caller, thing: Thing, entry: str) -> list[Said]:
    """What was said up to an entry, and with it. Raises InvalidParameter."""
    place = _RUN_IN_ID.fullmatch(entry)
    if place is not None:
        for exchange in face.installation.conversations.exchanges(caller, thing.id):
            if exchange.run == place[2]:
                if place[1] != "in":
                    return list(exchange.after)
                first = len(exchange.turns) - exchange.given
                return list(exchange.turns[: first + int(place[3] or 0) + 1])
    raise InvalidParameter(
        "from_entry_id",
        "There is no such entry in this conversation.",
        "GET …/history lists its entries.",
    )


def _entries(face: Face, caller: Caller, thing: Thing) -> list[Entry]:
    site = face.settings.public_url.rstrip("/")
    model, agent = thing.facts["model"], thing.facts.get("agent_id")
    found = entries.given_entries(_base(thing), thing.id, thing.created)
    for exchange in face.installation.conversations.exchanges(caller, thing.id):
        found += entries_of(exchange, model, agent, site)
    return found


def _shape(thing: Thing) -> ConversationShape:
    facts = thing.facts
    about: dict[str, Any] = {
        "id": thing.id,
        "name": facts.get("name"),
        "description": facts.get("description"),
        "metadata": facts.get("metadata"),
        "created_at": thing.created,
        "updated_at": thing.created,
        "label": str(thing.label),
    }
    if facts.get("agent_id") is not None:
        return ConversationShape(agent_id=facts["agent_id"], **about)
    return ConversationShape(
        model=facts["model"],
        instructions=facts.get("instructions"),
        tools=facts.get("tools") or [],
        completion_args=facts.get("completion_args") or {},
        **about,
    )
