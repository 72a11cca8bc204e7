"""What a model may write when its answer must satisfy a JSON Schema.

The schema holds for the answer alone: thinking before it is free, and so is calling a tool instead
of answering. Grammars of llguidance (Lark with ``%json``), which xllamacpp brings with llama.cpp.
It lets a grammar that it does not understand pass in silence, hence ``probe``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from casemate.engines.llama.stream import CLOSES, OPENS, Marks
from casemate.errors import Invalid

_ANY = r"/(.|\n)*/"


def parse(schema: str) -> str:
    """``schema`` as one line of JSON. Raises Invalid if it is not a JSON object."""
    try:
        return msgspec.json.encode(msgspec.json.decode(schema, type=dict[str, Any])).decode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Invalid("That is not a JSON Schema.", "Give a JSON object.") from None


def grammar(schema: str, marks: Marks, *, thinking: str, begun: bool, tools: bool) -> str:
    """The grammar for ``schema``, as ``parse`` returns it.

    ``thinking`` as in a profile. ``begun``: the prompt ends inside the thinking.
    """
    thought, rules = _thought(marks, thinking, begun)
    answer = "answer"
    if tools and marks.calls is not None:
        answer = "(answer | call+)"
        rules.append(f"call: <[{marks.calls}]> ANY" + _arguments(marks))
    lines = ["%llguidance {}", f"start: {thought} {answer}", f"answer: %json {schema}"]
    return "\n".join([*lines, *rules, f"ANY: {_ANY}"])


def probe(schema: str, id: int) -> dict[str, Any]:
    """A completion that writes token ``id`` if ``schema`` is understood, and else another one."""
    return {
        "prompt": [id],
        "n_predict": 1,
        "temperature": 0.0,
        "cache_prompt": False,
        "return_tokens": True,
        "logit_bias": [[id, -100.0]],
        "grammar": f"%llguidance {{}}\nstart: <[{id}]> answer\nanswer: %json {schema}",
        "response_fields": ["tokens"],
    }


def _thought(marks: Marks, thinking: str, begun: bool) -> tuple[str, list[str]]:
    if thinking == "tokens" and marks.think is not None and marks.end_think is not None:
        end = f"ANY <[{marks.end_think}]>"
        return (end if begun else f"(<[{marks.think}]> {end})?"), []
    if thinking == "text":
        opens = "" if begun else f"\\s*{OPENS}"
        closes = CLOSES.replace("/", r"\/")
        name = "thought" if begun else "thought?"
        return name, [f"thought[lazy]: /{opens}(.|\\n)*{closes}\\s*/"]
    return "", []


def _arguments(marks: Marks) -> str:
    if marks.arguments is None:
        return ""
    id = "" if marks.call_id is None else f" (<[{marks.call_id}]> ANY)?"
    return f"{id} <[{marks.arguments}]> ANY"
