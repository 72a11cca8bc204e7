"""Responses in the background: begun, looked after, followed from where a reader was."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.types import ASGIApp

from casemate.api.door import leave
from casemate.api.errors import InvalidParameter
from casemate.api.openai import response as chat
from casemate.api.openai.responded import ResponseShape, failure, id_of, run_of, shown
from casemate.api.openai.responding import Asking, Rendering, absent, exchange, keep, wanted_of
from casemate.api.resource import RUN, Face, json_response
from casemate.api.running import Desk, EventStream
from casemate.errors import NotFound
from casemate.reasoning.background import FAILED, IN_PROGRESS, Going, Standing

if TYPE_CHECKING:
    from casemate.gate.caller import Caller


async def begun(desk: Desk, request: Request, asking: Asking) -> ASGIApp:
    """A response that goes on by itself: how it stands, or its events as long as there is a reader.

    Raises InvalidParameter if it is not to be kept, and what refuses the run.
    """
    if not asking.wanted.keeps:
        raise InvalidParameter(
            "background", "What is not kept cannot be found again.", "Leave store out."
        )
    policy = desk.face.installation.gate.country.policy
    label = policy.parse(asking.asked.label) if asking.asked.label else policy.lowest()
    going = await desk.face.installation.background.begin(
        desk.caller,
        asking.asked,
        desk.events(asking.asked),
        facts=asking.facts,
        label=label,
        keep=partial(keep, desk, asking),
    )
    if asking.wanted.stream:
        return streamed(desk.face, going, -1)
    request.scope[RUN] = going.run
    leave(request.scope)
    standing = Standing(going.run, IN_PROGRESS, asking.facts, "", going)
    return json_response(chat.encode(shape_of(standing)))


async def standing(face: Face, caller: Caller, id: str) -> Standing:
    """How a response stands that has no answer (yet). Raises NotFound."""
    try:
        return await face.installation.background.standing(caller, run_of(id))
    except NotFound:
        raise absent() from None


async def followed(face: Face, caller: Caller, id: str) -> Going | None:
    """The events of a response of the caller's, if they are held."""
    going = face.installation.background.followed(run_of(id))
    if going is not None:
        try:
            await exchange(face, caller, id)
        except NotFound:
            await standing(face, caller, id)
    return going


def streamed(face: Face, going: Going, after: int) -> ASGIApp:
    """The events of a response that come after the one with the number ``after``."""
    wanted, created = wanted_of(going.facts), going.facts["created"]
    rendering = Rendering(wanted, going.asked, created, face.now, after)
    return EventStream(going.follow(), rendering.render, rendering.broken)


async def forgotten(face: Face, caller: Caller, id: str) -> None:
    """Erase how a response stands. Raises NotFound, Conflict while it goes on."""
    await standing(face, caller, id)
    await face.installation.background.forget(caller, run_of(id))


def shape_of(standing: Standing) -> ResponseShape:
    """A response that has no answer (yet)."""
    going, status = standing.going, standing.state
    if status == IN_PROGRESS and going is not None and going.queued:
        status = "queued"
    return shown(
        wanted_of(standing.facts),
        id=id_of(standing.run),
        created=standing.facts["created"],
        status=status,
        error=failure(standing.problem) if status == FAILED else None,
        output=[],
    )
