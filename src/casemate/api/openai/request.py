"""A chat completion as it is asked for, and what of it becomes the question.

Parameters that do no harm when they are ignored are accepted. Those that would change the meaning
of the answer are refused by name: nobody shall believe they got what they did not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from casemate.api.body import checked_question, converted
from casemate.api.errors import InvalidParameter
from casemate.reasoning.event import Request
from casemate.settings import Settings

_ROLES = {"developer": "system"}  # OpenAI's newer word for the same
_CODE = "unsupported_parameter"


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
        for name, (harmless, next) in _REFUSED.items():
            if name in body and not harmless(body[name]):
                raise InvalidParameter(name, f"{name} is not supported here.", next, _CODE)
        messages = body.get("messages")
        for number, message in enumerate(messages if isinstance(messages, list) else ()):
            _refuse_tools(number, message)
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
        last = max((i for i, (role, _) in enumerate(turns) if role == "user"), default=None)
        if last is None:
            raise InvalidParameter("messages", "There is no user message.", "Add the question.")
        if any(role == "assistant" for role, _ in turns[last:]):
            raise InvalidParameter(
                "messages",
                "The last turn is the assistant's, and an answer cannot be continued here.",
                "End with a user message.",
            )
        question = checked_question(turns.pop(last)[1], settings, f"messages[{last}].content")
        return Request(
            question=question,
            use_case=use_case,
            model=model,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            history=tuple(turns),
        )


def _refuse_tools(number: int, message: object) -> None:
    if not isinstance(message, dict):
        return
    if message.get("role") in ("tool", "function"):
        name = f"messages[{number}].role"
    elif message.get("tool_calls") or message.get("function_call"):
        name = f"messages[{number}].tool_calls"
    else:
        return
    raise InvalidParameter(name, "Tools are not supported here.", "Leave their turns out.", _CODE)


def _text(number: int, message: Message) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    for place, part in enumerate(message.content):
        if part.type != "text" or part.text is None:
            raise InvalidParameter(
                f"messages[{number}].content[{place}]",
                "Only text parts are understood.",
                "Add the file as a document and ask about that.",
                _CODE,
            )
    return "\n".join(part.text or "" for part in message.content)


def _absent(value: object) -> bool:
    return not value  # null, false, 0, "" and empty lists and objects ask for nothing


def _one(value: object) -> bool:
    return value is None or (value == 1 and value is not True)


def _no_choice(value: object) -> bool:
    return value in (None, "none", "auto")


def _text_format(value: object) -> bool:
    return value is None or (isinstance(value, dict) and value.get("type") == "text")


def _text_only(value: object) -> bool:
    return value in (None, [], ["text"])


_WITHOUT = "Leave it out."
_REFUSED: dict[str, tuple[Callable[[object], bool], str]] = {
    "n": (_one, "Ask once for each answer."),
    "tools": (_absent, _WITHOUT),
    "tool_choice": (_no_choice, _WITHOUT),
    "functions": (_absent, _WITHOUT),
    "function_call": (_no_choice, _WITHOUT),
    "response_format": (_text_format, 'Leave it out, or use {"type": "text"}.'),
    "logprobs": (_absent, _WITHOUT),
    "top_logprobs": (_absent, _WITHOUT),
    "logit_bias": (_absent, _WITHOUT),
    "stop": (_absent, "Leave it out and cut the answer yourself."),
    "audio": (_absent, _WITHOUT),
    "modalities": (_text_only, 'Leave it out, or use ["text"].'),
    "moderation": (_absent, _WITHOUT),
    "web_search_options": (_absent, "Nothing here searches the web; add documents instead."),
    # vLLM's and llama.cpp's ways to prescribe the form of an answer
    "guided_json": (_absent, _WITHOUT),
    "guided_regex": (_absent, _WITHOUT),
    "guided_choice": (_absent, _WITHOUT),
    "guided_grammar": (_absent, _WITHOUT),
    "structured_outputs": (_absent, _WITHOUT),
    "grammar": (_absent, _WITHOUT),
    "json_schema": (_absent, _WITHOUT),
}
