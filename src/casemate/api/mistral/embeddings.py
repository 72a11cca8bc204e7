"""``/mistral/v1/embeddings``: vectors for texts, under a use case, recorded like every run."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.body import converted, json_object
from casemate.api.caller import bearer
from casemate.api.mistral.models import offered
from casemate.api.mistral.response import Usage, encode
from casemate.api.openai.embeddings import Texts, embedded, usage
from casemate.api.parameters import MISTRAL_EMBEDDINGS
from casemate.api.resource import RUN, Face, json_response
from casemate.api.running import Desk, while_there


class EmbeddingRequest(Struct, frozen=True):
    """The parameters that have an effect."""

    model: str
    input: str | Texts


class VectorShape(Struct, frozen=True, kw_only=True):
    """One vector."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float]


class VectorList(Struct, frozen=True, kw_only=True):
    """Mistral's list of vectors. ``id`` is the run's."""

    id: str
    object: Literal["list"] = "list"
    model: str
    data: list[VectorShape]
    usage: Usage


async def create(face: Face, request: Request) -> Response:
    """Make a vector for each text."""
    caller = await bearer(face.installation, request)
    body = await json_object(request)
    shape = await while_there(request, answered(Desk.of(face, request, caller), body))
    request.scope[RUN] = shape.id
    return json_response(encode(shape))


async def answered(desk: Desk, body: dict[str, Any]) -> VectorList:
    """The vectors that a body asks for. Raises InvalidParameter, UnknownModel, what runs raise."""
    MISTRAL_EMBEDDINGS.check(body)
    wanted = converted(body, EmbeddingRequest)
    await offered(desk.face, desk.caller, wanted.model)
    texts = [wanted.input] if isinstance(wanted.input, str) else wanted.input
    made = await embedded(desk, wanted.model, texts)
    counted = usage(texts, made)
    return VectorList(
        id=made.run,
        model=wanted.model,
        data=[
            VectorShape(index=number, embedding=list(vector))
            for number, vector in enumerate(made.vectors)
        ],
        usage=Usage(
            prompt_tokens=counted.prompt_tokens,
            completion_tokens=0,
            total_tokens=counted.total_tokens,
        ),
    )
