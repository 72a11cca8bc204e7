"""A conversation as the chat dialects send it: the question, and what came before and since."""

from __future__ import annotations

from collections.abc import Sequence

from casemate.api.body import checked_question
from casemate.api.errors import InvalidParameter
from casemate.reasoning.conversation import Said
from casemate.reasoning.event import Turn
from casemate.settings import Settings


def question_of(
    turns: Sequence[Said], settings: Settings, param: str = "messages"
) -> tuple[str, tuple[Said, ...], tuple[Turn, ...]]:
    """The last user message, which is the question; the turns before it; the tools' turns since.

    Raises InvalidParameter if there is no question, it is not the end, or a call of a tool has no
    result; TooLarge.
    """
    last = max((i for i, turn in enumerate(turns) if _role(turn) == "user"), default=None)
    if last is None:
        raise InvalidParameter(param, "There is no user message.", "Add the question.")
    history, since = list(turns[:last]), []
    for turn in turns[last + 1 :]:
        if isinstance(turn, Turn):
            since.append(turn)
        elif turn[0] == "assistant":
            raise InvalidParameter(
                param,
                "The last turn is the assistant's, and an answer cannot be continued here.",
                "End with a user message.",
            )
        else:
            history.append(turn)
    _check_calls(turns, param)
    asked = turns[last]
    text = asked.text if isinstance(asked, Turn) else asked[1]
    question = checked_question(text, settings, f"{param}[{last}].content")
    return question, tuple(history), tuple(since)


def _role(turn: Said) -> str:
    return turn.role if isinstance(turn, Turn) else turn[0]


def _check_calls(turns: Sequence[Said], param: str) -> None:
    """Raise InvalidParameter unless every call has its result, and every result its call."""
    open_: set[str] = set()
    for number, turn in enumerate(turns):
        if isinstance(turn, Turn) and turn.role == "tool":
            if turn.answers not in open_:
                raise InvalidParameter(
                    f"{param}[{number}]",
                    "A tool's result answers no call before it.",
                    "Send the assistant's message with the call along.",
                )
            open_.discard(turn.answers)
            continue
        if open_ and _role(turn) != "system":
            break
        if isinstance(turn, Turn):
            open_ = {call.id for call in turn.calls}
    if open_:
        raise InvalidParameter(
            param, "A call of a tool has no result.", "Send the result of each call."
        )
