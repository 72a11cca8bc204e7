"""The chat template that lies in the weights: Jinja, written by whoever made the model.

It is rendered with stand-ins, drawn anew each time, where contents go. So it is known afterwards
what the template wrote, in which control tokens count, and what others wrote, in which they never
do. White space around a content stays outside its stand-in, so that a template may trim it.

Limits. A template that cuts contents up, or changes their letters, is refused; one that looks into
a content sees a stand-in there. A content is tokenised together with the template's text around
it. The date is that of ``today``, or none. Templates are approved with the model's digest; what
they write is bounded all the same.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, NoReturn

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from casemate.engines.engine import Message, Tool, ToolCall
from casemate.engines.llama.template import Piece, parsed, sound, tool_object
from casemate.engines.llama.vocabulary import Vocabulary
from casemate.errors import Invalid, Unsupported

_LONGEST_TEXT = 1 << 20  # characters that a template writes itself
_ROLES = ("system", "user", "assistant", "tool")
# Tokens that are found in any text are markers if they look like one; others are ordinary words.
_MARKER = re.compile(r"[<\[]\S+[>\]]")


class WeightsTemplate:
    """The chat template of ``vocabulary``. Raises Unsupported if there is none, or none usable.

    ``today``: the date for templates that state it; without it, those that cannot do without are
    refused when they are used. ``draw``: random hexadecimal digits for so many bytes.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        today: Callable[[], date] | None = None,
        draw: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        if not vocabulary.chat_template:
            raise Unsupported(
                "The weights hold no chat template.", "Name a template in the model's profile."
            )
        self._tokens = {
            "bos_token": _name(vocabulary, vocabulary.begin),
            "eos_token": _name(vocabulary, vocabulary.end),
        }
        self._begin = vocabulary.begin if vocabulary.begins else None
        loose = {name: id for name, id in vocabulary.defined.items() if _MARKER.fullmatch(name)}
        self._ids = {name: id for name, id in (vocabulary.controls | loose).items() if name}
        self._controls = _any_of(self._ids)
        self._loose = _any_of(loose)
        self._draw = draw
        self._environment = _environment(today)
        try:
            self._template = self._environment.from_string(vocabulary.chat_template)
        except jinja2.TemplateError:
            raise Unsupported(
                "The chat template in the weights cannot be read.",
                "Name another template in the model's profile.",
            ) from None

    def pieces(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[Piece]:
        """The conversation, ready for the model's next turn."""
        try:
            return self._written(messages, tools)
        except jinja2.TemplateError:
            apart = _without_system(messages)
            if apart is None:
                raise _refusal() from None
        try:  # some templates know no system prompt: it then begins the first question
            return self._written(apart, tools)
        except jinja2.TemplateError:
            raise _refusal() from None

    def _written(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[Piece]:
        standing = _StandIns(self._draw(16), self._controls)
        values: dict[str, Any] = {
            "messages": [standing.message(message) for message in messages],
            "tools": [standing.inside(tool_object(tool)) for tool in tools] or None,
            "add_generation_prompt": True,
            **self._tokens,
        }
        written, size = [], 0
        token = _json_stand_ins.set(standing)
        try:
            for part in self._template.generate(values):
                size += len(part)
                if size > _LONGEST_TEXT:
                    raise Unsupported("The chat template in the weights writes without end.")
                written.append(part)
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError):
            raise jinja2.TemplateRuntimeError from None
        finally:
            _json_stand_ins.reset(token)
        return self._pieces(standing.split("".join(written)))

    def _pieces(self, parts: Sequence[tuple[str, bool]]) -> list[Piece]:
        """Parts of text, each with whether control tokens count in it, as pieces."""
        pieces: list[Piece] = []
        text = ""
        for part, counts in parts:
            if not counts:
                text += part
                continue
            for number, words in enumerate(self._controls.split(part)):
                if number % 2 == 0:
                    text += words
                    continue
                pieces += [*self._ordinary(text), self._ids[words]]
                text = ""
        pieces += self._ordinary(text)
        if self._begin is not None and pieces[:1] != [self._begin]:
            pieces.insert(0, self._begin)
        return pieces

    def _ordinary(self, text: str) -> list[Piece]:
        """``text`` cut inside whatever llama.cpp would take for a marker, told to or not."""
        pieces: list[Piece] = []
        begin = 0
        for found in self._loose.finditer(text):
            middle = (found.start() + found.end()) // 2
            pieces.append(sound(text[begin:middle]))
            begin = middle
        return [*pieces, sound(text[begin:])] if text[begin:] else pieces


class _StandIns:
    """What stands for contents while a template is rendered."""

    def __init__(self, key: str, controls: re.Pattern[str]) -> None:
        # Letters and digits only, so that no quoting changes them.
        self._key = f"Content{key}"
        self._controls = controls
        self._contents: list[str] = []

    def message(self, message: Message) -> dict[str, Any]:
        """A message as templates read it."""
        if message.role not in _ROLES:
            raise Invalid(f"There is no role “{message.role}”.")
        thinking = "".join(chunk.text for chunk in message.chunks if chunk.kind == "thinking")
        made: dict[str, Any] = {"role": message.role, "content": self.content(message.content)}
        if thinking:
            made["reasoning_content"] = self.content(thinking)
        if message.calls:
            made["tool_calls"] = [self._call(call) for call in message.calls]
        if message.role == "tool":
            made["tool_call_id"] = self.inside(message.answers)
        return made

    def content(self, text: str) -> str:
        """What stands for ``text``, with its white space around it."""
        bare = text.strip()
        if not bare:
            return text
        before, after = text.split(bare[0], 1)[0], text[len(text.rstrip()) :]
        self._contents.append(bare)
        return f"{before}{self._key}n{len(self._contents) - 1}e{after}"

    def inside(self, value: Any) -> Any:
        """``value`` with a stand-in for every text that names a control token."""
        if isinstance(value, dict):
            return {self.inside(name): self.inside(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self.inside(one) for one in value]
        if isinstance(value, str) and self._controls.search(value):
            return self.content(value)
        return value

    def json(self, text: str) -> str:
        """JSON text in which stand-ins are marked as standing inside it."""
        return re.sub(f"({self._key}n[0-9]+)e", r"\1j", text)

    def split(self, text: str) -> list[tuple[str, bool]]:
        """``text`` with the contents back: its parts, and whether control tokens count in each."""
        parts: list[tuple[str, bool]] = []
        pieces = re.split(f"{self._key}n([0-9]+)([ej])", text)
        for at in range(0, len(pieces), 3):
            # A part of a key is a content that was cut.
            if self._key[:16] in pieces[at] or self._key.lower()[:16] in pieces[at].lower():
                raise Unsupported(
                    "The chat template in the weights changes what it is given.",
                    "Name another template in the model's profile.",
                )
            parts.append((pieces[at], True))
            if at + 2 < len(pieces):
                content = self._contents[int(pieces[at + 1])]
                quoted = pieces[at + 2] == "j"
                parts.append((_quoted(content) if quoted else content, False))
        return parts

    def _call(self, call: ToolCall) -> dict[str, Any]:
        arguments = parsed(call.arguments or "{}")
        function = {"name": self.inside(call.name), "arguments": self.inside(arguments)}
        return {"type": "function", "id": self.inside(call.id), "function": function}


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
