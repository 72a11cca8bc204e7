"""``/v1/completions``: a prompt and its continuation, as programs asked before there were chats.

With a ``suffix`` it is what stands between the two, from models that were trained to fill in. Each
prompt is a question of its own, and each of its choices a run.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.requests import Request
from starlette.types import ASGIApp

from casemate.api.body import checked_question, checked_text, converted, json_object
from casemate.api.caller import bearer
from casemate.api.errors import InvalidParameter
from casemate.api.openai import response as shapes
from casemate.api.openai.chat import DONE, again, broken
from casemate.api.openai.models import offered
from casemate.api.openai.request import (
    MOST_CHOICES,
    Seed,
    Stop,
    StreamOptions,
    Temperature,
    Tokens,
    TopP,
    stops,
)
from casemate.api.parameters import OPENAI_COMPLETIONS, UNSUPPORTED
from casemate.api.resource import Face, json_response
from casemate.api.running import Desk, EventStream
from casemate.reasoning import event as run

_MOST_PROMPTS = 32


class CompletionRequest(Struct, frozen=True):
    """The parameters that have an effect."""

    model: str
    prompt: str | Annotated[list[str], Meta(min_length=1, max_length=_MOST_PROMPTS)]
    suffix: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    seed: Seed | None = None
    max_tokens: Tokens | None = None
    n: Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None = None
    stop: Stop | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None

    @classmethod
    def parse(cls, body: dict[str, Any]) -> CompletionRequest:
        """Read a request. Raises InvalidParameter, naming the parameter that cannot be honoured."""
        OPENAI_COMPLETIONS.check(body)
        prompt = body.get("prompt")
        if isinstance(prompt, list) and prompt and not isinstance(prompt[0], str):
            raise InvalidParameter(
                "prompt",
                "A prompt is text here, not tokens: each model has its own.",
                "Send strings.",
                UNSUPPORTED,
            )
        read = converted(body, cls)
        if len(read.prompts) * (read.n or 1) > _MOST_PROMPTS:
            raise InvalidParameter("n", "That is too many answers at once.", "Ask for fewer.")
        return read

    @property
    def prompts(self) -> list[str]:
        """The prompts, one after the other."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    def to_run(self, prompt: str, use_case: str, model: str | None, face: Face) -> run.Request:
        """The run that one prompt asks for. Raises InvalidParameter, TooLarge."""
        suffix = checked_text(self.suffix or "", face.settings, "suffix") or None
        check = checked_question if suffix is None else checked_text
        return run.Request(
            question=check(prompt, face.settings, "prompt"),
            suffix=suffix,
            use_case=use_case,
            model=model,
            temperature=self.temperature,
            top_p=self.top_p or None,
            seed=self.seed,
            max_tokens=self.max_tokens,
            stop=stops(self.stop),
            logprobs=self.logprobs,
        )


class TextLogprobs(Struct, frozen=True, kw_only=True):
    """Tokens, and the natural logarithms of their probabilities."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(Struct, frozen=True, kw_only=True):
    """One continuation."""

    index: int
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: Literal["stop", "length"] | None


class TextCompletion(Struct, frozen=True, kw_only=True):
    """OpenAI's "text_completion" object, whole or a chunk of it."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: shapes.Usage | UnsetType | None = UNSET
    casemate: shapes.CasemateShape | UnsetType = UNSET


async def create(face: Face, request: Request) -> ASGIApp:
    """Continue, whole or as a stream."""
    caller = await bearer(face.installation, request)
    body = await json_object(request)
    desk = Desk.of(face, request, caller)
    wanted, asked = await asking(desk, body)
    if wanted.stream:
        stream = _TextStream(desk, wanted, asked)
        return EventStream(stream.events(), stream.render, broken)
    return json_response(shapes.encode(await answered(desk, wanted, asked)))


async def asking(
    desk: Desk, body: dict[str, Any]
) -> tuple[CompletionRequest, Sequence[run.Request]]:
    """The runs that a body asks for. Raises InvalidParameter, UnknownModel, TooLarge."""
    wanted = CompletionRequest.parse(body)
    offer = await offered(desk.face, desk.caller, wanted.model)
    return wanted, [
        again(wanted.to_run(prompt, offer.use_case, offer.model, desk.face), number)
        for prompt in wanted.prompts
        for number in range(wanted.n or 1)
    ]


async def answered(
    desk: Desk, wanted: CompletionRequest, asked: Sequence[run.Request]
) -> TextCompletion:
    """The continuations. Raises what their runs raise."""
    created, ended = desk.created, []
    for one in asked:
        admitted, finished = await desk.answer(one)
        ended.append(finished)
    runs = [one.run for one in ended] if len(ended) > 1 else None
    return TextCompletion(
        id=f"cmpl-{ended[0].run}",
        created=created,
        model=wanted.model,
        choices=[
            TextChoice(
                index=index,
                text=(asked[index].question if wanted.echo else "") + finished.answer.text,
                logprobs=_logprobs(finished.tokens),
                finish_reason="length" if shapes.bounded(finished) else "stop",
            )
            for index, finished in enumerate(ended)
        ],
        usage=shapes.total(
            [shapes.usage(one, finished) for one, finished in zip(asked, ended, strict=True)]
        ),
        casemate=shapes.casemate_shape(ended[0], admitted.use_case, runs),
    )


def _logprobs(tokens: Sequence[run.Probable]) -> TextLogprobs | None:
    if not tokens:
        return None
    offsets, place = [], 0
    for one in tokens:
        offsets.append(place)
        place += len(one.text)
    return TextLogprobs(
        tokens=[one.text for one in tokens],
        token_logprobs=[one.logprob for one in tokens],
        top_logprobs=[dict(one.likeliest) for one in tokens],
        text_offset=offsets,
    )


class _TextStream:
    """Renders the events of runs as chunks of text, one run after the other."""

    def __init__(self, desk: Desk, wanted: CompletionRequest, asked: Sequence[run.Request]) -> None:
        self._desk = desk
        self._wanted = wanted
        self._asked = asked
        self._created = desk.created
        self._id = ""
        self._use_case = ""
        self._index = -1
        self._told = False
        self._usage: list[shapes.Usage] = []

    async def events(self) -> AsyncGenerator[run.Event, None]:
        """The events of all runs."""
        for one in self._asked:
            async with aclosing(self._desk.events(one)) as events:
                async for event in events:
                    yield event

    def render(self, event: run.Event) -> bytes:
        """The chunks for one event, or nothing."""
        match event:
            case run.Admitted():
                self._id = self._id or f"cmpl-{event.run}"
                self._use_case = event.use_case
                self._index += 1
                self._told = False
                if self._wanted.echo:
                    return self._chunk(self._asked[self._index].question)
            case run.Text():
                self._told = True
                return self._chunk(event.text, _logprobs(event.tokens))
            case run.Finished():
                return self._last(event)
        return b""

    def _last(self, finished: run.Finished) -> bytes:
        self._usage.append(shapes.usage(self._asked[self._index], finished))
        choice = TextChoice(
            index=self._index,
            text="" if self._told else finished.answer.text,
            finish_reason="length" if shapes.bounded(finished) else "stop",
        )
        shape = shapes.casemate_shape(finished, self._use_case)
        frames = self._frame([choice], casemate=shape)
        if len(self._usage) < len(self._asked):
            return frames
        if self._with_usage:
            frames += self._frame([], usage=shapes.total(self._usage))
        return frames + DONE

    @property
    def _with_usage(self) -> bool:
        options = self._wanted.stream_options
        return options is not None and bool(options.include_usage)

    def _chunk(self, text: str, logprobs: TextLogprobs | None = None) -> bytes:
        choice = TextChoice(index=self._index, text=text, logprobs=logprobs, finish_reason=None)
        return self._frame([choice])

    def _frame(
        self,
        choices: list[TextChoice],
        casemate: shapes.CasemateShape | UnsetType = UNSET,
        usage: shapes.Usage | None = None,
    ) -> bytes:
        chunk = TextCompletion(
            id=self._id,
            created=self._created,
            model=self._wanted.model,
            choices=choices,
            usage=usage if self._with_usage else UNSET,
            casemate=casemate,
        )
        return b"data: " + shapes.encode(chunk) + b"\n\n"
