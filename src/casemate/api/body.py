"""Request bodies: never more of one in memory than is allowed, and only of the expected shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from casemate.api.errors import InvalidParameter
from casemate.errors import Invalid, TooLarge
from casemate.settings import Settings

T = TypeVar("T")

MEBIBYTE = 1024 * 1024
JSON_LIMIT = 2 * MEBIBYTE
# What multipart adds around a file: boundaries, part headers, small fields.
FRAMING = 64 * 1024

_NAMES = {"prompt": "The prompt", "suffix": "The suffix"}  # of texts that are no question
_MISSING = re.compile(r"Object missing required field `(.+)`")
_PLACE = re.compile(r" - at `\$\.?(.+)`$")


def json_limit(settings: Settings) -> int:
    """Bytes that a JSON body may have."""
    return JSON_LIMIT


def upload_limit(settings: Settings) -> int:
    """Bytes that a body carrying a document may have."""
    return settings.upload_mebibytes * MEBIBYTE + FRAMING


def bounded(receive: Receive, scope: Scope, limit: int) -> Receive:
    """``receive``, raising TooLarge once the body is, or says it will be, above ``limit`` bytes.

    Raised on reading and not before, so that whoever reads renders it in its own way.
    """
    announced = b"0"
    for name, value in scope["headers"]:
        if name == b"content-length":
            announced = value
    received = 0

    async def bounded_receive() -> Message:
        nonlocal received
        if announced.isdigit() and int(announced) > limit:
            raise _too_large(limit)
        message = await receive()
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(limit)
        return message

    return bounded_receive


async def decoded(request: Request, shape: type[T]) -> T:
    """The JSON body as ``shape``, strictly typed. Raises Invalid, naming the field."""
    return converted(await json_object(request), shape)


async def json_object(request: Request) -> dict[str, Any]:
    """The JSON body, an object. Raises Invalid."""
    body = await request.body()
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Invalid("The body is not valid JSON.", "Send a JSON object in UTF-8.") from None
    if not isinstance(value, dict):
        raise Invalid("The body is not a JSON object.", "Send an object: {…}.")
    return value


def converted(value: Mapping[str, Any], shape: type[T]) -> T:
    """A JSON object as ``shape``, strictly typed. Raises InvalidParameter, naming the field."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as problem:
        text = str(problem)
        place = _PLACE.search(text)
        within = place.group(1) if place else ""
        fact = text[: place.start()] if place else text
        if missing := _MISSING.fullmatch(fact):
            name = f"{within}.{missing[1]}" if within else missing[1]
            raise InvalidParameter(name, f"{name} is missing.", "Add it.") from None
        name = within or "body"
        raise InvalidParameter(name, f"{name}: {fact}.", "Correct it.") from None


def checked_query(text: str, settings: Settings, param: str) -> str:
    """``text`` if it can be searched for. Raises Invalid if it is blank, TooLarge if too long."""
    return _bounded(_checked(text, param), settings.question_characters, param)


def checked_question(text: str, settings: Settings, param: str = "question") -> str:
    """``text`` if it can be asked. Raises Invalid if it is blank, TooLarge if it is too long.

    Too long for a model alone, that is: what is asked of documents is bounded by the run itself.
    """
    return checked_text(_checked(text, param), settings, param)


def checked_text(text: str, settings: Settings, param: str) -> str:
    """``text`` if a model may be given so much of it, blank or not. Raises TooLarge."""
    return _bounded(text, max(settings.message_characters, settings.question_characters), param)


def _checked(text: str, param: str) -> str:
    if not text.strip():
        raise InvalidParameter(param, "The question is empty.", "Write what you want to know.")
    return text


def _bounded(text: str, most: int, param: str) -> str:
    if len(text) > most:
        raise TooLarge(
            f"{_NAMES.get(param, 'The question')} has {len(text):,} characters;"
            f" at most {most:,} are accepted.",
            "Shorten it, or add the long text as a document and ask about that.",
        )
    return text


def whole_number(request: Request, name: str, default: int, highest: int) -> int:
    """The query parameter ``name``, from 1 to ``highest``. Raises InvalidParameter."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= highest):
        raise InvalidParameter(name, f"{name} is not a number from 1 to {highest}.", "Correct it.")
    return int(text)


def _too_large(limit: int) -> TooLarge:
    size = f"{limit // MEBIBYTE:,} MiB"
    return TooLarge(f"The request's body is larger than {size}.", f"Send at most {size}.")
