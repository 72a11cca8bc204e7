"""What OpenAI-compatible model servers are told, and what they tell: chats, tools, events.

Reasoning arrives as ``reasoning_content`` (llama.cpp, SGLang, vLLM before 0.12) or ``reasoning``
(Ollama, vLLM since); what was thought in earlier turns goes back under both names.
"""

from __future__ import annotations

from typing import Any

import msgspec

from casemate.engines.engine import Message, Prompt, Sampling, Token, Tool, ToolCall
from casemate.errors import Broken, CasemateError, Invalid

ADVICE = "Try again; if it stays so, tell whoever runs that server."
_LONGEST_CALL = 1 << 20  # characters of arguments
_MOST_OPEN = 128  # calls that are being written side by side
LONGEST_EVENT = 1 << 20
_UNFIT = frozenset({400, 413, 422})  # longer than its context, or something it does not know


def chat(prompt: Prompt) -> dict[str, Any]:
    """The part of a request's body that is the prompt. Raises Invalid for a tool's bad schema."""
    body: dict[str, Any] = {"messages": [_message(message) for message in prompt.messages]}
    if prompt.tools:
        body["tools"] = [_tool(tool) for tool in prompt.tools]
    return body


def gap(prompt: Prompt) -> dict[str, Any]:
    """The part of a request's body that is a gap to fill in, for ``…/completions``."""
    return {"prompt": prompt.question, "suffix": prompt.suffix}


def choosing(sampling: Sampling) -> dict[str, Any]:
    """The part that says which tool has to be called, where one has."""
    if sampling.choice is None:
        return {}
    if sampling.choice == "required":
        return {"tool_choice": "required"}
    return {"tool_choice": {"type": "function", "function": {"name": sampling.choice}}}


def drawing(sampling: Sampling) -> dict[str, Any]:
    """The part that says how to draw: only what was chosen. Raises Invalid for a bad schema."""
    body: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "max_tokens": sampling.max_tokens,
        "logprobs": None if sampling.likeliest is None else True,
        "top_logprobs": sampling.likeliest or None,
    }
    if sampling.schema is not None:
        schema = _parsed(sampling.schema, "The schema of the answer")
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": True},
        }
    return {name: value for name, value in body.items() if value is not None}


class Lines:
    """Cuts a body into the payloads of its server-sent events, whatever pieces it comes in.

    ``done``: whether ``[DONE]`` has come; what follows it is not looked at.
    """

    def __init__(self) -> None:
        self._pending = b""
        self.done = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The payloads that ``piece`` completes. Raises Broken if a line has no end."""
        *lines, self._pending = (self._pending + piece).split(b"\n")
        if len(self._pending) > LONGEST_EVENT:
            raise no_events()
        found = []
        for line in lines:
            if not line.startswith(b"data:") and not line.strip().startswith(b"data:"):
                continue
            payload = line.strip()[5:].strip()
            if payload == b"[DONE]":
                self.done = True
                break
            found.append(payload)
        return found


class Reading:
    """Turns the events of one answer into tokens; a call of a tool is one, once it is whole."""

    def __init__(self) -> None:
        self._open: list[_Call] = []
        self._calls = 0

    def read(self, payload: bytes) -> list[Token]:
        """What one event completes. Raises Broken if it is no event, or tells of an error."""
        try:
            event = msgspec.json.decode(payload, type=_Event)
        except msgspec.DecodeError as problem:
            raise no_events() from problem
        if event.error is not None:
            raise broken("reported an error of its own")
        found: list[Token] = []
        for choice in event.choices[:1]:
            delta = choice.delta
            if choice.text:  # of ``…/completions``
                found.append(Token(choice.text))
            thought = delta.reasoning_content or delta.reasoning
            if thought or delta.content:
                found += self.end()
            if thought:
                found.append(Token(thought, kind="thinking"))
            if delta.content:
                found += _probable(delta.content, choice.logprobs)
            for part in delta.tool_calls or ():
                found += self._called(part)
            if choice.finish_reason == "length":  # a call that was cut is none
                found += self._whole()
                self._open.clear()
                found.append(Token("", kind="cut"))
            elif choice.finish_reason:
                found += self.end()
        told = event.usage
        if told is not None and told.prompt_tokens is not None:
            details = told.completion_tokens_details
            found.append(
                Token(
                    "",
                    "count",
                    read=told.prompt_tokens,
                    written=told.completion_tokens,
                    thought=None if details is None else details.reasoning_tokens,
                )
            )
        return found

    def end(self) -> list[Token]:
        """The calls that were still being written, if any."""
        calls, self._open = self._open, []
        return [call.token() for call in calls]

    def _called(self, part: _CallPart) -> list[Token]:
        # Calls may be written side by side. Some servers number every call 0, and tell calls apart
        # by their ids alone.
        call = next((one for one in reversed(self._open) if one.index == part.index), None)
        found: list[Token] = []
        if call is None or (part.id and call.id and part.id != call.id):
            found = self._whole()
            self._calls += 1
            call = _Call(part.index, self._calls)
            self._open.append(call)
        call.id = call.id or part.id or ""
        call.name = call.name or part.function.name or ""
        call.arguments += part.function.arguments or ""
        if len(call.arguments) > _LONGEST_CALL or len(self._open) > _MOST_OPEN:
            raise no_events()
        return found

    def _whole(self) -> list[Token]:
        """The first calls, as far as their arguments have come to an end."""
        found = []
        while self._open and self._open[0].ended:
            found.append(self._open.pop(0).token())
        return found


class _Call:
    """A call of a tool that is being written, the ``number``-th of its answer."""

    def __init__(self, index: int, number: int) -> None:
        self.index = index
        self.number = number
        self.id = self.name = self.arguments = ""

    @property
    def ended(self) -> bool:
        """Whether nothing can follow: the arguments are a whole object."""
        try:
            return isinstance(msgspec.json.decode(self.arguments), dict)
        except (msgspec.DecodeError, RecursionError):
            return False

    def token(self) -> Token:
        """The call. Raises Broken if it has no name."""
        if not self.name:
            raise broken("called a tool and did not say which")
        made = ToolCall(self.id or f"call-{self.number}", self.name, self.arguments or "{}")
        return Token("", kind="call", call=made)


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _CallPart(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function = msgspec.field(default_factory=_Function)


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_CallPart] | None = None


class _Likely(msgspec.Struct):
    token: str
    logprob: float | None = None


class _Probability(msgspec.Struct):
    token: str
    logprob: float | None = None
    top_logprobs: list[_Likely] = msgspec.field(default_factory=list)


class _Probabilities(msgspec.Struct):
    content: list[_Probability] | None = None


class _Details(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    completion_tokens_details: _Details | None = None


class _Choice(msgspec.Struct):
    logprobs: _Probabilities | None = None
    delta: _Delta = msgspec.field(default_factory=_Delta)
    text: str | None = None
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = msgspec.field(default_factory=list)
    error: Any = None
    usage: _Usage | None = None


def _probable(text: str, told: _Probabilities | None) -> list[Token]:
    """A piece of text, token by token if the server told what it is made of."""
    parts = [] if told is None else told.content or []
    if "".join(part.token for part in parts) != text:
        # Half a character is told otherwise: the text is right, and has no probability.
        return [Token(text)]
    return [
        Token(
            part.token,
            logprob=part.logprob,
            likeliest=tuple(
                (one.token, one.logprob) for one in part.top_logprobs if one.logprob is not None
            ),
        )
        for part in parts
    ]


def refused(status: int) -> CasemateError:
    """The error for a status that is no answer."""
    if status in _UNFIT:
        return Invalid(
            f"The model server does not take this question: it answered with status {status}.",
            "Ask with a shorter text, or with other parameters.",
        )
    return broken(f"answered with status {status}")


def no_events() -> Broken:
    """The error for a server that does not speak this language."""
    return broken("sent something that is not a stream of events")


def broken(what: str) -> Broken:
    """The error for a server that does not do its work."""
    return Broken(f"The model server {what}.", ADVICE)


def _message(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message.role, "content": message.content}
    thought = "".join(chunk.text for chunk in message.chunks if chunk.kind == "thinking")
    if thought and message.role == "assistant":
        told["reasoning"] = told["reasoning_content"] = thought
    if message.calls:
        told["content"] = message.content or None
        told["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.calls
        ]
    if message.role == "tool":
        told["tool_call_id"] = message.answers
    return told


def _tool(tool: Tool) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": _parsed(tool.parameters, f"The schema of the tool “{tool.name}”"),
        },
    }


def _parsed(schema: str, what: str) -> Any:
    try:
        return msgspec.json.decode(schema)
    except (msgspec.DecodeError, RecursionError) as problem:
        raise Invalid(f"{what} is not JSON.", "Give a JSON Schema, as JSON.") from problem
