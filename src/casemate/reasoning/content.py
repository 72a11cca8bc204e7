"""Contents: what a run commits to besides question, answer and sources; enough to run it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from casemate.engines.engine import Found, Part, Sampling, ToolCall
from casemate.reasoning.draft import Draft, Looked


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
