"""Entries of a conversation, as Mistral's clients send and read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from casemate.api.errors import InvalidParameter
from casemate.api.mistral.request import Chunk, Message, text_of
from casemate.api.mistral.response import TextChunk, ThinkChunk, thought, told_of
from casemate.api.parameters import UNSUPPORTED
from casemate.reasoning.conversation import Exchange, Said
from casemate.reasoning.event import Answer, Call, Event, Finished, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

_SILENT = ("tool.execution", "agent.handoff", "UNKNOWN")


class GivenEntry(Struct, frozen=True):
    """A message, a call of a function, or its result."""

    type: str = "message.input"
    role: str | None = None
    content: str | list[Chunk] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    result: str | None = None


class ToolReferenceChunk(Struct, frozen=True, kw_only=True, tag="tool_reference"):
    """The document that the text before it rests on, and the words."""

    tool: Literal["document_library"] = "document_library"
    title: str
    url: str
    description: str


EntryContent = str | list[TextChunk | ThinkChunk | ToolReferenceChunk]


class InputEntry(Struct, frozen=True, kw_only=True, tag="message.input"):
    """A message that was sent."""

    id: str
    object: Literal["entry"] = "entry"
    role: str
    content: str
    created_at: str


class OutputEntry(Struct, frozen=True, kw_only=True, tag="message.output"):
    """A message that was answered."""

    id: str
    object: Literal["entry"] = "entry"
    role: Literal["assistant"] = "assistant"
    content: EntryContent
    model: str | None
    agent_id: str | UnsetType = UNSET
    created_at: str
    completed_at: str


class CallEntry(Struct, frozen=True, kw_only=True, tag="function.call"):
    """A function of the asker's that is called."""

    id: str
    object: Literal["entry"] = "entry"
    tool_call_id: str
    name: str
    arguments: str
    created_at: str


class ResultEntry(Struct, frozen=True, kw_only=True, tag="function.result"):
    """What a function gave."""

    id: str
    object: Literal["entry"] = "entry"
    tool_call_id: str
    result: str
    created_at: str


Entry = InputEntry | OutputEntry | CallEntry | ResultEntry


def turns_of(inputs: str | list[GivenEntry]) -> list[Said]:
    """What is new in a conversation, as turns. Raises InvalidParameter."""
    if isinstance(inputs, str):
        return [("user", inputs)]
    turns: list[Said] = []
    for number, entry in enumerate(inputs):
        place = f"inputs[{number}]"
        if entry.type in ("message.input", "message.output"):
            answered = entry.type == "message.output" or entry.role == "assistant"
            role = "assistant" if answered else "user"
            message = Message(role=role, content=entry.content)  # type: ignore[arg-type]
            turns.append((role, text_of(place, message)))
        elif entry.type == "function.result":
            answers = entry.tool_call_id or ""
            turns.append(Turn(role="tool", text=entry.result or "", answers=answers))
        elif entry.type == "function.call":
            call = Call(
                id=entry.tool_call_id or "",
                name=entry.name or "",
                arguments=entry.arguments if isinstance(entry.arguments, str) else "{}",
            )
            last = turns[-1] if turns else None
            if isinstance(last, Turn) and last.role == "assistant":
                turns[-1] = replace(last, calls=(*last.calls, call))
            else:
                turns.append(Turn(role="assistant", calls=(call,)))
        elif entry.type not in _SILENT:
            what = f"An entry of the type {entry.type[:40]!r} is not understood here."
            raise InvalidParameter(f"{place}.type", what, "Send messages.", UNSUPPORTED)
    return turns


def given_entries(turns: Sequence[Said], run: str, created: str) -> list[Entry]:
    """Turns that were sent, as entries."""
    entries: list[Entry] = []
    for number, turn in enumerate(turns):
        id = f"in_{run}_{number}"
        if not isinstance(turn, Turn):
            role, text = turn
            entries.append(InputEntry(id=id, role=role, content=text, created_at=created))
        elif turn.role == "tool":
            entries.append(
                ResultEntry(id=id, tool_call_id=turn.answers, result=turn.text, created_at=created)
            )
        else:
            entries += [_call(f"{id}_{n}", call, created) for n, call in enumerate(turn.calls)]
    return entries


def output_entries(
    finished: Finished,
    *,
    model: str | None,
    agent: str | None,
    created: str,
    site: str,
    untold: tuple[type[Event], ...],
) -> list[Entry]:
    """What was answered, as entries, without events that are ``untold``."""
    answer = finished.answer
    entries: list[Entry] = []
    if answer.text or not answer.calls:
        entries.append(
            OutputEntry(
                id=f"msg_{finished.run}",
                content=content_of(told_of(answer, untold), site),
                model=model,
                agent_id=agent or UNSET,
                created_at=created,
                completed_at=created,
            )
        )
    return entries + [
        _call(f"fc_{finished.run}_{number}", call, created)
        for number, call in enumerate(answer.calls)
    ]


def entries_of(
    exchange: Exchange,
    model: str | None,
    agent: str | None,
    site: str,
    untold: tuple[type[Event], ...],
) -> list[Entry]:
    """All entries of an exchange."""
    new = exchange.turns[len(exchange.turns) - exchange.given :]
    return [
        *given_entries(new, exchange.run, exchange.created),
        *output_entries(
            exchange.finished,
            model=model,
            agent=agent,
            created=exchange.created,
            site=site,
            untold=untold,
        ),
    ]


def content_of(answer: Answer, site: str) -> EntryContent:
    """The content: a string where it has neither thinking nor references."""
    chunks: list[TextChunk | ThinkChunk | ToolReferenceChunk] = []
    if answer.thinking:
        chunks.append(thought(answer.thinking))
    told = 0
    for sentence in answer.sentences:
        numbers = list(dict.fromkeys(answer.citations[i].number for i in sentence.citations))
        if not numbers:
            continue
        markers = "".join(f" [{number}]" for number in numbers)
        end = sentence.end
        if answer.text.startswith(markers, end):
            end += len(markers)
        chunks.append(TextChunk(text=answer.text[told:end]))
        chunks += [reference(answer, index, site) for index in sentence.citations]
        told = end
    if not chunks:
        return answer.text
    if answer.text[told:]:
        chunks.append(TextChunk(text=answer.text[told:]))
    return chunks


def reference(answer: Answer, index: int, site: str) -> ToolReferenceChunk:
    """Where a citation leads."""
    cited = answer.citations[index]
    source = answer.sources[cited.source]
    page = f", page {source.page}" if source.page is not None else ""
    address = f"{site}/documents/{quote(source.document_id, safe='')}"
    return ToolReferenceChunk(
        title=source.document + page,
        url=f"{address}?start={cited.start}&end={cited.end}",
        description=cited.quote,
    )


def _call(id: str, call: Call, created: str) -> CallEntry:
    return CallEntry(
        id=id,
        tool_call_id=call.id,
        name=call.name,
        arguments=call.arguments,
        created_at=created,
    )
