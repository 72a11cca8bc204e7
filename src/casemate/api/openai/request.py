"""A chat completion as it is asked for, and what of it becomes the question."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from casemate.api.body import converted
from casemate.api.calling import (
    CallShape,
    FunctionTool,
    answering,
    calling,
    choice_of,
    most_calls,
    offered,
    schema_of,
)
from casemate.api.conversation import question_of
from casemate.api.errors import InvalidParameter
from casemate.api.parameters import OPENAI_CHAT, UNSUPPORTED
from casemate.reasoning.conversation import Said
from casemate.reasoning.event import Request
from casemate.settings import Settings

MOST_CHOICES = 8
_ROLES = {"developer": "system"}  # OpenAI's newer word for the same

Seed = Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
TopP = Annotated[float, Meta(ge=0, le=1)]
Tokens = Annotated[int, Meta(ge=1, le=1_000_000)]
Stop = str | Annotated[list[str], Meta(max_length=16)]


class Part(msgspec.Struct, frozen=True):
    """A piece of a message. Only text is understood."""

    type: str
    text: str | None = None


class Message(msgspec.Struct, frozen=True):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[CallShape] | None = None
    tool_call_id: str | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    """What else a stream holds."""

    include_usage: bool | None = None


class ChatRequest(msgspec.Struct, frozen=True):
    """The parameters that have an effect."""

    model: str
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    seed: Seed | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    n: Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None = None
    stop: Stop | None = None
    tools: Annotated[list[FunctionTool], Meta(max_length=128)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None

    @classmethod
    def parse(cls, body: dict[str, Any]) -> ChatRequest:
        """Read a request. Raises InvalidParameter, naming the parameter that cannot be honoured."""
        OPENAI_CHAT.check(body)
        return converted(body, cls)

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def choices(self) -> int:
        """How many answers are wanted."""
        return self.n or 1

    def to_run(self, use_case: str, model: str | None, settings: Settings) -> Request:
        """The run that is asked for: the last user message is the question, the rest history.

        Raises InvalidParameter if there is no question or it is not the end; TooLarge.
        """
        turns = [_turn(number, message) for number, message in enumerate(self.messages)]
        question, history, since = question_of(turns, settings)
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidParameter(
                "top_logprobs", "top_logprobs needs logprobs.", "Set logprobs to true."
            )
        return Request(
            question=question,
            use_case=use_case,
            model=model,
            temperature=self.temperature,
            top_p=self.top_p or None,  # nothing is drawn from nothing
            seed=self.seed,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            history=history,
            since=since,
            tools=tuple(
                offered(tool.function, f"tools[{number}].function")
                for number, tool in enumerate(self.tools or ())
            ),
            choice=choice_of(self.tool_choice),
            most_calls=most_calls(self.parallel_tool_calls),
            schema=schema_of(self.response_format),
            stop=stops(self.stop),
            logprobs=(self.top_logprobs or 0) if self.logprobs else None,
        )


def stops(stop: str | list[str] | None) -> tuple[str, ...]:
    """The texts before which an answer ends."""
    texts = [stop] if isinstance(stop, str) else stop or []
    return tuple(text for text in texts if text)


def _turn(number: int, message: Message) -> Said:
    text = _text(number, message)
    if message.role == "tool":
        return answering(text, message.tool_call_id, f"messages[{number}]")
    if message.role == "assistant" and message.tool_calls:
        return calling(text, message.tool_calls)
    return (_ROLES.get(message.role, message.role), text)


def _text(number: int, message: Message) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    for place, part in enumerate(message.content):
        if part.type not in ("text", "refusal") or (part.type == "text" and part.text is None):
            raise InvalidParameter(
                f"messages[{number}].content[{place}]",
                "Only text parts are understood.",
                "Add the file as a document and ask about that.",
                UNSUPPORTED,
            )
    return "\n".join(part.text for part in message.content if part.text is not None)
