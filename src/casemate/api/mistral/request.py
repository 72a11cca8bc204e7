"""A chat completion as Mistral's clients ask for it, and what of it becomes the question.

Parameters that do no harm when they are ignored are accepted: ``prompt_mode`` and
``reasoning_effort`` (a model thinks here as its approved profile says), ``parallel_tool_calls``
(there are no calls), ``prediction``, ``prompt_cache_key``, ``service_tier``, ``metadata``. Those
that would change the meaning of the answer are refused by name: nobody shall believe they got what
they did not. Of the tools, ``document_library`` is understood: the question is put to those
collections only.
"""

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
from casemate.api.openai.models import Offer
from casemate.reasoning.event import Request
from casemate.settings import Settings

_ADD = "Add it as a document, and ask about that."
# Chunks that a client may hold and that are not text. Ignored where they say nothing to a model:
# earlier thinking is not read again, and a reference stands beside its words.
_SILENT = ("thinking", "reference", "tool_reference")
_REFUSED_CHUNKS = {
    "image_url": _ADD,
    "document_url": "Nothing here fetches from an address. " + _ADD,
    "file": _ADD,
    "input_audio": "Write it down, and ask in words.",
    "resource": _ADD,
    "resource_link": "Nothing here fetches from an address. " + _ADD,
}


class Chunk(msgspec.Struct, frozen=True):
    """A piece of a message."""

    type: str = "text"
    text: str | None = None


class Message(msgspec.Struct, frozen=True):
    """One message of the conversation."""

    role: Literal["system", "user", "assistant"]
    content: str | list[Chunk] | None = None


class LibraryTool(msgspec.Struct, frozen=True):
    """Collections to search in, by id."""

    type: Literal["document_library"]
    library_ids: Annotated[list[str], Meta(min_length=1)]


class ChatRequest(msgspec.Struct, frozen=True):
    """The parameters that have an effect."""

    model: str
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    random_seed: Annotated[int, Meta(ge=0, le=2**53 - 1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    tools: list[LibraryTool] | None = None

    @classmethod
    def parse(cls, body: dict[str, Any]) -> ChatRequest:
        """Read a request. Raises InvalidParameter, naming the parameter that cannot be honoured."""
        check(body, _REFUSED)
        return converted(body, cls)

    @property
    def libraries(self) -> list[str]:
        """Ids of the collections to search in; none: all that the use case has."""
        return [id for tool in self.tools or () for id in tool.library_ids]

    def to_run(self, offer: Offer, collections: tuple[str, ...], settings: Settings) -> Request:
        """The run that is asked for: the last user message is the question, the rest history.

        ``collections``: names of those that ``libraries`` stands for. Raises InvalidParameter
        if there is no question or it is not the end; TooLarge.
        """
        turns = [
            (message.role, _text(number, message)) for number, message in enumerate(self.messages)
        ]
        question, history = question_of(turns, settings)
        return Request(
            question=question,
            use_case=offer.use_case,
            model=offer.model,
            collections=collections,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.random_seed,
            max_tokens=self.max_tokens,
            history=history,
        )


def _text(number: int, message: Message) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    said = [
        _said(f"messages[{number}].content[{place}]", message.role, chunk)
        for place, chunk in enumerate(message.content)
    ]
    if message.role == "assistant":
        # An answer is cut into chunks wherever a reference stands: joined, it is as it was.
        return "".join(said)
    return "\n".join(one for one in said if one)


def _said(name: str, role: str, chunk: Chunk) -> str:
    if chunk.type == "text" and chunk.text is not None:
        return chunk.text
    if chunk.type in _SILENT:
        return ""
    next = _REFUSED_CHUNKS.get(chunk.type)
    if next is None and role == "assistant":
        return ""  # something that was answered once, and that neither side knows
    what = f"A chunk of the type {chunk.type[:40]!r} is not understood here."
    raise InvalidParameter(name, what, next or "Send text.", UNSUPPORTED)


def _text_format(value: object) -> bool:
    return value is None or (isinstance(value, dict) and value.get("type") in (None, "text"))


def _libraries(value: object) -> bool:
    # Their own bounds are checked with everything else.
    return not value or (
        isinstance(value, list)
        and all(isinstance(one, dict) and one.get("type") == "document_library" for one in value)
        and not any(one.get("tool_configuration") for one in value)
    )


def _reasoning(value: object) -> bool:
    return value in (None, "reasoning")


def _no_penalty(value: object) -> bool:
    return value is None or value == 1 or value == 0


_REFUSED: Refused = {
    "n": (one, "Ask once for each answer."),
    "stop": (absent, "Leave it out and cut the answer yourself."),
    "response_format": (_text_format, 'Leave it out, or use {"type": "text"}.'),
    "tools": (
        _libraries,
        "Only document_library, without more, is; a use case searches by itself.",
    ),
    "tool_choice": (no_choice, WITHOUT),
    "prompt_mode": (_reasoning, 'Leave it out, or use "reasoning".'),
    "safe_prompt": (absent, "Leave it out, and say in a system message what you want."),
    "guardrails": (absent, "Leave it out, and check the answer yourself."),
    "presence_penalty": (absent, WITHOUT),
    "frequency_penalty": (absent, WITHOUT),
    "repetition_penalty": (_no_penalty, WITHOUT),
    "min_tokens": (absent, WITHOUT),
    "top_k": (absent, "Use temperature and top_p."),
    "logprobs": (absent, WITHOUT),
    "top_logprobs": (absent, WITHOUT),
    "prompt_logprobs": (absent, WITHOUT),
    "top_prompt_logprobs": (absent, WITHOUT),
}
