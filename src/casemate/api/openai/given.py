"""What a response is asked with: text, or items of a conversation."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from casemate.api.body import converted
from casemate.api.calling import Function, choice_of, most_calls, offered, schema_of
from casemate.api.conversation import question_of
from casemate.api.errors import InvalidParameter
from casemate.api.openai.request import Temperature, Tokens, TopP
from casemate.api.parameters import OPENAI_RESPONSES, UNSUPPORTED
from casemate.reasoning.conversation import Said
from casemate.reasoning.event import Call, Offered, Request, Turn
from casemate.settings import Settings

_ROLES = {"developer": "system"}
_TEXTS = ("input_text", "output_text", "text", "refusal")
# What was answered once and says nothing to a model when it comes back.
_SILENT = ("reasoning", "file_search_call", "compaction")


class GivenPart(Struct, frozen=True):
    """A piece of a message. Only text is understood."""

    type: str
    text: str | None = None
    refusal: str | None = None


class GivenItem(Struct, frozen=True):
    """A message, a call of a function, or its result. Others say nothing, or are refused."""

    type: str | None = None
    id: str | None = None
    role: str | None = None
    content: str | list[GivenPart] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[GivenPart] | None = None

    @property
    def kind(self) -> str:
        """What it is: a message, unless it says otherwise."""
        return self.type or "message"


class ResponseTool(Struct, frozen=True):
    """A function of the asker's, or a search in collections."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    vector_store_ids: list[str] | None = None
    filters: dict[str, Any] | None = None
    max_num_results: int | None = None


class TextConfig(Struct, frozen=True):
    """The form of the answer."""

    format: dict[str, Any] | None = None


class GivenConversation(Struct, frozen=True):
    """A conversation that is gone on with."""

    id: str


class ResponseRequest(Struct, frozen=True):
    """The parameters that have an effect."""

    model: str
    input: str | Annotated[list[GivenItem], Meta(min_length=1)]
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | GivenConversation | None = None
    background: bool | None = None
    stream: bool | None = None
    store: bool | None = None
    tools: Annotated[list[ResponseTool], Meta(max_length=128)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    include: list[str] | None = None
    metadata: dict[str, str] | None = None
    max_output_tokens: Tokens | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None

    @classmethod
    def parse(cls, body: dict[str, Any]) -> ResponseRequest:
        """Read a request. Raises InvalidParameter, naming the parameter that cannot be honoured."""
        OPENAI_RESPONSES.check(body)
        read = converted(body, cls)
        for number, tool in enumerate(read.tools or ()):
            _check_tool(tool, f"tools[{number}]")
        if read.talk is not None and read.previous_response_id is not None:
            raise InvalidParameter(
                "conversation", "previous_response_id says what goes before, too.", "Give one."
            )
        return read

    @property
    def talk(self) -> str | None:
        """The id of the conversation that it is part of."""
        named = self.conversation
        return named.id if isinstance(named, GivenConversation) else named

    @property
    def keeps(self) -> bool:
        """Whether it is to be found again: OpenAI keeps what nobody says otherwise about."""
        return self.store is not False

    @property
    def searches(self) -> bool:
        """Whether the asker named collections to search in, and is told of searches."""
        return any(tool.type == "file_search" for tool in self.tools or ())

    @property
    def stores(self) -> list[str]:
        """Ids of the collections to search in; none: all that the use case has."""
        return [id for tool in self.tools or () for id in tool.vector_store_ids or ()]

    @property
    def functions(self) -> tuple[Offered, ...]:
        """The tools that the asker runs."""
        return tuple(
            offered(
                Function(tool.name or "", tool.description, tool.parameters), f"tools[{number}]"
            )
            for number, tool in enumerate(self.tools or ())
            if tool.type == "function"
        )

    @property
    def given(self) -> list[GivenItem]:
        """The items that are new."""
        if isinstance(self.input, str):
            return [GivenItem(role="user", content=self.input)]
        return self.input

    def to_run(
        self,
        turns: list[Said],
        *,
        use_case: str,
        model: str | None,
        collections: tuple[str, ...],
        settings: Settings,
    ) -> Request:
        """The run that is asked for by the whole conversation. Raises as ``question_of`` does."""
        asked: list[Said] = list(turns)
        if self.instructions:
            asked.insert(0, ("system", self.instructions))
        question, history, since = question_of(asked, settings, "input")
        wants = "message.output_text.logprobs" in (self.include or ())
        return Request(
            question=question,
            use_case=use_case,
            model=model,
            collections=collections,
            temperature=self.temperature,
            top_p=self.top_p or None,
            max_tokens=self.max_output_tokens,
            history=history,
            since=since,
            tools=self.functions,
            choice="auto" if _of_search(self.tool_choice) else choice_of(self.tool_choice),
            most_calls=most_calls(self.parallel_tool_calls),
            schema=schema_of(self.text.format if self.text else None, "text.format"),
            logprobs=(self.top_logprobs or 0) if wants or self.top_logprobs else None,
        )


def turns_of(items: list[GivenItem]) -> list[Said]:
    """Items as turns; calls that follow each other are one turn. Raises InvalidParameter."""
    turns: list[Said] = []
    for number, item in enumerate(items):
        place = f"input[{number}]"
        if item.kind in _SILENT:
            continue
        if item.kind == "function_call":
            call = Call(
                id=item.call_id or "", name=item.name or "", arguments=item.arguments or "{}"
            )
            last = turns[-1] if turns else None
            if isinstance(last, Turn) and last.role == "assistant":
                turns[-1] = msgspec.structs.replace(last, calls=(*last.calls, call))
            elif isinstance(last, tuple) and last[0] == "assistant":  # it said something first
                turns[-1] = Turn(role="assistant", text=last[1], calls=(call,))
            else:
                turns.append(Turn(role="assistant", calls=(call,)))
        elif item.kind == "function_call_output":
            text = _text(item.output, place + ".output")
            turns.append(Turn(role="tool", text=text, answers=item.call_id or ""))
        elif item.kind == "message" and item.role in ("system", "developer", "user", "assistant"):
            text = _text(item.content, place + ".content")
            turns.append((_ROLES.get(item.role, item.role), text))
        else:
            raise InvalidParameter(
                f"{place}.{'role' if item.kind == 'message' else 'type'}",
                "An item of this kind is not understood here.",
                "Send messages, calls of functions and their results.",
                UNSUPPORTED,
            )
    return turns


def _text(content: str | list[GivenPart] | None, place: str) -> str:
    if not isinstance(content, list):
        return content or ""
    for number, part in enumerate(content):
        if part.type not in _TEXTS:
            raise InvalidParameter(
                f"{place}[{number}]",
                "Only text is understood.",
                "Add the file to a vector store, and ask about that.",
                UNSUPPORTED,
            )
    return "\n".join(part.text for part in content if part.text is not None)


def _check_tool(tool: ResponseTool, place: str) -> None:
    if tool.type not in ("function", "file_search"):
        raise InvalidParameter(
            place,
            f"A tool of the type {tool.type[:40]!r} is not supported here.",
            "Use function and file_search.",
            UNSUPPORTED,
        )
    if tool.type == "file_search":
        if not tool.vector_store_ids:
            raise InvalidParameter(f"{place}.vector_store_ids", "It is missing.", "Name some.")
        if tool.filters:
            raise InvalidParameter(
                f"{place}.filters",
                "Documents have no attributes here.",
                "Leave it out.",
                UNSUPPORTED,
            )


def _of_search(choice: str | dict[str, Any] | None) -> bool:
    """Documents are searched in every run that has some, asked for or not."""
    return isinstance(choice, dict) and choice.get("type") == "file_search"
