"""``/v1/batches``: many questions from a file, answered one by one into another file."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.body import converted, json_object
from casemate.api.caller import bearer
from casemate.api.openai.files import seconds
from casemate.api.openai.paging import cut
from casemate.api.openai.response import encode
from casemate.api.parameters import OPENAI_BATCH
from casemate.api.resource import Face, json_response
from casemate.errors import Invalid
from casemate.reasoning.batch import Line

if TYPE_CHECKING:
    from casemate.library.kept import Thing

Endpoint = Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]
_HOURS = 24


class NewBatch(Struct, frozen=True):
    """A batch to begin."""

    input_file_id: str
    endpoint: Endpoint
    completion_window: Literal["24h"]
    metadata: dict[str, Annotated[str, Meta(max_length=512)]] | None = None


class Counts(Struct, frozen=True, kw_only=True):
    """How far it is."""

    total: int
    completed: int
    failed: int


class BatchError(Struct, frozen=True, kw_only=True):
    """Why a batch failed."""

    code: Literal["failed"] = "failed"
    message: str
    line: int | None = None
    param: str | None = None


class BatchErrors(Struct, frozen=True, kw_only=True):
    """OpenAI's list of errors."""

    object: Literal["list"] = "list"
    data: list[BatchError]


class BatchShape(Struct, frozen=True, kw_only=True):
    """OpenAI's "batch" object."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    input_file_id: str
    completion_window: str = "24h"
    status: str
    errors: BatchErrors | None
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int
    expires_at: int
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: Counts
    metadata: dict[str, str]
    label: str

    @classmethod
    def of(cls, thing: Thing, counts: Mapping[str, int]) -> BatchShape:
        """How a batch is shown."""
        facts = thing.facts
        ended = seconds(facts["ended"]) if "ended" in facts else None
        began = seconds(thing.created)
        problem = facts.get("problem")
        cancelling = facts.get("cancelling")
        return cls(
            id=thing.id,
            endpoint=facts["endpoint"],
            input_file_id=facts["inputs"][0],
            status=thing.state,
            errors=BatchErrors(data=[BatchError(message=problem)]) if problem else None,
            output_file_id=facts.get("output"),
            error_file_id=facts.get("errors"),
            created_at=began,
            in_progress_at=began,
            expires_at=began + facts["hours"] * 3600,
            completed_at=ended if thing.state == "completed" else None,
            failed_at=ended if thing.state == "failed" else None,
            expired_at=ended if thing.state == "expired" else None,
            cancelling_at=seconds(cancelling) if cancelling else None,
            cancelled_at=ended if thing.state == "cancelled" else None,
            request_counts=Counts(**counts),
            metadata=facts.get("metadata") or {},
            label=str(thing.label),
        )


class BatchList(Struct, frozen=True, kw_only=True):
    """OpenAI's list of batches."""

    object: Literal["list"] = "list"
    data: list[BatchShape]
    first_id: str | None
    last_id: str | None
    has_more: bool


class _Row(Struct, frozen=True):
    """A line of an input file."""

    custom_id: str
    body: dict[str, Any]
    method: Literal["POST"] = "POST"
    url: str | None = None


async def create(face: Face, request: Request) -> Response:
    """Begin a batch over a file of the caller's."""
    caller = await bearer(face.installation, request)
    body = await json_object(request)
    OPENAI_BATCH.check(body)
    wanted = converted(body, NewBatch)
    facts = {
        "dialect": "openai",
        "endpoint": wanted.endpoint,
        "metadata": wanted.metadata or {},
    }
    made = await asyncio.to_thread(
        face.installation.batches.create,
        caller,
        [wanted.input_file_id],
        facts,
        hours=_HOURS,
        read=lambda row: line(facts, row),
    )
    return json_response(encode(await _shape(face, caller, made)))


async def batches(face: Face, request: Request) -> Response:
    """The caller's batches."""
    caller = await bearer(face.installation, request)
    found = await asyncio.to_thread(face.installation.batches.list, caller)
    own = [one for one in found if one.facts["dialect"] == "openai"]
    page = cut(request, own, lambda one: one.id)
    listed = BatchList(
        data=[await _shape(face, caller, one) for one in page.entries],
        first_id=page.first,
        last_id=page.last,
        has_more=page.more,
    )
    return json_response(encode(listed))


async def batch(face: Face, request: Request) -> Response:
    """One batch, and how far it is."""
    caller = await bearer(face.installation, request)
    id = request.path_params["id"]
    found = await asyncio.to_thread(face.installation.batches.get, caller, id)
    return json_response(encode(await _shape(face, caller, found)))


async def cancel(face: Face, request: Request) -> Response:
    """End a batch after the lines that are being answered."""
    caller = await bearer(face.installation, request)
    id = request.path_params["id"]
    found = await asyncio.to_thread(face.installation.batches.cancel, caller, id)
    return json_response(encode(await _shape(face, caller, found)))


def line(facts: Mapping[str, Any], row: Mapping[str, Any]) -> Line:
    """A line of an input file. Raises Invalid if it is none, or is for another endpoint."""
    try:
        read = msgspec.convert(row, _Row)
    except msgspec.ValidationError as problem:
        raise Invalid(f"{problem}.", "Give custom_id, method, url and body.") from None
    if read.url is not None and read.url != facts["endpoint"]:
        raise Invalid("Its url is not the batch's endpoint.", f"Use {facts['endpoint']}.")
    return Line(read.custom_id, read.body)


async def _shape(face: Face, caller: Any, thing: Thing) -> BatchShape:
    counts = await asyncio.to_thread(face.installation.batches.counts, caller, thing)
    return BatchShape.of(thing, counts)
