"""Contents: what a run commits to besides question, answer and sources; enough to run it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from casemate.engines.engine import Found, Part, Sampling, ToolCall
from casemate.reasoning.draft import Draft, Looked
from casemate.reasoning.event import Offered, Request, Turn

_MOST_CALLS = Sampling().most_calls


def question_content(request: Request) -> dict[str, object]:
    """The question with its conversation, and the tools that were offered with it."""
    content: dict[str, object] = {
        "text": request.question,
        "history": [
            list(turn) if not isinstance(turn, Turn) else _turn(turn) for turn in request.history
        ],
    }
    if request.since:
        content["since"] = [_turn(turn) for turn in request.since]
    if request.tools:
        content["tools"] = [
            {"name": one.name, "description": one.description, "parameters": one.parameters}
            for one in request.tools
        ]
        content["choice"] = request.choice
    if request.schema is not None:
        content["schema"] = request.schema
    if request.suffix is not None:
        content["suffix"] = request.suffix
    return content


def request_from(content: Mapping[str, Any]) -> Request:
    """The reverse of ``question_content``."""
    return Request(
        question=content["text"],
        history=msgspec.convert(content["history"], tuple[tuple[str, str] | Turn, ...]),
        since=msgspec.convert(content.get("since", []), tuple[Turn, ...]),
        tools=msgspec.convert(content.get("tools", []), tuple[Offered, ...]),
        choice=content.get("choice", "auto"),
        schema=content.get("schema"),
        suffix=content.get("suffix"),
    )


def _turn(turn: Turn) -> dict[str, object]:
    built: dict[str, object] = msgspec.to_builtins(turn)
    return built


def steps_content(draft: Draft, sampling: Sampling, rounds: int) -> dict[str, object]:
    """Steps, thinking, what was found, how tokens were drawn and in how many rounds at most."""
    return {
        "steps": msgspec.to_builtins(draft.steps),
        "thinking": "".join(draft.thinking),
        "found": [found_content(one) for one in draft.found],
        "rounds": [[_looked_content(one) for one in calls] for calls in draft.looked],
        "sampling": _sampling_content(sampling),
        "most_rounds": rounds,
    }


def found_content(found: Found) -> dict[str, object]:
    """What was searched and found for one part."""
    return {
        "question": found.part.question,
        "query": found.part.query,
        "passages": found.passages,
        "evidence": list(found.evidence),
        "scores": list(found.scores),
        "rarity": dict(found.rarity),
        "alike": {word: [list(own), list(foreign)] for word, own, foreign in found.alike},
    }


def found_from(content: Mapping[str, object]) -> Found:
    """The reverse of ``found_content``."""
    typed = msgspec.convert(content, _Found)
    return Found(
        part=Part(typed.question, typed.query),
        passages=typed.passages,
        evidence=typed.evidence,
        scores=typed.scores,
        rarity=tuple(sorted(typed.rarity.items())),
        alike=tuple((word, own, foreign) for word, (own, foreign) in sorted(typed.alike.items())),
    )


def looked_from(content: Mapping[str, Any]) -> list[tuple[Looked, ...]]:
    """The tools that the model called, of each round, from a run's steps."""
    kept = msgspec.convert(content.get("rounds", []), list[list[_Looked]])
    return [
        tuple(Looked(ToolCall(one.id, one.name, one.arguments), one.given) for one in calls)
        for calls in kept
    ]


def sampling_from(content: Mapping[str, Any]) -> Sampling:
    """How the tokens of a run were drawn, from a run's steps."""
    kept = msgspec.convert(content.get("sampling", {}), _Sampling)
    return Sampling(
        temperature=None if kept.temperature is None else float(kept.temperature),
        top_p=None if kept.top_p is None else float(kept.top_p),
        seed=kept.seed,
        max_tokens=kept.max_tokens,
        repeatable=kept.repeatable,
        stop=kept.stop,
        schema=kept.schema,
        choice=kept.choice,
        most_calls=kept.most_calls,
    )


def _looked_content(looked: Looked) -> dict[str, object]:
    call = looked.call
    return {
        "id": call.id,
        "name": call.name,
        "arguments": call.arguments,
        "given": None if looked.given is None else list(looked.given),
    }


def _sampling_content(sampling: Sampling) -> dict[str, object]:
    # Fractions as text: canonical JSON holds none, and repr gives the same number back.
    kept = {
        "temperature": None if sampling.temperature is None else repr(sampling.temperature),
        "top_p": None if sampling.top_p is None else repr(sampling.top_p),
        "seed": sampling.seed,
        "max_tokens": sampling.max_tokens,
        "repeatable": sampling.repeatable,
        "stop": list(sampling.stop) or None,
        "schema": sampling.schema,
        "choice": sampling.choice,
        "most_calls": sampling.most_calls if sampling.most_calls < _MOST_CALLS else None,
    }
    return {name: value for name, value in kept.items() if value is not None}


class _Found(msgspec.Struct):
    question: str
    query: str
    passages: int
    evidence: tuple[int, ...]
    scores: tuple[int, ...]
    rarity: dict[str, int]
    alike: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]


class _Looked(msgspec.Struct):
    id: str
    name: str
    arguments: str
    given: tuple[int, ...] | None


class _Sampling(msgspec.Struct):
    temperature: str | None = None
    top_p: str | None = None
    seed: int | None = None
    max_tokens: int | None = None
    repeatable: bool = True
    stop: tuple[str, ...] = ()
    schema: str | None = None
    choice: str | None = None
    most_calls: int = 64
