"""Tools that the asker runs, as the chat dialects write them: offered, called, answered."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from casemate.api.errors import InvalidParameter
from casemate.reasoning.event import Call, Offered, Turn


class Function(Struct, frozen=True):
    """A function of the asker's. ``parameters``: JSON Schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Struct, frozen=True, tag="function"):
    """A function, offered as a tool."""

    function: Function


class CalledFunction(Struct, frozen=True):
    """A function that was called. ``arguments``: JSON text, or what it says."""

    name: str
    arguments: str | dict[str, Any] | None = None


class CallShape(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call of a tool."""

    id: str
    type: str | None = None
    function: CalledFunction
    index: int | None = None


def offered(function: Function, place: str) -> Offered:
    """The tool that a function is. Raises InvalidParameter naming its ``place``."""
    parameters = msgspec.json.encode(function.parameters or {"type": "object", "properties": {}})
    tool = {
        "name": function.name,
        "description": function.description or "",
        "parameters": parameters.decode(),
    }
    try:
        return msgspec.convert(tool, Offered)
    except msgspec.ValidationError:
        raise InvalidParameter(
            f"{place}.name",
            "That is not a name for a function.",
            "Use at most 128 letters, digits, dots, underscores and hyphens.",
        ) from None


def choice_of(value: str | dict[str, Any] | None, place: str = "tool_choice") -> str:
    """Which tool has to be called: "auto", "none", "required", or its name.

    Raises InvalidParameter.
    """
    if value is None:
        return "auto"
    if isinstance(value, str) and value in ("auto", "none", "required", "any"):
        return "required" if value == "any" else value
    if isinstance(value, dict) and value.get("type") == "function":
        inner = value.get("function", value)
        name = inner.get("name") if isinstance(inner, dict) else None
        if isinstance(name, str) and name:
            return name
    raise InvalidParameter(
        place, f"{place} is not supported here like that.", 'Use "auto", or name one function.'
    )


def calling(text: str, calls: list[CallShape]) -> Turn:
    """The assistant's turn in which it called tools."""
    return Turn(role="assistant", text=text, calls=tuple(map(_call, calls)))


def answering(text: str, id: str | None, place: str) -> Turn:
    """The turn of a tool. Raises InvalidParameter without the id of the call."""
    if not id:
        raise InvalidParameter(
            f"{place}.tool_call_id",
            "A tool's result does not say which call it answers.",
            "Add it.",
        )
    return Turn(role="tool", text=text, answers=id)


def shape_of(call: Call, index: int | None = None) -> CallShape:
    """A call as the dialects show it."""
    return CallShape(
        id=call.id, type="function", function=CalledFunction(call.name, call.arguments), index=index
    )


def most_calls(parallel: bool | None) -> int:
    """How many tools are called at once."""
    return 1 if parallel is False else 64


def schema_of(value: dict[str, Any] | None, place: str = "response_format") -> str | None:
    """The schema that an answer has to satisfy: of ``response_format``; None for plain text.

    Raises InvalidParameter.
    """
    kind = "text" if value is None else value.get("type")
    if value is None or kind == "text":
        return None
    if kind == "json_object":
        return '{"type":"object"}'
    inner = value.get("json_schema", value)
    schema = None
    if isinstance(inner, dict):
        schema = inner.get("schema", inner.get("schema_definition"))
    if kind != "json_schema" or not isinstance(schema, dict):
        raise InvalidParameter(
            place, f"{place} holds no JSON Schema.", 'Use {"type": "json_schema", …} with one.'
        )
    return msgspec.json.encode(schema).decode()


def _call(call: CallShape) -> Call:
    arguments = call.function.arguments
    if isinstance(arguments, dict):
        arguments = msgspec.json.encode(arguments).decode()
    return Call(id=call.id, name=call.function.name, arguments=arguments or "{}")
