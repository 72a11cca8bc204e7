"""``/v1/chat/completions``: a question to documents or to a model, in the words of a chat."""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.structs import replace
from starlette.requests import Request
from starlette.types import ASGIApp

from casemate.api.body import json_object
from casemate.api.caller import bearer
from casemate.api.calling import shape_of
from casemate.api.errors import openai_body
from casemate.api.openai import response as shapes
from casemate.api.openai.models import offered
from casemate.api.openai.request import ChatRequest
from casemate.api.resource import Face, json_response
from casemate.api.running import Desk, ToldStream
from casemate.errors import CasemateError
from casemate.reasoning import event as run
from casemate.reasoning.relay import Tell

DONE = b"data: [DONE]\n\n"


async def completions(face: Face, request: Request) -> ASGIApp:
    """Ask, and answer whole or as a stream."""
    caller = await bearer(face.installation, request)
    body = await json_object(request)
    desk = Desk.of(face, request, caller)
    chat, asked = await asking(desk, body)
    if chat.stream:
        stream = ChunkStream(chat, asked, created=desk.created, site=desk.site)
        return ToldStream(partial(stream.follow, desk), stream.render, broken)
    return json_response(shapes.encode(await answered(desk, chat, asked)))


async def asking(desk: Desk, body: dict[str, Any]) -> tuple[ChatRequest, run.Request]:
    """What a body asks for. Raises InvalidParameter, UnknownModel, TooLarge."""
    chat = ChatRequest.parse(body)
    offer = await offered(desk.face, desk.caller, chat.model)
    return chat, chat.to_run(offer.use_case, offer.model, desk.face.settings)


async def answered(desk: Desk, chat: ChatRequest, asked: run.Request) -> shapes.Completion:
    """The completion: each of its choices is a run. Raises what the runs raise."""
    created, answers = desk.created, []
    for number in range(chat.choices):
        admitted, finished = await desk.answer(again(asked, number))
        answers.append(finished)
    return shapes.completion(
        answers,
        use_case=admitted.use_case,
        asked=asked,
        model=chat.model,
        created=created,
        site=desk.site,
    )


def again(asked: run.Request, number: int) -> run.Request:
    """The same question for another answer: with a seed, with the next one."""
    if asked.seed is None or not number:
        return asked
    seed = asked.seed + number
    return replace(asked, seed=seed if seed < 2**53 else seed - 2**53)


class ChunkStream:
    """Renders the events of runs as chunks: one run for each choice, one after the other."""

    def __init__(self, chat: ChatRequest, asked: run.Request, *, created: int, site: str) -> None:
        self._chat = chat
        self._asked = asked
        self._created = created
        self._site = site
        self._id = ""
        self._use_case = ""
        self._index = -1
        self._runs: list[str] = []
        self._usage: list[shapes.Usage] = []
        self._told = False  # whether any text of this choice has been sent
        self._calls = 0

    async def follow(self, desk: Desk, tell: Tell) -> None:
        """Tell the events of all runs."""
        for number in range(self._chat.choices):
            await desk.tell(again(self._asked, number), tell)

    def render(self, event: run.Event) -> bytes:
        """The chunks for one event, or nothing."""
        match event:
            case run.Admitted():
                self._id = self._id or shapes.completion_id(event.run)
                self._use_case = event.use_case
                self._runs.append(event.run)
                self._index += 1
                self._told, self._calls = False, 0
                return self._chunk(shapes.Delta(role="assistant", content=""))
            case run.Thinking():
                return self._chunk(shapes.Delta(reasoning=event.text, reasoning_content=event.text))
            case run.Text():
                self._told = True
                return self._chunk(
                    shapes.Delta(content=event.text), shapes.logprobs_of(event.tokens)
                )
            case run.Called():
                call = shape_of(event.call, self._calls)
                self._calls += 1
                return self._chunk(shapes.Delta(tool_calls=[call]))
            case run.Finished():
                return self._last(event)
        return b""

    def _last(self, finished: run.Finished) -> bytes:
        answer = finished.answer
        # The places of the markers are known only now that the text is whole.
        delta = shapes.Delta(
            content=None if self._told or answer.calls else answer.text,
            annotations=shapes.citations_of(answer, self._site) or None,
        )
        choice = shapes.ChunkChoice(
            index=self._index, delta=delta, finish_reason=shapes.finish_reason(finished)
        )
        self._usage.append(shapes.usage(self._asked, finished))
        runs = self._runs if self._chat.choices > 1 else None
        frames = _frame(
            self._shape([choice], shapes.casemate_shape(finished, self._use_case, runs))
        )
        if len(self._usage) < self._chat.choices:
            return frames
        if self._chat.with_usage:
            frames += _frame(self._shape([], usage=shapes.total(self._usage)))
        return frames + DONE

    def _chunk(self, delta: shapes.Delta, logprobs: shapes.Logprobs | None = None) -> bytes:
        choice = shapes.ChunkChoice(index=self._index, delta=delta, logprobs=logprobs)
        return _frame(self._shape([choice]))

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


def broken(problem: CasemateError) -> bytes:
    """The end of a stream whose run breaks off."""
    return b"data: " + openai_body(problem) + b"\n\n"
