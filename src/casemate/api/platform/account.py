"""Who the asker is and what they may choose from, under ``/api``."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from casemate.api.caller import bearer_or_session
from casemate.api.platform.shapes import (
    Models,
    ModelShape,
    UseCases,
    UseCaseShape,
    Who,
    encode,
)
from casemate.api.resource import Face, json_response


async def whoami(face: Face, request: Request) -> Response:
    """The asker: name, roles, clearance."""
    caller = await bearer_or_session(face.installation, request)
    return json_response(encode(Who.of(caller, tuple(face.installation.gate.country.languages))))


async def use_cases(face: Face, request: Request) -> Response:
    """The use cases that the asker may use."""
    caller = await bearer_or_session(face.installation, request)
    found = await asyncio.to_thread(face.installation.gate.use_cases.list, caller)
    readable = await asyncio.to_thread(face.installation.library.collections, caller)
    names = {one.id: one.name for one in readable}
    shapes = [
        UseCaseShape(
            id=one.id,
            purpose=one.purpose,
            state=one.state,
            models=list(one.models),
            collections=None
            if one.collections is None
            else [names[id] for id in one.collections if id in names],
            ceiling=str(one.ceiling),
            oversight=one.oversight,
            hours=None if one.hours is None else str(one.hours),
        )
        for one in found
        if caller.use_case in (None, one.id)
    ]
    return json_response(encode(UseCases(shapes)))


async def models(face: Face, request: Request) -> Response:
    """The models of this installation."""
    caller = await bearer_or_session(face.installation, request)
    found = await asyncio.to_thread(face.installation.models.list, caller)
    shapes = [
        ModelShape(id=one.id, engine=one.manifest.engine, label=str(one.label), state=one.state)
        for one in found
    ]
    return json_response(encode(Models(shapes)))
