"""``/v1/responses``: ask, be told step by step, find the answer again, and go on from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any, Literal

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from casemate.api.body import json_object
from casemate.api.caller import bearer
from casemate.api.errors import InvalidParameter
from casemate.api.openai import background
from casemate.api.openai import response as chat
from casemate.api.openai.output import events_of
from casemate.api.openai.paging import cut
from casemate.api.openai.responded import run_of
from casemate.api.openai.responding import (
    RESULTS,
    Rendering,
    again,
    answered,
    asked_for,
    ended_at,
    exchange,
    kept_stream,
    wanted_of,
)
from casemate.api.openai.transcript import given_of
from casemate.api.resource import Face, json_response
from casemate.api.running import Desk, EventStream
from casemate.errors import Invalid, NotFound
from casemate.reasoning import event as run


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


async def create(face: Face, request: Request) -> ASGIApp:
    """Ask, and answer whole or as a stream of events; in the background if that is wanted."""
    caller = await bearer(face.installation, request)
    body = await json_object(request)
    desk = Desk.of(face, request, caller)
    asking = await asked_for(desk, body)
    if asking.wanted.background:
        return await background.begun(desk, request, asking)
    if asking.wanted.stream:
        rendering = Rendering(asking.wanted, asking.asked, asking.created, face.now)
        return EventStream(kept_stream(desk, asking), rendering.render, rendering.broken)
    return json_response(chat.encode(await answered(desk, asking)))


async def retrieve(face: Face, request: Request) -> ASGIApp:
    """A response that was kept, or goes on in the background; also as a stream of its events."""
    caller = await bearer(face.installation, request)
    id = request.path_params["id"]
    after = _after(request)
    if after is not None and (going := await background.followed(face, caller, id)) is not None:
        return background.streamed(face, going, after)
    try:
        found = await exchange(face, caller, id)
    except NotFound:
        standing = await background.standing(face, caller, id)
        if after is not None:
            raise _no_longer_held() from None
        return json_response(chat.encode(background.shape_of(standing)))
    if after is None:
        results = RESULTS in request.query_params.getlist("include")
        return json_response(chat.encode(again(found, results=results)))
    if after >= 0:
        raise _no_longer_held()

    async def told() -> AsyncGenerator[run.Event, None]:
        for event in events_of(found.finished):
            yield event

    texts = [turn.text if isinstance(turn, run.Turn) else turn[1] for turn in found.turns]
    asked = run.Request(question=" ".join(texts))
    created, wanted = found.facts["created"], wanted_of(found.facts)
    rendering = Rendering(wanted, asked, created, partial(ended_at, found))
    return EventStream(told(), rendering.render, rendering.broken)


async def delete(face: Face, request: Request) -> Response:
    """Keep a response no longer; its run and the record of it stay."""
    caller = await bearer(face.installation, request)
    id = request.path_params["id"]
    try:
        await exchange(face, caller, id)
    except NotFound:
        await background.forgotten(face, caller, id)
    else:
        conversations = face.installation.conversations
        await asyncio.to_thread(conversations.forget, caller, run_of(id))
        face.installation.background.release(run_of(id))
    return json_response(chat.encode(Deleted(id=id, object="response")))


async def cancel(face: Face, request: Request) -> Response:
    """End a response that goes on in the background; others end with their connections."""
    caller = await bearer(face.installation, request)
    id = request.path_params["id"]
    try:
        standing = await face.installation.background.cancel(caller, run_of(id))
    except NotFound:
        found = await exchange(face, caller, id)
        if wanted_of(found.facts).background:
            return json_response(chat.encode(again(found, results=False)))
        raise Invalid(
            "This response has ended.", "Close the connection to end one that is being written."
        ) from None
    return json_response(chat.encode(background.shape_of(standing)))


async def input_items(face: Face, request: Request) -> Response:
    """What a response was asked with, newest first."""
    caller = await bearer(face.installation, request)
    found = await exchange(face, caller, request.path_params["id"])
    page = cut(request, given_of(found), lambda item: str(item["id"]))
    listed = InputItems(
        data=page.entries, first_id=page.first, last_id=page.last, has_more=page.more
    )
    return json_response(chat.encode(listed))


def _after(request: Request) -> int | None:
    """After which event a stream is wanted, -1: from the first; None: no stream is."""
    if request.query_params.get("stream") != "true":
        return None
    text = request.query_params.get("starting_after")
    if text is None:
        return -1
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidParameter("starting_after", "That is no number of an event.", "Correct it.")
    return int(text)


def _no_longer_held() -> InvalidParameter:
    return InvalidParameter(
        "starting_after",
        "The events of this response are not held any more.",
        "Leave stream and starting_after out, and take it whole.",
    )
