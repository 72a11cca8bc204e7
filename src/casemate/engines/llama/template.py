"""Mistral's instruct templates: a conversation as control tokens and text.

A control token is a number here and never text, so that text which looks like one ("[INST]",
"</s>") stays text: it is tokenised without them. Versions 3, 7, 11 and 13 of Tekken models.
Source: the behaviour of mistral-common 1.13, against which the conformance tests hold every token.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from casemate.engines.engine import Chunk, Message, Tool, ToolCall
from casemate.errors import Invalid, Unsupported

Piece = int | str
"""A control token's id, or text in which no control token counts."""


class Template(Protocol):
    """How a model wants a conversation written."""

    def pieces(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[Piece]:
        """The conversation, ready for the model's next turn.

        Raises Invalid if it makes no sense, Unsupported if the template cannot say it.
        """


class MistralTemplate:
    """A Mistral instruct template. ``name``: one of "mistral-v3", "-v7", "-v11", "-v13".

    ``controls``: the model's control tokens, name → id. Texts of one message are joined as they
    are, neighbouring messages of one role by a blank line. Before version 13 the models know no
    thinking: an assistant's is left out.
    """

    def __init__(self, name: str, controls: Mapping[str, int]) -> None:
        if name not in _VERSIONS:
            raise Unsupported(f"There is no template “{name}”.")
        self._version = _VERSIONS[name]
        needed = [token for token, since in _NEEDED.items() if since <= self._version]
        missing = [token for token in needed if token not in controls]
        if missing:
            raise Invalid(
                f"The model's vocabulary lacks {', '.join(missing)}, which {name} needs.",
                "Name the template that the model was trained with in its profile.",
            )
        self._ids = dict(controls)

    def pieces(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[Piece]:
        """The conversation, ready for the model's next turn."""
        turns = list(self._turns(messages))
        asked = [number for number, turn in enumerate(turns) if turn.role == "user"]
        told = asked[0 if self._version >= 13 else -1] if asked and tools else None
        system = _system_text(messages) if self._version < 7 else ""
        written: list[Piece] = [self._ids["<s>"]]
        for number, turn in enumerate(turns):
            if number == told:
                written += self._between("[AVAILABLE_TOOLS]", _tools_text(tools))
            before = f"{system}\n\n" if system and number == asked[-1] else ""
            written += self._turn(turn, before)
        return [
            sound(piece) if isinstance(piece, str) else piece for piece in written if piece != ""
        ]

    def _turns(self, messages: Sequence[Message]) -> Iterator[_Turn]:
        """Messages as turns: neighbours of one role joined, system prompts apart or left out."""
        apart = self._version >= 7
        order: list[str] = []  # of the calls that tool results may answer
        seen = False
        for role, group in groupby(messages, key=lambda message: message.role):
            several = list(group)
            if role == "system" and apart:
                turns = [self._said([message]) for message in several]
            elif role == "system":
                turns = []
            elif role == "tool":
                turns = [self._said([message]) for message in several]
                if self._version >= 11:
                    turns = _ordered(turns, order)
                order = []
            elif role in ("user", "assistant"):
                turns = [self._said(several)]
                order += [call.id for call in turns[0].calls]
            else:
                raise Invalid(f"There is no role “{role}”.")
            if turns and not seen and not apart and role != "user":
                yield _Turn("user", ())
            seen = seen or bool(turns)
            yield from turns
        if not seen:
            yield _Turn("user", ())

    def _said(self, messages: Sequence[Message]) -> _Turn:
        first = messages[0]
        chunks: list[Chunk] = []
        for message in messages:
            begun = bool(chunks) and chunks[-1].kind == "text"
            for chunk in _joined(message.chunks):
                if chunk.kind == "thinking" and not self._keeps_thinking(message.role):
                    continue
                if chunk.kind == "text" and chunks and chunks[-1].kind == "text":
                    between = "\n\n" if begun else ""
                    chunks[-1] = Chunk(chunks[-1].text + between + chunk.text)
                else:
                    chunks.append(chunk)
                begun = False
        calls = tuple(call for message in messages for call in message.calls)
        return _Turn(first.role, tuple(chunks), calls, first.answers)

    def _keeps_thinking(self, role: str) -> bool:
        if role not in ("system", "assistant"):
            raise Invalid(f"A message of role “{role}” holds no thinking.")
        if self._version >= 13:
            if "[THINK]" in self._ids and "[/THINK]" in self._ids:
                return True
            raise Unsupported("The model's vocabulary has no tokens for thinking.")
        if role == "system":
            raise Unsupported("System prompts with thinking need the template mistral-v13.")
        return False

    def _turn(self, turn: _Turn, before: str) -> Iterator[Piece]:
        if turn.role == "user":
            yield from self._between("[INST]", before + turn.text)
        elif turn.role == "system":
            yield self._ids["[SYSTEM_PROMPT]"]
            yield from self._chunks(turn.chunks)
            yield self._ids["[/SYSTEM_PROMPT]"]
        elif turn.role == "tool":
            yield from self._result(turn)
        else:
            yield from self._answer(turn)

    def _answer(self, turn: _Turn) -> Iterator[Piece]:
        if not turn.chunks and not turn.calls:
            raise Invalid("An assistant's message is empty.", "Leave it out.")
        if turn.chunks and turn.calls and self._version < 7:
            raise Unsupported(
                "Text and tool calls in one turn need a later template than mistral-v3."
            )
        if all(chunk.kind == "text" for chunk in turn.chunks):
            yield turn.text.rstrip(" ")
        else:
            yield from self._chunks(turn.chunks)
        if turn.calls and self._version < 11:
            yield self._ids["[TOOL_CALLS]"]
            yield _json([_call(call) for call in turn.calls])
        elif turn.calls:
            for call in turn.calls:
                yield from self._call(call)
        yield self._ids["</s>"]

    def _call(self, call: ToolCall) -> Iterator[Piece]:
        yield self._ids["[TOOL_CALLS]"]
        yield call.name
        if self._version < 13 and _has_id(call):
            yield self._ids["[CALL_ID]"]
            yield call.id
        yield self._ids["[ARGS]"]
        yield _json(_arguments(call))

    def _result(self, turn: _Turn) -> Iterator[Piece]:
        if self._version < 7:
            content = parsed(turn.text or "{}")
            yield from self._between(
                "[TOOL_RESULTS]", _json({"content": content, "call_id": turn.answers})
            )
            return
        yield self._ids["[TOOL_RESULTS]"]
        if self._version < 13:
            yield turn.answers
            yield self._ids["[TOOL_CONTENT]"]
        yield turn.text
        yield self._ids["[/TOOL_RESULTS]"]

    def _chunks(self, chunks: Iterable[Chunk]) -> Iterator[Piece]:
        for chunk in chunks:
            if chunk.kind == "thinking":
                yield from self._between("[THINK]", chunk.text)
            else:
                yield chunk.text

    def _between(self, begin: str, text: str) -> tuple[Piece, ...]:
        return self._ids[begin], text, self._ids[f"[/{begin[1:]}"]


_VERSIONS = {"mistral-v3": 3, "mistral-v7": 7, "mistral-v11": 11, "mistral-v13": 13}

# Control token → first version that uses it. Thinking is optional: not every model has it.
_NEEDED = {
    "<s>": 3,
    "</s>": 3,
    "[INST]": 3,
    "[/INST]": 3,
    "[AVAILABLE_TOOLS]": 3,
    "[/AVAILABLE_TOOLS]": 3,
    "[TOOL_RESULTS]": 3,
    "[/TOOL_RESULTS]": 3,
    "[TOOL_CALLS]": 3,
    "[SYSTEM_PROMPT]": 7,
    "[/SYSTEM_PROMPT]": 7,
    "[TOOL_CONTENT]": 7,
    "[ARGS]": 11,
    "[CALL_ID]": 11,
}


@dataclass(frozen=True)
class _Turn:
    """What one role says in one go: no two neighbouring chunks are text, none of text is empty."""

    role: str
    chunks: tuple[Chunk, ...]
    calls: tuple[ToolCall, ...] = ()
    answers: str = ""

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)


def _joined(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Neighbouring texts as one, empty ones left out; thinking stays in its own pieces."""
    text = ""
    for chunk in chunks:
        if chunk.kind == "text":
            text += chunk.text
            continue
        if chunk.kind != "thinking":
            raise Invalid(f"There is no kind of text “{chunk.kind}”.")
        if text:
            yield Chunk(text)
        text = ""
        yield chunk
    if text:
        yield Chunk(text)


def _ordered(results: list[_Turn], calls: Sequence[str]) -> list[_Turn]:
    """Results in the order of their calls; those that answer none of them last."""
    asked = {call: number for number, call in enumerate(calls)}
    given = {result.answers: number for number, result in enumerate(results)}
    return sorted(
        results, key=lambda turn: (asked.get(turn.answers, len(calls)), given[turn.answers])
    )


def _system_text(messages: Sequence[Message]) -> str:
    system = [message for message in messages if message.role == "system"]
    if any(chunk.kind != "text" for message in system for chunk in message.chunks):
        raise Unsupported("System prompts with thinking need the template mistral-v13.")
    return "\n\n".join(message.content for message in system if message.content)


def _tools_text(tools: Sequence[Tool]) -> str:
    return _json([tool_object(tool) for tool in tools])


def tool_object(tool: Tool) -> dict[str, Any]:
    """A tool as models read it: OpenAI's shape, which Mistral's is too."""
    parameters = parsed(tool.parameters)
    if not isinstance(parameters, dict):
        raise Invalid(f"The parameters of the tool “{tool.name}” are no JSON object.")
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _call(call: ToolCall) -> dict[str, Any]:
    written = {"name": call.name, "arguments": _arguments(call)}
    return written | ({"id": call.id} if _has_id(call) else {})


def _has_id(call: ToolCall) -> bool:
    return call.id not in ("", "null")


def _arguments(call: ToolCall) -> Any:
    return parsed(call.arguments or "{}")


def parsed(text: str) -> Any:
    """The JSON value that ``text`` is, or the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _json(value: Any) -> str:
    # msgspec would write other spaces than the models were trained with.
    return json.dumps(value, ensure_ascii=False)


def sound(text: str) -> str:
    """``text`` without halves of characters, which JSON can smuggle in and UTF-8 cannot say."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
