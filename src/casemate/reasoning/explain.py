"""Explanation: which passages each sentence depends on, found by taking them away.

For every passage that was cited, the run is repeated without it (leave-one-out ablation), and
once more with each sentence's own passages alone. From this come two figures of faithfulness:
necessity, the share of sentences that are gone without the passage they cite; and sufficiency,
the share that stay when nothing but that passage is left. Compare DeYoung et al. 2020, ERASER,
comprehensiveness and sufficiency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as changed
from typing import TYPE_CHECKING, Any

import msgspec

from casemate.engines.engine import Engine, Prompt
from casemate.reasoning.draft import place
from casemate.reasoning.replay import Recorded, repeat, require_deterministic

if TYPE_CHECKING:
    from casemate.gate.label import Label


class Dependence(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence and what it rests on."""

    text: str
    cites: tuple[str, ...]  # "fees.pdf, page 2"
    gone_without: tuple[str, ...]  # passages without which this sentence is not said
    stays_alone: bool  # said again when only its own passages are there


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Dependences of an answer and how faithful its citations are, 0…1; None without citations."""

    run: str
    method: str
    sentences: tuple[Dependence, ...]
    ablations: int  # times the run was repeated
    necessity: float | None
    sufficiency: float | None


async def explain(
    run: str, contents: Mapping[str, Any], engine: Engine, label: Label, seconds: float
) -> Explanation:
    """Take a recorded run apart; each repetition may take ``seconds``.

    Raises Unsupported if the engine is not deterministic.
    """
    require_deterministic(engine)
    recorded = Recorded.of(run, contents, label)
    sources = recorded.sources
    answer = contents["answer"]
    said = [
        (
            answer["text"][one["start"] : one["end"]],
            sorted({answer["citations"][index]["source"] for index in one["citations"]}),
        )
        for one in answer["sentences"]
    ]
    cited = sorted({index for _, own in said for index in own})
    everything = set(range(len(sources)))
    without = {
        index: await _said(engine, recorded, everything - {index}, seconds) for index in cited
    }
    alone = {tuple(own): await _said(engine, recorded, set(own), seconds) for _, own in said if own}
    found = tuple(
        Dependence(
            text=text,
            cites=tuple(place(sources[index]) for index in own),
            gone_without=tuple(place(sources[i]) for i in cited if text not in without[i]),
            stays_alone=bool(own) and text in alone[tuple(own)],
        )
        for text, own in said
    )
    resting = [(one, own) for one, (_, own) in zip(found, said, strict=True) if own]
    return Explanation(
        run=run,
        method="leave-one-out ablation of passages, by repetition of the recorded run",
        sentences=found,
        ablations=len(without) + len(alone),
        necessity=_share([bool(one.gone_without) for one, _ in resting]),
        sufficiency=_share([one.stays_alone for one, _ in resting]),
    )


async def _said(engine: Engine, recorded: Recorded, indices: set[int], seconds: float) -> list[str]:
    """The sentences that are said when only these sources are there."""
    without = frozenset(
        number for number in range(1, len(recorded.sources) + 1) if number - 1 not in indices
    )
    prompt = _keeping(recorded.prompt(engine.profile, without), indices)
    return (await repeat(engine, recorded, prompt, seconds)).sentences


def _keeping(prompt: Prompt, indices: set[int]) -> Prompt:
    numbers = {index + 1 for index in indices}
    return changed(
        prompt,
        found=tuple(
            changed(
                one,
                evidence=tuple(n for n in one.evidence if n in numbers),
                scores=tuple(
                    score for n, score in zip(one.evidence, one.scores, strict=True) if n in numbers
                ),
            )
            for one in prompt.found
        ),
    )


def _share(values: list[bool]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None
