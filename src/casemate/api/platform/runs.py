"""Runs under ``/api``: ask, look back, take the receipt along."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from casemate.api.body import checked_question, decoded, whole_number
from casemate.api.caller import bearer_or_session
from casemate.api.metrics import metrics_of
from casemate.api.platform.shapes import (
    ProblemDetail,
    RunAnswer,
    Runs,
    RunShape,
    RunSummaryShape,
    encode,
)
from casemate.api.resource import RUN, Face, json_response
from casemate.api.running import EventStream, concluded
from casemate.errors import CasemateError
from casemate.reasoning import event as run

EVENT_STREAM = "text/event-stream"
MOST_RUNS = 200


async def ask(face: Face, request: Request) -> ASGIApp:
    """Ask a question: the answer at the end, or every event as it happens (text/event-stream)."""
    caller = await bearer_or_session(face.installation, request)
    asked = await decoded(request, run.Request)
    checked_question(asked.question, face.settings)
    events = metrics_of(request.scope).observed(face.installation.ask(caller, asked))
    if EVENT_STREAM in request.headers.get("accept", ""):
        return EventStream(events, _frame, _broken)
    return json_response(encode(RunAnswer.of(*await concluded(request, events))))


async def runs(face: Face, request: Request) -> Response:
    """The runs that the asker may see, newest first."""
    caller = await bearer_or_session(face.installation, request)
    limit = whole_number(request, "limit", 50, MOST_RUNS)
    before = request.query_params.get("before")
    found = await asyncio.to_thread(face.installation.runs.list, caller, limit=limit, before=before)
    # A page may be short because some of its runs are hidden: only an empty one is the last.
    more = found[-1].id if found else None
    return json_response(encode(Runs([RunSummaryShape.of(one) for one in found], more)))


async def run_in_full(face: Face, request: Request) -> Response:
    """One run: question, answer, steps, entries."""
    caller = await bearer_or_session(face.installation, request)
    id = request.path_params["id"]
    found = await asyncio.to_thread(face.installation.runs.get, caller, id)
    request.scope[RUN] = found.id
    return json_response(encode(RunShape.of(found)))


async def receipt(face: Face, request: Request) -> Response:
    """The run's receipt, which anyone can check offline."""
    caller = await bearer_or_session(face.installation, request)
    id = request.path_params["id"]
    content = await asyncio.to_thread(face.installation.runs.receipt, caller, id)
    request.scope[RUN] = id
    response = json_response(content)
    response.headers["Content-Disposition"] = f'attachment; filename="{id}.receipt.json"'
    return response


async def explanation(face: Face, request: Request) -> Response:
    """Which passages each sentence of the answer depends on."""
    caller = await bearer_or_session(face.installation, request)
    id = request.path_params["id"]
    found = await face.installation.explain(caller, id)
    request.scope[RUN] = id
    return json_response(encode(found))


def _frame(event: run.Event) -> bytes:
    tag = str(event.__struct_config__.tag)
    return _event(tag, msgspec.json.encode(event))


def _broken(problem: CasemateError) -> bytes:
    return _event("error", encode(ProblemDetail(problem.what, problem.next)))


def _event(name: str, content: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + content + b"\n\n"
