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
from jinja2.sandbox import ImmutableSandboxedEnvironment

from casemate.engines.engine import Message, Tool, ToolCall
from casemate.engines.llama.template import Piece, parsed, sound, tool_object
from casemate.engines.llama.vocabulary import Vocabulary
from casemate.errors import Invalid, Unsupported

_LONGEST_TEXT = 1 << 20  # characters that a template writes itself
_ROLES = ("system", "user", "assistant", "tool")
# Tokens that are found in any text are markers if they look like one; others are ordinary words.
_PLAIN = re.compile(r"[\w .,:/-]*")
_GENERATION = re.compile(r"\{%([-+]?)\s*(?:end)?generation\s*([-+]?)%\}")
# Around a stand-in: no letter and no white space, and never in a template. _LEFT finds what is left
# of one that was cut, or that was quoted where nothing knows how to quote its content.
_OPEN, _CLOSE, _CLOSE_QUOTED = "\ue000", "\ue001", "\ue002"
_LEFT = re.compile(r"[\ue000-\ue002]|\\ue00[0-2]")
_NUMBER = re.compile(r"[-+.0-9eE]{1,40}")
_KEY = "key_of_stand_ins"
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
        # Marks what training learns from; nothing to do here.
        source = _GENERATION.sub(r"{#\1 \2#}", vocabulary.chat_template)
        try:
            self._template = self._environment.from_string(source)
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
            _KEY: standing.key,
            **self._tokens,
        }
        written, size = [], 0
        try:
            for part in self._template.generate(values):
                size += len(part)
                if size > _LONGEST_TEXT:
                    raise Unsupported("The chat template in the weights writes without end.")
                written.append(part)
        except (TypeError, ValueError, ArithmeticError, LookupError, RecursionError):
            raise jinja2.TemplateRuntimeError from None
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
        self.key = _OPEN + key
        self._controls = controls
        self._contents: list[str] = []

    def message(self, message: Message) -> dict[str, Any]:
        """A message as templates read it."""
        if message.role not in _ROLES:
            raise Invalid(f"There is no role “{message.role}”.")
        thinking = "".join(chunk.text for chunk in message.chunks if chunk.kind == "thinking")
        if thinking and message.role != "assistant":
            raise Unsupported(
                "The chat template in the weights is given thinking only as part of answers.",
                "For system prompts with thinking, name mistral-v13 in the model's profile.",
            )
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
        if not bare or _NUMBER.fullmatch(bare):
            return text  # templates ask whether a tool's result is a number
        before, after = text[: -len(text.lstrip())], text[len(text.rstrip()) :]
        self._contents.append(bare)
        return f"{before}{self.key}n{len(self._contents) - 1}{_CLOSE}{after}"

    def inside(self, value: Any) -> Any:
        """``value`` with a stand-in for every text that is more than plain words."""
        if isinstance(value, dict):
            return {self.inside(name): self.inside(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self.inside(one) for one in value]
        if not isinstance(value, str) or (
            _PLAIN.fullmatch(value) and not self._controls.search(value)
        ):
            return value
        return self.content(value)

    def split(self, text: str) -> list[tuple[str, bool]]:
        """``text`` with the contents back: its parts, and whether control tokens count in each."""
        parts: list[tuple[str, bool]] = []
        pieces = re.split(f"{self.key}n([0-9]+)([{_CLOSE}{_CLOSE_QUOTED}])", text)
        for at in range(0, len(pieces), 3):
            if _LEFT.search(pieces[at]):
                raise Unsupported(
                    "The chat template in the weights changes what it is given.",
                    "Name another template in the model's profile.",
                )
            parts.append((pieces[at], True))
            if at + 2 < len(pieces):
                content = self._contents[int(pieces[at + 1])]
                quoted = pieces[at + 2] == _CLOSE_QUOTED
                parts.append((_quoted(content) if quoted else content, False))
        return parts

    def _call(self, call: ToolCall) -> dict[str, Any]:
        arguments = parsed(call.arguments or "{}")
        function = {"name": self.inside(call.name), "arguments": self.inside(arguments)}
        return {"type": "function", "id": self.inside(call.id), "function": function}


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _environment(today: Callable[[], date] | None) -> ImmutableSandboxedEnvironment:
    """What chat templates are written for: the names and filters that transformers gives them."""
    # No page is made here: escaping would change what a model reads.
    environment = _Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols"],
        autoescape=False,
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    if today is not None:
        environment.globals["strftime_now"] = lambda layout: today().strftime(layout)
    return environment


class _Sandbox(ImmutableSandboxedEnvironment):
    """No template multiplies texts or numbers into something huge."""

    intercepted_binops = frozenset(("*", "**"))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """``left`` times, or to the power of, ``right``."""
        if isinstance(left, int | float) and isinstance(right, int | float):
            small = operator == "*" or max(abs(left), abs(right)) <= 64
        else:  # a line of dashes
            small = isinstance(left, str) and isinstance(right, int) and len(left) * right < 10_000
        if not small:
            raise jinja2.TemplateRuntimeError
        return super().call_binop(context, operator, left, right)


@jinja2.pass_context
def _tojson(
    context: jinja2.runtime.Context,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON, in which stand-ins are marked as standing inside it."""
    text = json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    return re.sub(f"({context[_KEY]}n[0-9]+){_CLOSE}", rf"\1{_CLOSE_QUOTED}", text)


def _raise(message: object) -> NoReturn:
    # Its words may hold stand-ins and are not shown.
    raise jinja2.TemplateError


def _refusal() -> Unsupported:
    return Unsupported(
        "The chat template in the weights refuses this conversation.",
        "Look at which roles, tools and order the model knows, or name another template.",
    )


def _without_system(messages: Sequence[Message]) -> list[Message] | None:
    """The conversation with its system prompt at the begin of the first question."""
    if len(messages) < 2 or (messages[0].role, messages[1].role) != ("system", "user"):
        return None
    text = f"{messages[0].content}\n\n{messages[1].content}"
    return [Message.of("user", text), *messages[2:]]


def _name(vocabulary: Vocabulary, id: int | None) -> str:
    return "" if id is None else vocabulary.tokens[id]


def _any_of(names: Mapping[str, int]) -> re.Pattern[str]:
    """Finds any of ``names``, the longest first, as its only group; nothing if there are none."""
    longest = sorted(names, key=lambda name: (-len(name), name))
    return re.compile(f"({'|'.join(map(re.escape, longest))})" if longest else r"((?!))")
