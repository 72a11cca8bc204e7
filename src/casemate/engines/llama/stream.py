"""From what llama.cpp streams to tokens: which are thinking, which call a tool, which are text.

Control tokens are known by their ids, never by how they are spelled: a model that writes
"[THINK]" as letters writes letters. llama.cpp holds back the bytes of a character until it is
whole; id and log-probability are then those of the token that completed it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from casemate.engines.engine import Token, ToolCall

OPENS, CLOSES = "<think>", "</think>"


@dataclass(frozen=True)
class Marks:
    """Ids of the control tokens that structure an answer; None where the vocabulary has none."""

    think: int | None = None
    end_think: int | None = None
    calls: int | None = None
    call_id: int | None = None
    arguments: int | None = None

    @classmethod
    def of(cls, controls: Mapping[str, int]) -> Marks:
        """Those that Mistral's models have, from control tokens by name."""
        names = ("[THINK]", "[/THINK]", "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]")
        return cls(*map(controls.get, names))


class Reading:
    """Turns events into tokens.

    ``controls``: every control token, name → id; none of them is ever part of a text. ``kind``:
    what the answer begins with. ``new_call``: an id for the call of this number.
    """

    def __init__(
        self, controls: Mapping[str, int], kind: str, new_call: Callable[[int], str]
    ) -> None:
        marks = Marks.of(controls)
        self._names = {id: name for name, id in controls.items()}
        self._think = marks.think
        self._end_think = marks.end_think
        self._call_marks = {
            id: part
            for id, part in (
                (marks.calls, "name"),
                (marks.call_id, "id"),
                (marks.arguments, "arguments"),
            )
            if id is not None
        }
        self._kind = kind
        self._new_call = new_call
        self._made = 0
        self._parts: dict[str, str] | None = None  # of the call that is being written
        self._part = "name"

    def read(self, text: str, id: int, logprob: float | None) -> list[Token]:
        """The tokens that are complete after this event."""
        name = self._names.get(id)
        if name is not None:
            text = text.removesuffix(name)
        if id in self._call_marks:
            return self._call(text, id, logprob)
        if id == self._think or id == self._end_think:
            # half a character may come with the mark; it belongs to what was before
            made = [Token(text, self._kind, id=id, logprob=logprob)] if text else []
            if self._parts is not None:
                made = self.end()
            self._kind = "thinking" if id == self._think else "text"
            return made
        if self._parts is not None:
            self._parts[self._part] += text
            return []
        return [Token(text, self._kind, id=id, logprob=logprob)] if text else []

    def end(self) -> list[Token]:
        """The tokens that were waiting for the end."""
        parts, self._parts = self._parts, None
        if parts is None:
            return []
        return [Token("", "call", call=call) for call in self._calls(parts)] or [
            Token(text, self._kind) for text in ["".join(parts.values())] if text
        ]

    def _call(self, text: str, id: int, logprob: float | None) -> list[Token]:
        part = self._call_marks[id]
        if part == "name":
            made = self.end()
            if text:
                made.append(Token(text, self._kind, id=id, logprob=logprob))
            self._kind = "text"
            self._parts, self._part = {"name": "", "id": "", "arguments": ""}, part
            return made
        if self._parts is not None:
            self._parts[self._part] += text
            self._part = part
            return []
        return [Token(text, self._kind, id=id, logprob=logprob)] if text else []

    def _calls(self, parts: dict[str, str]) -> list[ToolCall]:
        """The calls that were written: name and arguments, or the older list of both."""
        name = parts["name"].strip()
        if self._part == "arguments" and name:
            return [self._made_call(parts["id"].strip(), name, parts["arguments"].strip() or "{}")]
        try:
            listed = msgspec.json.decode(parts["name"], type=list[_Listed])
        except msgspec.DecodeError:
            return []
        return [self._made_call(one.id, one.name, bytes(one.arguments).decode()) for one in listed]

    def _made_call(self, id: str, name: str, arguments: str) -> ToolCall:
        self._made += 1
        return ToolCall(id or self._new_call(self._made - 1), name, arguments)


class _Listed(msgspec.Struct):
    """A call as templates before version 11 write it."""

    name: str
    arguments: msgspec.Raw
    id: str = ""


class Spoken:
    """Thinking that is written as text, between <think> and </think>, at the begin of an answer.

    ``begun``: the prompt itself ended with <think>.
    """

    def __init__(self, begun: bool) -> None:
        self._state = "thinking" if begun else "before"
        self._held = ""

    def read(self, token: Token) -> list[Token]:
        """``token`` by its kind; what may yet become a mark is held back."""
        if token.kind != "text":
            return [*self.end(), token]
        if self._state == "text":
            return [token]
        if self._state == "after":
            return self._after(token, token.text)
        text, self._held = self._held + token.text, ""
        made: list[Token] = []
        if self._state == "before":
            start = text.lstrip()
            if OPENS.startswith(start) and start != OPENS:
                self._held = text
                return made
            if not start.startswith(OPENS):
                self._state = "text"
                return [_as(token, text, "text")]
            self._state, text = "thinking", start[len(OPENS) :]
        thought, closed, rest = text.partition(CLOSES)
        if closed:
            made += [_as(token, thought, "thinking"), *self._after(token, rest)]
        else:
            held = _overlap(thought, CLOSES)
            self._held = thought[len(thought) - held :]
            made.append(_as(token, thought[: len(thought) - held], "thinking"))
        return [one for one in made if one.text]

    def _after(self, token: Token, text: str) -> list[Token]:
        """The begin of the answer, without the white space between it and the thinking."""
        text = text.lstrip()
        self._state = "text" if text else "after"
        return [_as(token, text, "text")] if text else []

    def end(self) -> list[Token]:
        """What was held back for a mark that did not come."""
        held, self._held = self._held, ""
        return [Token(held, "thinking" if self._state == "thinking" else "text")] if held else []


def _as(token: Token, text: str, kind: str) -> Token:
    return Token(text, kind, id=token.id, logprob=token.logprob)


def _overlap(text: str, mark: str) -> int:
    """How many characters at the end of ``text`` may be the begin of ``mark``."""
    for length in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:length]):
            return length
    return 0
