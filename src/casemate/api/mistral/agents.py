"""Agents: a model with instructions and tools under a name, kept for the one who made it.

An agent has no rights of its own: whoever asks it asks its model, under their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from casemate.api.body import converted, json_object
from casemate.api.caller import bearer
from casemate.api.calling import most_calls
from casemate.api.mistral.asked import Arguments, SetUp, arguments_of
from casemate.api.mistral.chat import names_of, told
from casemate.api.mistral.models import offered
from casemate.api.mistral.narrowing import holds, is_wanted, wanted_metadata
from casemate.api.mistral.paging import Page, page_of
from casemate.api.mistral.request import ChatRequest, ToolShape, turns_of
from casemate.api.mistral.response import encode
from casemate.api.parameters import MISTRAL_AGENT
from casemate.api.resource import Face, json_response
from casemate.api.running import Desk
from casemate.errors import NotFound
from casemate.reasoning.event import Request as Asked

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.library.kept import Thing

_KIND = "agent"


class NewAgent(Struct, frozen=True):
    """An agent to make."""

    model: str
    name: str
    instructions: str | None = None
    tools: list[ToolShape] | None = None
    completion_args: Arguments | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class AgentChange(Struct, frozen=True):
    """What is to be different."""

    model: str | None = None
    name: str | None = None
    instructions: str | None = None
    tools: list[ToolShape] | None = None
    completion_args: Arguments | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None


class AgentShape(Struct, frozen=True, kw_only=True):
    """Mistral's "agent" object."""

    id: str
    object: Literal["agent"] = "agent"
    name: str
    description: str | None
    model: str
    instructions: str | None
    tools: list[dict[str, Any]]
    completion_args: dict[str, Any]
    handoffs: None = None
    metadata: dict[str, Any] | None
    version: int
    versions: list[int]
    created_at: str
    updated_at: str
    deployment_chat: bool = False
    source: str = "api"

    @classmethod
    def of(cls, thing: Thing) -> AgentShape:
        """How an agent is shown."""
        facts = thing.facts
        return cls(
            id=thing.id,
            name=facts["name"],
            description=facts.get("description"),
            model=facts["model"],
            instructions=facts.get("instructions"),
            tools=facts.get("tools", []),
            completion_args=facts.get("completion_args", {}),
            metadata=facts.get("metadata"),
            version=facts["version"],
            versions=[facts["version"]],
            created_at=thing.created,
            updated_at=facts["updated"],
        )


class AgentPage(Struct, frozen=True, kw_only=True):
    """A page of agents, and where the next one begins."""

    object: Literal["list"] = "list"
    data: list[AgentShape]
    next_page_token: str | None


async def create(face: Face, request: Request) -> Response:
    """Make an agent of a model that the caller may use."""
    caller = await bearer(face.installation, request)
    body = await json_object(request)
    MISTRAL_AGENT.check(body)
    wanted = converted({**body, "completion_args": None}, NewAgent)
    wanted = msgspec.structs.replace(
        wanted,
        tools=wanted.tools or [],
        completion_args=arguments_of(body.get("completion_args")),
    )
    await offered(face, caller, wanted.model)
    facts = {**_facts(wanted), "version": 0, "updated": face.installation.gate.acts.now()}
    made = await asyncio.to_thread(
        face.installation.kept.add,
        caller,
        _KIND,
        facts,
        label=face.installation.gate.country.policy.lowest(),
    )
    return json_response(encode(AgentShape.of(made)))


async def agents(face: Face, request: Request) -> Response:
    """The caller's agents."""
    page = await _page(face, request)
    return json_response(msgspec.json.encode([AgentShape.of(one) for one in page.entries]))


async def pages(face: Face, request: Request) -> Response:
    """The caller's agents, page after page."""
    page = await _page(face, request)
    shapes = [AgentShape.of(one) for one in page.entries]
    return json_response(encode(AgentPage(data=shapes, next_page_token=page.next)))


async def agent(face: Face, request: Request) -> Response:
    """One agent."""
    caller = await bearer(face.installation, request)
    thing = await named(face, caller, request.path_params["id"])
    if not is_wanted(request, "agent_version", str(thing.facts["version"])):
        raise NotFound("There is no such version of this agent.", "Only the latest is kept.")
    return json_response(encode(AgentShape.of(thing)))


async def change(face: Face, request: Request) -> Response:
    """Change an agent: what is named, and nothing else."""
    caller = await bearer(face.installation, request)
    thing = await named(face, caller, request.path_params["id"])
    body = await json_object(request)
    MISTRAL_AGENT.check(body)
    arguments = None
    if body.get("completion_args") is not None:
        arguments = arguments_of(body["completion_args"])
    wanted = converted({**body, "completion_args": None}, AgentChange)
    wanted = msgspec.structs.replace(wanted, completion_args=arguments)
    if wanted.model is not None:
        await offered(face, caller, wanted.model)
    new = {name: value for name, value in _facts(wanted).items() if value is not None}
    facts = {
        **thing.facts,
        **new,
        "version": thing.facts["version"] + 1,
        "updated": face.installation.gate.acts.now(),
    }
    await asyncio.to_thread(face.installation.kept.change, thing, facts=facts)
    return json_response(encode(AgentShape.of(await named(face, caller, thing.id))))


async def delete(face: Face, request: Request) -> Response:
    """Erase an agent."""
    caller = await bearer(face.installation, request)
    thing = await named(face, caller, request.path_params["id"])
    await asyncio.to_thread(face.installation.kept.delete, thing)
    return Response(status_code=204)


async def completions(face: Face, request: Request) -> ASGIApp:
    """Ask an agent, and answer whole or as a stream."""
    caller = await bearer(face.installation, request)
    body = await json_object(request)
    desk = Desk.of(face, request, caller)
    chat, asked = await asking(desk, body)
    return await told(desk, chat, asked)


async def asking(desk: Desk, body: dict[str, Any]) -> tuple[ChatRequest, Asked]:
    """What a body asks an agent for. Raises as a chat does, and NotFound for the agent."""
    chat = ChatRequest.parse_for_agent(body)
    set_up = set_up_of((await named(desk.face, desk.caller, chat.agent_id or "")).facts)
    drawn = msgspec.to_builtins(set_up.completion_args)
    own = Arguments.__struct_fields__
    drawn |= {name: value for name in own if (value := getattr(chat, name)) is not None}
    set_up = msgspec.structs.replace(
        set_up,
        completion_args=msgspec.convert(drawn, Arguments),
        tools=[*set_up.tools, *(chat.tools or ())],
    )
    offer = await offered(desk.face, desk.caller, set_up.model)
    names = await names_of(desk, set_up.libraries)
    turns = turns_of(chat.messages)
    run = set_up.to_run(turns, offer, names, desk.face.settings, "messages")
    run = msgspec.structs.replace(run, most_calls=most_calls(chat.parallel_tool_calls))
    effort = set_up.completion_args.reasoning_effort
    return msgspec.structs.replace(chat, reasoning_effort=effort), run


def set_up_of(facts: Mapping[str, Any]) -> SetUp:
    """How an agent's model is asked."""
    return msgspec.convert(
        {
            "model": facts["model"],
            "instructions": facts.get("instructions"),
            "tools": facts.get("tools") or [],
            "completion_args": facts.get("completion_args") or {},
        },
        SetUp,
    )


async def named(face: Face, caller: Caller, id: str) -> Thing:
    """One agent of the caller's. Raises NotFound."""
    try:
        return await asyncio.to_thread(face.installation.kept.get, caller, _KIND, id)
    except NotFound:
        raise NotFound(
            "There is no such agent of yours.", "GET /mistral/v1/agents lists yours."
        ) from None


async def _page(face: Face, request: Request) -> Page[Thing]:
    """The caller's agents that the address asks for. Raises InvalidQuery."""
    caller = await bearer(face.installation, request)
    found = await asyncio.to_thread(face.installation.kept.list, caller, _KIND)
    asked, metadata = request.query_params, wanted_metadata(request)
    text = asked.get("search", "").casefold()
    return page_of(
        request,
        [
            one
            for one in found
            if is_wanted(request, "id", one.id)
            and is_wanted(request, "name", one.facts["name"])
            and (text in one.facts["name"].casefold() or text in one.id)
            and holds(one.facts.get("metadata"), metadata)
            and asked.get("deployment_chat") != "true"  # none is: they are all of the API
            and (not asked.getlist("sources") or "api" in asked.getlist("sources"))
        ],
    )


def _facts(wanted: NewAgent | AgentChange) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(wanted)
    if built.get("tools") is not None:
        built["tools"] = [
            {name: value for name, value in tool.items() if value is not None}
            for tool in built["tools"]
        ]
    return built
