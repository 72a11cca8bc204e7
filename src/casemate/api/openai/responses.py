"""``/v1/responses``: ask, be told step by step, find the answer again, and go on from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from casemate.api.body import json_object
from casemate.api.caller import bearer
from casemate.api.errors import InvalidParameter
from casemate.api.openai import response as chat
from casemate.api.openai.given import ResponseRequest
from casemate.api.openai.models import offered
from casemate.api.openai.output import Item, Output, events_of
from casemate.api.openai.paging import cut
from casemate.api.openai.stores import names_of
from casemate.api.resource import Face, json_response
from casemate.api.running import Desk, EventStream
from casemate.errors import CasemateError, Invalid, NotFound
from casemate.reasoning import event as run
from casemate.reasoning.conversation import Exchange, Said

_RESULTS = "file_search_call.results"


class InputDetails(Struct, frozen=True, kw_only=True):
    """Nothing is kept between two questions."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputDetails(Struct, frozen=True, kw_only=True):
    """How much was thinking."""

    reasoning_tokens: int


class ResponseUsage(Struct, frozen=True, kw_only=True):
    """How much was read and written."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class ErrorShape(Struct, frozen=True, kw_only=True):
    """Why a response failed."""

    code: str
    message: str


class Incomplete(Struct, frozen=True, kw_only=True):
    """Why it ended before its end."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class ResponseShape(Struct, frozen=True, kw_only=True):
    """OpenAI's "response" object; ``casemate`` as in a chat completion."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None
    status: str
    error: ErrorShape | None
    incomplete_details: Incomplete | None
    instructions: str | None
    metadata: dict[str, str]
    model: str
    output: list[Item]
    parallel_tool_calls: bool
    previous_response_id: str | None
    temperature: float | None
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_p: float | None
    top_logprobs: int | None
    max_output_tokens: int | None
    background: bool = False
    store: bool
    text: dict[str, Any]
    truncation: Literal["disabled"] = "disabled"
    usage: ResponseUsage | None
    casemate: chat.CasemateShape | None


class InputItems(Struct, frozen=True, kw_only=True):
    """OpenAI's list of what a response was asked with."""

    object: Literal["list"] = "list"
    data: Sequence[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Deleted(Struct, frozen=True, kw_only=True):
    """OpenAI's word that something is gone."""

    id: str
    object: str
    deleted: bool = True


@dataclass(frozen=True)
class Asking:
    """A response that is wanted: what is asked, of which conversation."""

    wanted: ResponseRequest
    asked: run.Request
    turns: Sequence[Said]
    given: int
    created: int


async def create(face: Face, request: Request) -> ASGIApp:
    """Ask, and answer whole or as a stream of events."""
    caller = await bearer(face.installation, request)
    body = await json_object(request)
    desk = Desk.of(face, request, caller)
    asking = await asked_for(desk, body)
    if asking.wanted.stream:
        stream = _Stream(desk, asking)
        return EventStream(stream.events(), stream.render, stream.broken)
    return json_response(chat.encode(await answered(desk, asking)))


async def asked_for(desk: Desk, body: dict[str, Any]) -> Asking:
    """What a body asks for. Raises InvalidParameter, UnknownModel, NotFound, TooLarge."""
    wanted = ResponseRequest.parse(body)
    offer = await offered(desk.face, desk.caller, wanted.model)
    given = wanted.given()
    before: tuple[Said, ...] = ()
    label = None
    if wanted.previous_response_id is not None:
        previous = await _exchange(desk.face, desk.caller, wanted.previous_response_id)
        before, label = previous.after, str(previous.label)
    turns = [*before, *given]
    asked = wanted.to_run(
        turns,
        use_case=offer.use_case,
        model=offer.model,
        collections=await names_of(desk.face, desk.caller, wanted.stores),
        settings=desk.face.settings,
    )
    return Asking(wanted, desk.labelled(asked, label), turns, len(given), desk.created)


async def answered(desk: Desk, asking: Asking) -> ResponseShape:
    """The response, kept if it is wanted. Raises what the run raises."""
    output = _output(asking.wanted)
    told: list[run.Event] = []

    async def noted() -> AsyncGenerator[run.Event, None]:
        async with aclosing(desk.events(asking.asked)) as events:
            async for event in events:
                told.append(event)
                yield event

    admitted, finished = await desk.follow(noted())
    for event in told:
        output.tell(event)
    id = await _keep(desk, asking, admitted, finished)
    return _shape(asking, id, finished, admitted.use_case, output.items)


async def retrieve(face: Face, request: Request) -> Response:
    """A response that was kept."""
    caller = await bearer(face.installation, request)
    if request.query_params.get("stream") == "true":
        raise InvalidParameter("stream", "What was answered is not streamed.", "Leave it out.")
    found = await _exchange(face, caller, request.path_params["id"])
    results = _RESULTS in request.query_params.getlist("include")
    return json_response(chat.encode(_again(found, results)))


async def delete(face: Face, request: Request) -> Response:
    """Keep a response no longer; its run and the record of it stay."""
    caller = await bearer(face.installation, request)
    id = request.path_params["id"]
    await _exchange(face, caller, id)
    await asyncio.to_thread(face.installation.conversations.forget, caller, _inner(id))
    return json_response(chat.encode(Deleted(id=id, object="response")))


async def cancel(face: Face, request: Request) -> Response:
    """Responses end with the connection that asked for them: there is none to be ended here."""
    caller = await bearer(face.installation, request)
    await _exchange(face, caller, request.path_params["id"])
    raise Invalid(
        "This response has ended.", "Close the connection to end one that is being written."
    )


async def input_items(face: Face, request: Request) -> Response:
    """What a response was asked with, newest first."""
    caller = await bearer(face.installation, request)
    found = await _exchange(face, caller, request.path_params["id"])
    items = [
        _item(f"in_{found.run}_{number}", turn)
        for number, turn in enumerate(found.turns[len(found.turns) - found.given :])
    ]
    page = cut(request, [item for some in items for item in some], lambda item: str(item["id"]))
    listed = InputItems(
        data=page.entries, first_id=page.first, last_id=page.last, has_more=page.more
    )
    return json_response(chat.encode(listed))


def _item(id: str, turn: Said) -> list[dict[str, Any]]:
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
    return [
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


class _Stream:
    """Renders a run as the events of a response."""

    def __init__(self, desk: Desk, asking: Asking) -> None:
        self._desk = desk
        self._asking = asking
        self._output = _output(asking.wanted)
        self._admitted: run.Admitted | None = None
        self._id = ""
        self._kept = ""
        self._number = 0

    async def events(self) -> AsyncGenerator[run.Event, None]:
        """The events of the run; before the last one the response is kept."""
        async with aclosing(self._desk.events(self._asking.asked)) as events:
            async for event in events:
                if isinstance(event, run.Admitted):
                    self._admitted = event
                    self._id = _id(event.run)
                elif isinstance(event, run.Finished) and self._admitted is not None:
                    await _keep(self._desk, self._asking, self._admitted, event)
                yield event

    def render(self, event: run.Event) -> bytes:
        """The events for one event of the run."""
        frames = b""
        if isinstance(event, run.Admitted):
            started = self._shape("in_progress")
            frames += self._frame("response.created", {"response": started})
            frames += self._frame("response.in_progress", {"response": started})
        for kind, fields in self._output.tell(event):
            frames += self._frame(kind, fields)
        if isinstance(event, run.Finished):
            use_case = self._admitted.use_case if self._admitted else ""
            done = _shape(self._asking, self._id, event, use_case, self._output.items)
            kind = "response.incomplete" if done.incomplete_details else "response.completed"
            frames += self._frame(kind, {"response": done})
        return frames

    def broken(self, problem: CasemateError) -> bytes:
        """The end of a stream whose run breaks off."""
        failed = self._shape("failed", ErrorShape(code="server_error", message=str(problem)))
        return self._frame("response.failed", {"response": failed})

    def _shape(self, status: str, error: ErrorShape | None = None) -> ResponseShape:
        return _of(
            self._asking.wanted,
            id=self._id,
            created=self._asking.created,
            status=status,
            error=error,
            output=[] if error is None else self._output.items,
        )

    def _frame(self, kind: str, fields: dict[str, Any]) -> bytes:
        told = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return f"event: {kind}\ndata: ".encode() + msgspec.json.encode(told) + b"\n\n"


async def _keep(desk: Desk, asking: Asking, admitted: run.Admitted, finished: run.Finished) -> str:
    """Keep the response if that is wanted; its id either way, which is that of its run."""
    if asking.wanted.keeps:
        installation = desk.face.installation
        await asyncio.to_thread(
            installation.conversations.keep,
            desk.caller,
            finished,
            admitted.use_case,
            installation.gate.country.policy.parse(finished.label),
            asking.turns,
            given=asking.given,
            facts={
                "wanted": msgspec.to_builtins(msgspec.structs.replace(asking.wanted, input="-")),
                "created": asking.created,
            },
        )
    return _id(finished.run)


def _id(run: str) -> str:
    """OpenAI's form of a run's id."""
    return "resp_" + run.removeprefix("r_")


def _inner(id: str) -> str:
    return "r_" + id.removeprefix("resp_")


async def _exchange(face: Face, caller: Any, id: str) -> Exchange:
    try:
        return await asyncio.to_thread(face.installation.conversations.exchange, caller, _inner(id))
    except NotFound:
        raise NotFound(
            "There is no such response of yours.", "One that was asked for with store is kept."
        ) from None


def _again(found: Exchange, results: bool) -> ResponseShape:
    """A response as it was, from what was kept of it."""
    wanted = msgspec.convert(found.facts["wanted"], ResponseRequest)
    output = Output(searching=wanted.searches, results=results)
    for event in events_of(found.finished):
        output.tell(event)
    asking = Asking(wanted, run.Request(question=""), found.turns, 0, found.facts["created"])
    texts = [turn.text if isinstance(turn, run.Turn) else turn[1] for turn in found.turns]
    asked = run.Request(question=" ".join(texts))
    asking = Asking(wanted, asked, found.turns, found.given, found.facts["created"])
    ended = int(datetime.fromisoformat(found.created).timestamp())
    return _shape(asking, _id(found.run), found.finished, found.use_case, output.items, ended)


def _output(wanted: ResponseRequest) -> Output:
    return Output(searching=wanted.searches, results=_RESULTS in (wanted.include or ()))


def _shape(
    asking: Asking,
    id: str,
    finished: run.Finished,
    use_case: str,
    output: list[Item],
    ended: int | None = None,
) -> ResponseShape:
    counted = chat.usage(asking.asked, finished)
    cut_off = chat.bounded(finished)
    return _of(
        asking.wanted,
        id=id,
        created=asking.created,
        completed=asking.created if ended is None else ended,
        status="incomplete" if cut_off else "completed",
        incomplete=Incomplete() if cut_off else None,
        output=output,
        usage=ResponseUsage(
            input_tokens=counted.prompt_tokens,
            input_tokens_details=InputDetails(),
            output_tokens=counted.completion_tokens,
            output_tokens_details=OutputDetails(
                reasoning_tokens=counted.completion_tokens_details.reasoning_tokens
            ),
            total_tokens=counted.total_tokens,
        ),
        casemate=chat.casemate_shape(finished, use_case),
    )


def _of(
    wanted: ResponseRequest,
    *,
    id: str,
    created: int,
    status: str,
    output: list[Item],
    completed: int | None = None,
    error: ErrorShape | None = None,
    incomplete: Incomplete | None = None,
    usage: ResponseUsage | None = None,
    casemate: chat.CasemateShape | None = None,
) -> ResponseShape:
    given_format = wanted.text.format if wanted.text else None
    return ResponseShape(
        id=id,
        created_at=created,
        completed_at=completed,
        status=status,
        error=error,
        incomplete_details=incomplete,
        instructions=wanted.instructions,
        metadata=wanted.metadata or {},
        model=wanted.model,
        output=output,
        parallel_tool_calls=wanted.parallel_tool_calls is not False,
        previous_response_id=wanted.previous_response_id,
        temperature=wanted.temperature,
        tool_choice=wanted.tool_choice or "auto",
        tools=[
            {name: value for name, value in msgspec.to_builtins(tool).items() if value is not None}
            for tool in wanted.tools or ()
        ],
        top_p=wanted.top_p,
        top_logprobs=wanted.top_logprobs,
        max_output_tokens=wanted.max_output_tokens,
        store=wanted.keeps,
        text={"format": given_format or {"type": "text"}},
        usage=usage,
        casemate=casemate,
    )
