"""Batch jobs as Mistral's clients follow them: the same batches as at ``/v1/batches``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.body import converted, json_object
from casemate.api.caller import bearer
from casemate.api.errors import InvalidParameter
from casemate.api.mistral.files import Gone
from casemate.api.mistral.narrowing import holds, is_wanted, wanted_besides, wanted_since
from casemate.api.mistral.paging import InvalidQuery, page_of
from casemate.api.mistral.response import encode
from casemate.api.openai.files import seconds
from casemate.api.parameters import MISTRAL_BATCH
from casemate.api.resource import Face, json_response
from casemate.errors import Conflict, Invalid
from casemate.reasoning.batch import OPEN, Line

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.library.kept import Thing

Endpoint = Literal["/v1/chat/completions", "/v1/fim/completions", "/v1/embeddings", "/v1/ocr"]
_STATES = {
    "in_progress": "RUNNING",
    "completed": "SUCCESS",
    "failed": "FAILED",
    "expired": "TIMEOUT_EXCEEDED",
    "cancelling": "CANCELLATION_REQUESTED",
    "cancelled": "CANCELLED",
}
_HOURS = 24  # within which a job ends, where nobody says otherwise
# What a list of jobs may be asked for; all else is of their metadata.
_NARROWING = (
    "page page_size page_token model agent_id created_after created_by_me status order_by".split()
)


class InlineRequest(Struct, frozen=True):
    """A line that is sent with the job."""

    body: dict[str, Any]
    custom_id: str | None = None


class NewJob(Struct, frozen=True):
    """A job to begin, over files or over lines sent with it."""

    endpoint: Endpoint
    input_files: list[str] | None = None
    requests: Annotated[list[InlineRequest], Meta(max_length=10_000)] | None = None
    model: str | None = None
    agent_id: str | None = None
    metadata: dict[str, Any] | None = None
    timeout_hours: Annotated[int, Meta(ge=1, le=168)] | None = None


class JobError(Struct, frozen=True, kw_only=True):
    """Why a job failed."""

    message: str
    count: int = 1


class JobShape(Struct, frozen=True, kw_only=True):
    """Mistral's "batch" object."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    model: str | None
    agent_id: str | None
    input_files: list[str]
    output_file: str | None
    error_file: str | None
    errors: list[JobError]
    status: str
    created_at: int
    started_at: int
    completed_at: int | None
    total_requests: int
    completed_requests: int
    succeeded_requests: int
    failed_requests: int
    metadata: dict[str, Any] | None
    outputs: list[dict[str, Any]] | None = None

    @classmethod
    def of(
        cls, thing: Thing, counts: Mapping[str, int], outputs: list[dict[str, Any]] | None
    ) -> JobShape:
        """How a job is shown."""
        facts = thing.facts
        problem = facts.get("problem")
        return cls(
            id=thing.id,
            endpoint=facts["endpoint"],
            model=facts.get("model"),
            agent_id=facts.get("agent_id"),
            input_files=facts["inputs"],
            output_file=facts.get("output"),
            error_file=facts.get("errors"),
            errors=[JobError(message=problem)] if problem else [],
            status=_STATES[thing.state],
            created_at=seconds(thing.created),
            started_at=seconds(thing.created),
            completed_at=seconds(facts["ended"]) if "ended" in facts else None,
            total_requests=counts["total"],
            completed_requests=counts["completed"] + counts["failed"],
            succeeded_requests=counts["completed"],
            failed_requests=counts["failed"],
            metadata=facts.get("metadata"),
            outputs=outputs,
        )


class Jobs(Struct, frozen=True, kw_only=True):
    """Mistral's list of jobs."""

    object: Literal["list"] = "list"
    data: list[JobShape]
    total: int


class _Row(Struct, frozen=True):
    """A line of an input file."""

    custom_id: str
    body: dict[str, Any]


async def create(face: Face, request: Request) -> Response:
    """Begin a job."""
    caller = await bearer(face.installation, request)
    body = await json_object(request)
    MISTRAL_BATCH.check(body)
    wanted = converted(body, NewJob)
    inputs = wanted.input_files or []
    if bool(inputs) == bool(wanted.requests):
        raise InvalidParameter("input_files", "A job has input_files or requests.", "Send one.")
    if wanted.requests:
        rows = [
            msgspec.json.encode({"custom_id": one.custom_id or str(number), "body": one.body})
            for number, one in enumerate(wanted.requests)
        ]
        sent = await asyncio.to_thread(
            face.installation.files.add,
            caller,
            "requests.jsonl",
            b"\n".join(rows),
            purpose="batch",
        )
        inputs = [sent.id]
    facts = {
        "dialect": "mistral",
        "endpoint": wanted.endpoint,
        "model": wanted.model,
        "agent_id": wanted.agent_id,
        "metadata": wanted.metadata,
    }
    made = await asyncio.to_thread(
        face.installation.batches.create,
        caller,
        inputs,
        facts,
        hours=wanted.timeout_hours or _HOURS,
        read=lambda row: line(facts, row),
    )
    return json_response(encode(await _shape(face, caller, made)))


async def jobs(face: Face, request: Request) -> Response:
    """The caller's jobs, newest first unless the address says otherwise."""
    caller = await bearer(face.installation, request)
    found = await asyncio.to_thread(face.installation.batches.list, caller)
    asked, since = request.query_params, wanted_since(request)
    metadata = wanted_besides(request, _NARROWING)
    if asked.get("order_by") not in (None, "", "created", "-created"):
        raise InvalidQuery("order_by", "There is no such order.", "Use created or -created.")
    own = [
        one
        for one in (found if asked.get("order_by") == "created" else reversed(found))
        if one.facts["dialect"] == "mistral"
        and is_wanted(request, "model", one.facts.get("model"))
        and is_wanted(request, "agent_id", one.facts.get("agent_id"))
        and holds(one.facts.get("metadata"), metadata)
        and (since is None or datetime.fromisoformat(one.created) > since)
        and (not asked.getlist("status") or _STATES[one.state] in asked.getlist("status"))
    ]
    page = page_of(request, own)
    shapes = [await _shape(face, caller, one) for one in page.entries]
    return json_response(encode(Jobs(data=shapes, total=len(own))))


async def job(face: Face, request: Request) -> Response:
    """One job, and how far it is; with ``inline=true`` what it gave."""
    caller = await bearer(face.installation, request)
    found = await asyncio.to_thread(
        face.installation.batches.get, caller, request.path_params["id"]
    )
    outputs = None
    if request.query_params.get("inline") == "true" and "output" in found.facts:
        content = await asyncio.to_thread(
            face.installation.files.content, caller, found.facts["output"]
        )
        outputs = [msgspec.json.decode(row) for row in content.splitlines()]
    return json_response(encode(await _shape(face, caller, found, outputs)))


async def cancel(face: Face, request: Request) -> Response:
    """End a job after the lines that are being answered."""
    caller = await bearer(face.installation, request)
    id = request.path_params["id"]
    found = await asyncio.to_thread(face.installation.batches.cancel, caller, id)
    return json_response(encode(await _shape(face, caller, found)))


async def delete(face: Face, request: Request) -> Response:
    """Erase a job that has ended; the files that it gave stay."""
    caller = await bearer(face.installation, request)
    id = request.path_params["id"]
    found = await asyncio.to_thread(face.installation.batches.get, caller, id)
    if found.state in OPEN:
        raise Conflict("This job goes on.", "Cancel it first.")
    await asyncio.to_thread(face.installation.kept.delete, found)
    return json_response(encode(Gone(id=id, object="batch")))


def line(facts: Mapping[str, Any], row: Mapping[str, Any]) -> Line:
    """A line of an input file; the job's model goes into its body. Raises Invalid."""
    try:
        read = msgspec.convert(row, _Row)
    except msgspec.ValidationError as problem:
        raise Invalid(f"{problem}.", "Give custom_id and body.") from None
    body = dict(read.body)
    for name in ("model", "agent_id"):
        if facts.get(name) is not None:
            body[name] = facts[name]
    return Line(read.custom_id, body)


async def _shape(
    face: Face, caller: Caller, thing: Thing, outputs: list[dict[str, Any]] | None = None
) -> JobShape:
    counts = await asyncio.to_thread(face.installation.batches.counts, caller, thing)
    return JobShape.of(thing, counts, outputs)
