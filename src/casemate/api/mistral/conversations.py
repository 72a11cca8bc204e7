"""``/mistral/v1/conversations``: started, gone on with, begun again from an entry, read back."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from casemate.api.body import json_object
from casemate.api.caller import bearer
from casemate.api.errors import InvalidParameter
from casemate.api.mistral import agents, entries
from casemate.api.mistral.asked import arguments_of
from casemate.api.mistral.entries import Entry, entries_of
from casemate.api.mistral.narrowing import holds, wanted_metadata
from casemate.api.mistral.paging import page_of
from casemate.api.mistral.response import encode
from casemate.api.mistral.talking import Asking, ConversationRequest, asked_of, go_on, told
from casemate.api.resource import Face, json_response
from casemate.api.running import Desk
from casemate.errors import NotFound
from casemate.reasoning.conversation import Said

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.library.kept import Thing

_RUN_IN_ID = re.compile(r"(in|msg|fc)_(r_[0-9a-f]+)(?:_(\d+))?(?:_\d+)?")


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


async def start(face: Face, request: Request) -> ASGIApp:
    """Start a conversation with a model or an agent."""
    caller = await bearer(face.installation, request)
    wanted = ConversationRequest.parse(await json_object(request))
    if (wanted.model is None) == (wanted.agent_id is None):
        raise InvalidParameter("model", "A conversation has a model or an agent.", "Name one.")
    facts = await _facts(face, caller, wanted)
    desk = Desk.of(face, request, caller)
    new = entries.turns_of(wanted.inputs or "")
    # Asked once before anything is kept: a body that makes no sense leaves no conversation.
    asked = await asked_of(desk, facts, new)
    thing = None
    if wanted.store is not False:
        lowest = face.installation.gate.country.policy.lowest()
        thing = await asyncio.to_thread(
            face.installation.conversations.start, caller, facts, lowest
        )
    asking = Asking(thing, agents.set_up_of(facts), wanted.agent_id, asked, new, len(new))
    return await told(desk, asking, wanted, fresh=True)


async def append(face: Face, request: Request) -> ASGIApp:
    """Go on with a conversation."""
    caller = await bearer(face.installation, request)
    wanted = ConversationRequest.parse(await json_object(request))
    thing = await _thing(face, caller, request.path_params["id"])
    desk = Desk.of(face, request, caller)
    before = await asyncio.to_thread(_said, face, caller, thing)
    return await go_on(desk, thing, wanted, before, fresh=False)


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
    return await go_on(Desk.of(face, request, caller), fresh, wanted, before, fresh=True)


async def conversations(face: Face, request: Request) -> Response:
    """The caller's conversations, newest first."""
    caller = await bearer(face.installation, request)
    found = await asyncio.to_thread(face.installation.conversations.list, caller)
    metadata = wanted_metadata(request)
    own = [
        one
        for one in reversed(found)
        if _is_ours(one) and holds(one.facts.get("metadata"), metadata)
    ]
    page = page_of(request, own)
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
    untold = agents.set_up_of(thing.facts).untold
    found = entries.given_entries(_base(thing), thing.id, thing.created)
    for exchange in face.installation.conversations.exchanges(caller, thing.id):
        found += entries_of(exchange, model, agent, site, untold)
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
