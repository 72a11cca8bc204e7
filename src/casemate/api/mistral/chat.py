"""``/mistral/v1/chat/completions``: a question to documents, with thinking and references."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.types import ASGIApp

from casemate.api.body import json_object
from casemate.api.caller import bearer
from casemate.api.metrics import metrics_of
from casemate.api.mistral import response as shapes
from casemate.api.mistral.libraries import collection
from casemate.api.mistral.models import offered
from casemate.api.mistral.request import ChatRequest
from casemate.api.openai.response import finish_reason
from casemate.api.resource import Face, json_response
from casemate.api.running import EventStream, concluded
from casemate.errors import CasemateError
from casemate.reasoning import event as run

_DONE = b"data: [DONE]\n\n"


async def completions(face: Face, request: Request) -> ASGIApp:
    """Ask, and answer whole or as a stream."""
    caller = await bearer(face.installation, request)
    chat = ChatRequest.parse(await json_object(request))
    offer = await offered(face, caller, chat.model)
    within = [await collection(face, caller, id) for id in chat.libraries]
    asked = chat.to_run(offer, tuple(one.name for one in within), face.settings)
    created = int(face.now())
    site = face.settings.public_url.rstrip("/")
    events = metrics_of(request.scope).observed(face.installation.ask(caller, asked))
    if chat.stream:
        stream = ChunkStream(chat.model, asked, created=created, site=site)
        return EventStream(events, stream.render, stream.broken)
    admitted, finished = await concluded(request, events)
    whole = shapes.completion(
        finished,
        use_case=admitted.use_case,
        asked=asked,
        model=chat.model,
        created=created,
        site=site,
    )
    return json_response(shapes.encode(whole))


class ChunkStream:
    """Renders the events of one run as chunks: thinking, then text, each with its references."""

    def __init__(self, model: str, asked: run.Request, *, created: int, site: str) -> None:
        self._model = model
        self._asked = asked
        self._created = created
        self._site = site
        self._id = ""
        self._use_case = ""
        self._cited: list[int] = []  # numbers that the next text refers to
        self._told = False  # whether any text has been sent

    def render(self, event: run.Event) -> bytes:
        """The chunks for one event, or nothing."""
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
            content="" if self._told else finished.answer.text,
            metadata=shapes.Metadata(casemate=shape),
        )
        usage = shapes.usage(self._asked, finished.answer)
        return self._chunk(delta, finish_reason(finished), usage) + _DONE

    def _chunk(
        self,
        delta: shapes.Delta,
        finish_reason: Literal["stop", "length", "error"] | None = None,
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
