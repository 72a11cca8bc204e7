"""``/mistral/v1/chat/completions``: a question to documents, with thinking and references."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.types import ASGIApp

from casemate.api.body import json_object
from casemate.api.caller import bearer
from casemate.api.calling import shape_of
from casemate.api.mistral import response as shapes
from casemate.api.mistral.libraries import collection
from casemate.api.mistral.models import offered
from casemate.api.mistral.request import ChatRequest
from casemate.api.openai.response import FinishReason, finish_reason
from casemate.api.resource import Face, json_response
from casemate.api.running import Desk, ToldStream
from casemate.errors import CasemateError
from casemate.reasoning import event as run

_DONE = b"data: [DONE]\n\n"


async def completions(face: Face, request: Request) -> ASGIApp:
    """Ask, and answer whole or as a stream."""
    caller = await bearer(face.installation, request)
    body = await json_object(request)
    desk = Desk.of(face, request, caller)
    chat, asked = await asking(desk, body)
    return await told(desk, chat, asked)


async def told(desk: Desk, chat: ChatRequest, asked: run.Request) -> ASGIApp:
    """The answer, whole or as a stream."""
    if chat.stream:
        stream = ChunkStream(
            named(chat), asked, created=desk.created, site=desk.site, untold=chat.untold
        )
        return ToldStream(partial(desk.tell, asked), stream.render, stream.broken)
    return json_response(shapes.encode(await answered(desk, chat, asked)))


async def asking(desk: Desk, body: dict[str, Any]) -> tuple[ChatRequest, run.Request]:
    """What a body asks for. Raises InvalidParameter, UnknownModel, NotFound (library), TooLarge."""
    chat = ChatRequest.parse(body)
    offer = await offered(desk.face, desk.caller, named(chat))
    names = await names_of(desk, chat.libraries)
    return chat, chat.to_run(offer, names, desk.face.settings)


async def names_of(desk: Desk, libraries: list[str]) -> tuple[str, ...]:
    """Names of the collections with these ids. Raises NotFound."""
    return tuple([(await collection(desk.face, desk.caller, id)).name for id in libraries])


def named(chat: ChatRequest) -> str:
    """What was asked: a model, or an agent."""
    return chat.model or chat.agent_id or ""


async def answered(desk: Desk, chat: ChatRequest, asked: run.Request) -> shapes.Completion:
    """The completion. Raises what the run raises."""
    created = desk.created
    admitted, finished = await desk.answer(asked)
    return shapes.completion(
        finished,
        use_case=admitted.use_case,
        asked=asked,
        model=named(chat),
        created=created,
        site=desk.site,
        untold=chat.untold,
    )


class ChunkStream:
    """Renders the events of one run as chunks: thinking, then text, each with its references."""

    def __init__(
        self,
        model: str,
        asked: run.Request,
        *,
        created: int,
        site: str,
        untold: tuple[type[run.Event], ...] = (),
    ) -> None:
        self._model = model
        self._asked = asked
        self._created = created
        self._site = site
        self._untold = untold
        self._id = ""
        self._use_case = ""
        self._cited: list[int] = []  # numbers that the next text refers to
        self._told = False  # whether any text has been sent
        self._calls = 0

    def render(self, event: run.Event) -> bytes:
        """The chunks for one event, or nothing."""
        if isinstance(event, self._untold):
            return b""
        match event:
            case run.Admitted():
                self._id = event.run
                self._use_case = event.use_case
                return self._chunk(shapes.Delta(role="assistant", content=""))
            case run.Thinking():
                return self._chunk(shapes.Delta(content=[shapes.thought(event.text)]))
            case run.Cited():
                self._cited.append(event.citation.number)
            case run.Text():
                return self._text(event.text)
            case run.Called():
                call = shape_of(event.call, self._calls)
                self._calls += 1
                return self._chunk(shapes.Delta(tool_calls=[call]))
            case run.Finished():
                return self._last(event)
        return b""

    def broken(self, problem: CasemateError) -> bytes:
        """The end of a stream whose run breaks off: a chunk that every client can read."""
        told = shapes.ProblemShape(what=problem.what, next=problem.next)
        delta = shapes.Delta(metadata=shapes.Metadata(error=told))
        return self._chunk(delta, "error") + _DONE

    def _text(self, text: str) -> bytes:
        self._told = True
        frames = self._chunk(shapes.Delta(content=text))
        if self._cited:
            reference = shapes.ReferenceChunk(reference_ids=shapes.distinct(self._cited))
            frames += self._chunk(shapes.Delta(content=[reference]))
            self._cited.clear()
        return frames

    def _last(self, finished: run.Finished) -> bytes:
        shape = shapes.casemate_shape(finished, self._use_case, self._site)
        delta = shapes.Delta(
            content="" if self._told or self._calls else finished.answer.text,
            metadata=shapes.Metadata(casemate=shape),
        )
        usage = shapes.usage(self._asked, finished)
        return self._chunk(delta, finish_reason(finished), usage) + _DONE

    def _chunk(
        self,
        delta: shapes.Delta,
        finish_reason: FinishReason | Literal["error"] | None = None,
        usage: shapes.Usage | UnsetType = UNSET,
    ) -> bytes:
        chunk = shapes.Chunk(
            id=self._id,
            created=self._created,
            model=self._model,
            choices=[shapes.ChunkChoice(delta=delta, finish_reason=finish_reason)],
            usage=usage,
        )
        return b"data: " + shapes.encode(chunk) + b"\n\n"
