"""``/v1/chat/completions``: a question to documents, in the words of a chat."""

from __future__ import annotations

from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.types import ASGIApp

from casemate.api.body import json_object
from casemate.api.caller import bearer
from casemate.api.errors import openai_body
from casemate.api.metrics import metrics_of
from casemate.api.openai import response as shapes
from casemate.api.openai.models import offered
from casemate.api.openai.request import ChatRequest
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
    asked = chat.to_run(offer.use_case, offer.model, face.settings)
    created = int(face.now())
    site = face.settings.public_url.rstrip("/")
    events = metrics_of(request.scope).observed(face.installation.ask(caller, asked))
    if chat.stream:
        stream = ChunkStream(chat, asked, created=created, site=site)
        return EventStream(events, stream.render, _broken)
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
    """Renders the events of one run as chunks."""

    def __init__(self, chat: ChatRequest, asked: run.Request, *, created: int, site: str) -> None:
        self._chat = chat
        self._asked = asked
        self._created = created
        self._site = site
        self._id = ""
        self._use_case = ""
        self._told = False  # whether any text has been sent

    def render(self, event: run.Event) -> bytes:
        """The chunks for one event, or nothing."""
        match event:
            case run.Admitted():
                self._id = shapes.completion_id(event.run)
                self._use_case = event.use_case
                return self._chunk(shapes.Delta(role="assistant", content=""))
            case run.Thinking():
                return self._chunk(shapes.Delta(reasoning=event.text, reasoning_content=event.text))
            case run.Text():
                self._told = True
                return self._chunk(shapes.Delta(content=event.text))
            case run.Finished():
                return self._last(event)
        return b""

    def _last(self, finished: run.Finished) -> bytes:
        answer = finished.answer
        # The places of the markers are known only now that the text is whole.
        delta = shapes.Delta(
            content=None if self._told else answer.text,
            annotations=shapes.citations_of(answer, self._site) or None,
        )
        choice = shapes.ChunkChoice(delta=delta, finish_reason=shapes.finish_reason(finished))
        frames = _frame(self._shape([choice], shapes.casemate_shape(finished, self._use_case)))
        if self._chat.with_usage:
            usage = shapes.usage(self._asked, answer)
            frames += _frame(self._shape([], usage=usage))
        return frames + _DONE

    def _chunk(self, delta: shapes.Delta) -> bytes:
        return _frame(self._shape([shapes.ChunkChoice(delta=delta)]))

    def _shape(
        self,
        choices: list[shapes.ChunkChoice],
        casemate: shapes.CasemateShape | UnsetType = UNSET,
        usage: shapes.Usage | None = None,
    ) -> shapes.Chunk:
        return shapes.Chunk(
            id=self._id,
            created=self._created,
            model=self._chat.model,
            choices=choices,
            # null in every chunk but the last, as OpenAI does when usage was asked for
            usage=usage if self._chat.with_usage else UNSET,
            casemate=casemate,
        )


def _frame(chunk: shapes.Chunk) -> bytes:
    return b"data: " + shapes.encode(chunk) + b"\n\n"


def _broken(problem: CasemateError) -> bytes:
    return b"data: " + openai_body(problem) + b"\n\n"
