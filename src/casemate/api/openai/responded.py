"""A response as it is shown: whole, going on, failed, or cut."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from casemate.api.openai import response as chat
from casemate.api.openai.given import ResponseRequest
from casemate.api.openai.output import Item
from casemate.reasoning import event as run


class InputDetails(Struct, frozen=True, kw_only=True):
    """Nothing is kept between two questions."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputDetails(Struct, frozen=True, kw_only=True):
    """How much was thinking."""

    reasoning_tokens: int


class ResponseUsage(Struct, frozen=True, kw_only=True):
    """How much was read and written."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class ErrorShape(Struct, frozen=True, kw_only=True):
    """Why a response failed."""

    code: str
    message: str


class Incomplete(Struct, frozen=True, kw_only=True):
    """Why it ended before its end."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class ConversationName(Struct, frozen=True, kw_only=True):
    """The conversation that a response is part of."""

    id: str


class ResponseShape(Struct, frozen=True, kw_only=True):
    """OpenAI's "response" object; ``casemate`` as in a chat completion."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None
    status: str
    error: ErrorShape | None
    incomplete_details: Incomplete | None
    instructions: str | None
    metadata: dict[str, str]
    model: str
    output: list[Item]
    parallel_tool_calls: bool
    previous_response_id: str | None
    temperature: float | None
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_p: float | None
    top_logprobs: int | None
    max_output_tokens: int | None
    background: bool
    conversation: ConversationName | None
    store: bool
    text: dict[str, Any]
    truncation: Literal["disabled"] = "disabled"
    usage: ResponseUsage | None
    casemate: chat.CasemateShape | None


def ended(
    wanted: ResponseRequest,
    asked: run.Request,
    finished: run.Finished,
    *,
    created: int,
    completed: int,
    use_case: str,
    output: list[Item],
) -> ResponseShape:
    """A response that has come to its end, or to its bound of tokens."""
    counted = chat.usage(asked, finished)
    cut_off = chat.bounded(finished)
    return shown(
        wanted,
        id=id_of(finished.run),
        created=created,
        completed=completed,
        status="incomplete" if cut_off else "completed",
        incomplete=Incomplete() if cut_off else None,
        output=output,
        usage=ResponseUsage(
            input_tokens=counted.prompt_tokens,
            input_tokens_details=InputDetails(),
            output_tokens=counted.completion_tokens,
            output_tokens_details=OutputDetails(
                reasoning_tokens=counted.completion_tokens_details.reasoning_tokens
            ),
            total_tokens=counted.total_tokens,
        ),
        casemate=chat.casemate_shape(finished, use_case),
    )


def shown(
    wanted: ResponseRequest,
    *,
    id: str,
    created: int,
    status: str,
    output: list[Item],
    completed: int | None = None,
    error: ErrorShape | None = None,
    incomplete: Incomplete | None = None,
    usage: ResponseUsage | None = None,
    casemate: chat.CasemateShape | None = None,
) -> ResponseShape:
    """A response as far as it has come; ``created`` and ``completed``: seconds since 1970."""
    given_format = wanted.text.format if wanted.text else None
    return ResponseShape(
        id=id,
        created_at=created,
        completed_at=completed,
        status=status,
        error=error,
        incomplete_details=incomplete,
        instructions=wanted.instructions,
        metadata=wanted.metadata or {},
        model=wanted.model,
        output=output,
        parallel_tool_calls=wanted.parallel_tool_calls is not False,
        previous_response_id=wanted.previous_response_id,
        temperature=wanted.temperature,
        tool_choice=wanted.tool_choice or "auto",
        tools=[
            {name: value for name, value in msgspec.to_builtins(tool).items() if value is not None}
            for tool in wanted.tools or ()
        ],
        top_p=wanted.top_p,
        top_logprobs=wanted.top_logprobs,
        max_output_tokens=wanted.max_output_tokens,
        background=bool(wanted.background),
        conversation=None if wanted.talk is None else ConversationName(id=wanted.talk),
        store=wanted.keeps,
        text={"format": given_format or {"type": "text"}},
        usage=usage,
        casemate=casemate,
    )


def failure(problem: object) -> ErrorShape:
    """Why a response failed."""
    return ErrorShape(code="server_error", message=str(problem))


def id_of(run: str) -> str:
    """OpenAI's form of a run's id."""
    return "resp_" + run.removeprefix("r_")


def run_of(id: str) -> str:
    """The reverse of ``id_of``."""
    return "r_" + id.removeprefix("resp_")
