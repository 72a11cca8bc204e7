"""A chat completion as it is asked for, and what of it becomes the question."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from casemate.api.body import converted
from casemate.api.conversation import (
    UNSUPPORTED,
    WITHOUT,
    Refused,
    absent,
    check,
    no_choice,
    one,
    question_of,
)
from casemate.api.errors import InvalidParameter
from casemate.reasoning.event import Request
from casemate.settings import Settings

_ROLES = {"developer": "system"}  # OpenAI's newer word for the same


class Part(msgspec.Struct, frozen=True):
    """A piece of a message. Only text is understood."""

    type: str
    text: str | None = None


class Message(msgspec.Struct, frozen=True):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    """What else a stream holds."""

    include_usage: bool | None = None


class ChatRequest(msgspec.Struct, frozen=True):
    """The parameters that have an effect."""

    model: str
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None

    @classmethod
    def parse(cls, body: dict[str, Any]) -> ChatRequest:
        """Read a request. Raises InvalidParameter, naming the parameter that cannot be honoured."""
        check(body, _REFUSED)
        return converted(body, cls)

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def to_run(self, use_case: str, model: str | None, settings: Settings) -> Request:
        """The run that is asked for: the last user message is the question, the rest history.

        Raises InvalidParameter if there is no question or it is not the end; TooLarge.
        """
        turns = [
            (_ROLES.get(message.role, message.role), _text(number, message))
            for number, message in enumerate(self.messages)
        ]
        question, history = question_of(turns, settings)
        return Request(
            question=question,
            use_case=use_case,
            model=model,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            history=history,
        )


def _text(number: int, message: Message) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    for place, part in enumerate(message.content):
        if part.type != "text" or part.text is None:
            raise InvalidParameter(
                f"messages[{number}].content[{place}]",
                "Only text parts are understood.",
                "Add the file as a document and ask about that.",
                UNSUPPORTED,
            )
    return "\n".join(part.text or "" for part in message.content)


def _text_format(value: object) -> bool:
    return value is None or (isinstance(value, dict) and value.get("type") == "text")


def _text_only(value: object) -> bool:
    return value in (None, [], ["text"])


_REFUSED: Refused = {
    "n": (one, "Ask once for each answer."),
    "tools": (absent, WITHOUT),
    "tool_choice": (no_choice, WITHOUT),
    "functions": (absent, WITHOUT),
    "function_call": (no_choice, WITHOUT),
    "response_format": (_text_format, 'Leave it out, or use {"type": "text"}.'),
    "logprobs": (absent, WITHOUT),
    "top_logprobs": (absent, WITHOUT),
    "logit_bias": (absent, WITHOUT),
    "stop": (absent, "Leave it out and cut the answer yourself."),
    "audio": (absent, WITHOUT),
    "modalities": (_text_only, 'Leave it out, or use ["text"].'),
    "moderation": (absent, WITHOUT),
    "web_search_options": (absent, "Nothing here searches the web; add documents instead."),
    # vLLM's and llama.cpp's ways to prescribe the form of an answer
    "guided_json": (absent, WITHOUT),
    "guided_regex": (absent, WITHOUT),
    "guided_choice": (absent, WITHOUT),
    "guided_grammar": (absent, WITHOUT),
    "structured_outputs": (absent, WITHOUT),
    "grammar": (absent, WITHOUT),
    "json_schema": (absent, WITHOUT),
}
