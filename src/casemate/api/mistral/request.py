"""A chat completion as Mistral's clients ask for it, and what of it becomes the question.

What becomes of each parameter is in ``api.parameters``. Of the tools, functions are the asker's to
run, and with ``document_library`` the question is put to those collections only.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from casemate.api.body import converted
from casemate.api.calling import (
    CallShape,
    Function,
    answering,
    calling,
    choice_of,
    most_calls,
    offered,
    schema_of,
)
from casemate.api.conversation import question_of
from casemate.api.errors import InvalidParameter
from casemate.api.openai.models import Offer
from casemate.api.openai.request import Stop, Temperature, Tokens, stops
from casemate.api.parameters import MISTRAL_AGENT_CHAT, MISTRAL_CHAT, UNSUPPORTED
from casemate.reasoning.conversation import Said
from casemate.reasoning.event import Event, Offered, Request, Thinking
from casemate.settings import Settings

_ADD = "Add it as a document, and ask about that."
# Chunks that a client may hold and that are not text. Ignored where they say nothing to a model:
# earlier thinking is not read again, and a reference stands beside its words.
_SILENT = ("thinking", "reference", "tool_reference", "UNKNOWN")
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

    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[Chunk] | None = None
    tool_calls: list[CallShape] | None = None
    tool_call_id: str | None = None


class ToolShape(msgspec.Struct, frozen=True):
    """A function of the asker's, or collections to search in, by id."""

    type: Literal["function", "document_library"] = "function"
    function: Function | None = None
    library_ids: Annotated[list[str], Meta(min_length=1)] | None = None


Seed = Annotated[int, Meta(ge=0, le=2**53 - 1)]
MistralTopP = Annotated[float, Meta(gt=0, le=1)]


class ChatRequest(msgspec.Struct, frozen=True):
    """The parameters that have an effect. One of ``model`` and ``agent_id`` is there."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    model: str | None = None
    agent_id: str | None = None
    temperature: Temperature | None = None
    top_p: MistralTopP | None = None
    random_seed: Seed | None = None
    max_tokens: Tokens | None = None
    stop: Stop | None = None
    tools: Annotated[list[ToolShape], Meta(max_length=128)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None

    @classmethod
    def parse(cls, body: dict[str, Any]) -> ChatRequest:
        """Read a request. Raises InvalidParameter, naming the parameter that cannot be honoured."""
        MISTRAL_CHAT.check(body)
        read = converted(body, cls)
        if read.model is None:
            raise InvalidParameter("model", "model is missing.", "Name one.")
        return read

    @classmethod
    def parse_for_agent(cls, body: dict[str, Any]) -> ChatRequest:
        """Read a request to an agent. Raises InvalidParameter."""
        MISTRAL_AGENT_CHAT.check(body)
        read = converted(body, cls)
        if read.agent_id is None:
            raise InvalidParameter("agent_id", "agent_id is missing.", "Name one.")
        return read

    @property
    def libraries(self) -> list[str]:
        """Ids of the collections to search in; none: all that the use case has."""
        return libraries_of(self.tools)

    @property
    def untold(self) -> tuple[type[Event], ...]:
        """Events that nobody wants to be told of: of thinking, where no effort is to be made."""
        return untold_of(self.reasoning_effort)

    def to_run(self, offer: Offer, collections: tuple[str, ...], settings: Settings) -> Request:
        """The run that is asked for: the last user message is the question, the rest history.

        ``collections``: names of those that ``libraries`` stands for. Raises InvalidParameter
        if there is no question or it is not the end; TooLarge.
        """
        turns = turns_of(self.messages)
        question, history, since = question_of(turns, settings)
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
            since=since,
            tools=functions_of(self.tools),
            choice=choice_of(self.tool_choice),
            most_calls=most_calls(self.parallel_tool_calls),
            schema=schema_of(self.response_format),
            stop=stops(self.stop),
        )


def untold_of(reasoning_effort: str | None) -> tuple[type[Event], ...]:
    """Events that are not told. A model thinks as its approved profile says; with "none" the
    thinking stays in the record, and a content is text that clients can read who know no chunks.
    """
    return (Thinking,) if reasoning_effort == "none" else ()


def turns_of(messages: list[Message]) -> list[Said]:
    """Messages as turns. Raises InvalidParameter for what is not understood."""
    return [_turn(number, message) for number, message in enumerate(messages)]


def libraries_of(tools: list[ToolShape] | None) -> list[str]:
    """Ids of the collections to search in."""
    return [id for tool in tools or () for id in tool.library_ids or ()]


def functions_of(tools: list[ToolShape] | None) -> tuple[Offered, ...]:
    """The tools that the asker runs. Raises InvalidParameter."""
    found = []
    for number, tool in enumerate(tools or ()):
        if tool.type == "function":
            if tool.function is None:
                raise InvalidParameter(f"tools[{number}].function", "It is missing.", "Add it.")
            found.append(offered(tool.function, f"tools[{number}].function"))
        elif tool.library_ids is None:
            raise InvalidParameter(f"tools[{number}].library_ids", "It is missing.", "Add it.")
    return tuple(found)


def _turn(number: int, message: Message) -> Said:
    text = text_of(f"messages[{number}]", message)
    if message.role == "tool":
        return answering(text, message.tool_call_id, f"messages[{number}]")
    if message.role == "assistant" and message.tool_calls:
        return calling(text, message.tool_calls)
    return (message.role, text)


def text_of(name: str, message: Message) -> str:
    """The text of a message; ``name``: its place. Raises InvalidParameter for other content."""
    if not isinstance(message.content, list):
        return message.content or ""
    said = [
        _said(f"{name}.content[{place}]", message.role, chunk)
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
