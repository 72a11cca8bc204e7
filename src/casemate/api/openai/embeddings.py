"""``/v1/embeddings``: vectors for texts, under a use case, recorded like every run."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.body import converted, json_object
from casemate.api.caller import bearer
from casemate.api.errors import InvalidParameter
from casemate.api.openai.models import offered
from casemate.api.openai.response import encode
from casemate.api.parameters import OPENAI_EMBEDDINGS, UNSUPPORTED
from casemate.api.resource import RUN, Face, json_response
from casemate.api.running import Desk, while_there
from casemate.reasoning.embedding import MOST_TEXTS, Embedded, packed

Texts = Annotated[list[str], Meta(min_length=1, max_length=MOST_TEXTS)]


class EmbeddingRequest(Struct, frozen=True):
    """The parameters that have an effect."""

    model: str
    input: str | Texts
    encoding_format: Literal["float", "base64"] | None = None

    @property
    def texts(self) -> list[str]:
        """The texts to embed."""
        return [self.input] if isinstance(self.input, str) else self.input


class EmbeddingShape(Struct, frozen=True, kw_only=True):
    """One vector: numbers, or float32 little-endian in Base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Struct, frozen=True, kw_only=True):
    """How much was read, in tokens; in words where the engine counts none."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct, frozen=True, kw_only=True):
    """OpenAI's list of vectors. ``run``: what the ledger knows it by."""

    object: Literal["list"] = "list"
    model: str
    data: list[EmbeddingShape]
    usage: EmbeddingUsage
    run: str


async def create(face: Face, request: Request) -> Response:
    """Make a vector for each text."""
    caller = await bearer(face.installation, request)
    body = await json_object(request)
    desk = Desk.of(face, request, caller)
    shape = await while_there(request, answered(desk, body))
    request.scope[RUN] = shape.run
    return json_response(encode(shape))


async def answered(desk: Desk, body: dict[str, Any]) -> EmbeddingList:
    """The vectors that a body asks for. Raises InvalidParameter, UnknownModel, what a run does."""
    OPENAI_EMBEDDINGS.check(body)
    given = body.get("input")
    if isinstance(given, list) and given and not isinstance(given[0], str):
        raise InvalidParameter(
            "input",
            "Texts are embedded here, not tokens: each model has its own.",
            "Send strings; with LangChain, set check_embedding_ctx_length=False.",
            UNSUPPORTED,
        )
    wanted = converted(body, EmbeddingRequest)
    made = await embedded(desk, wanted.model, wanted.texts)
    return EmbeddingList(
        model=wanted.model,
        data=[
            EmbeddingShape(index=number, embedding=as_wanted(vector, wanted.encoding_format))
            for number, vector in enumerate(made.vectors)
        ],
        usage=usage(wanted.texts, made),
        run=made.run,
    )


async def embedded(desk: Desk, model: str, texts: list[str]) -> Embedded:
    """Vectors for ``texts``; ``model`` is the id that was asked for. Raises what the run raises."""
    offer = await offered(desk.face, desk.caller, model)
    return await desk.face.installation.embed(
        desk.caller, texts, use_case=offer.use_case, model=offer.model, label=desk.label
    )


def as_wanted(vector: Any, encoding: str | None) -> list[float] | str:
    """A vector as the asker wants it."""
    return base64.b64encode(packed([vector])).decode() if encoding == "base64" else list(vector)


def usage(texts: list[str], made: Embedded) -> EmbeddingUsage:
    """Tokens as the engine counted them, else words."""
    read = sum(len(text.split()) for text in texts) if made.read is None else made.read
    return EmbeddingUsage(prompt_tokens=read, total_tokens=read)
