"""A conversation as the chat dialects send it: what is refused in it, and what the question is.

Parameters that do no harm when they are ignored are accepted. Those that would change the meaning
of the answer are refused by name: nobody shall believe they got what they did not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from casemate.api.body import checked_question
from casemate.api.errors import InvalidParameter
from casemate.settings import Settings

UNSUPPORTED = "unsupported_parameter"
WITHOUT = "Leave it out."

# By name: which values do no harm, and what to do about the others.
Refused: TypeAlias = Mapping[str, tuple[Callable[[object], bool], str]]


def check(body: Mapping[str, Any], refused: Refused) -> None:
    """Raise InvalidParameter, naming the parameter, or the turn of a tool, that is not honoured."""
    for name, (harmless, next) in refused.items():
        if name in body and not harmless(body[name]):
            raise InvalidParameter(name, f"{name} is not supported here.", next, UNSUPPORTED)
    messages = body.get("messages")
    for number, message in enumerate(messages if isinstance(messages, list) else ()):
        _check_turn(number, message)


def question_of(
    turns: Sequence[tuple[str, str]], settings: Settings
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The last user message, which is the question, and all other turns (role, text).

    Raises InvalidParameter if there is no question or it is not the end; TooLarge.
    """
    last = max((i for i, (role, _) in enumerate(turns) if role == "user"), default=None)
    if last is None:
        raise InvalidParameter("messages", "There is no user message.", "Add the question.")
    if any(role == "assistant" for role, _ in turns[last:]):
        raise InvalidParameter(
            "messages",
            "The last turn is the assistant's, and an answer cannot be continued here.",
            "End with a user message.",
        )
    question = checked_question(turns[last][1], settings, f"messages[{last}].content")
    return question, (*turns[:last], *turns[last + 1 :])


def absent(value: object) -> bool:
    """Whether it asks for nothing: null, false, 0, "", an empty list or object."""
    return not value


def one(value: object) -> bool:
    """Whether it asks for one answer."""
    return value is None or (value == 1 and value is not True)


def no_choice(value: object) -> bool:
    """Whether it leaves the choice of a tool to the model."""
    return value in (None, "none", "auto")


def _check_turn(number: int, message: object) -> None:
    if not isinstance(message, dict):
        return
    if message.get("role") in ("tool", "function"):
        name = f"messages[{number}].role"
    elif message.get("tool_calls") or message.get("function_call"):
        name = f"messages[{number}].tool_calls"
    else:
        return
    what = "Tools are not supported here."
    raise InvalidParameter(name, what, "Leave their turns out.", UNSUPPORTED)
