"""Forced decoding by a real model process: together as alone, whatever the continuation is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

pytest.importorskip("xllamacpp", reason="needs the extra llama")

import tiny_model

from casemate.engines.llama.life import Load
from casemate.engines.llama.process import Process
from casemate.engines.llama.score import Complete, score

FIRST = 64  # control tokens stand before the 256 bytes
SAID = {
    "plain": [FIRST + byte for byte in b"The keys are kept in the house of the town."],
    "broken characters": [FIRST + byte for byte in "l’été 🐕 — œœuf".encode()],
    "the same again and again": [FIRST + 97] * 12,
    "what cannot be text": [FIRST + byte for byte in b"\xff\x80\x00a\xf0\x9f"],
    "the end of an answer": [FIRST + 97, 2],
    "merged tokens": list(range(FIRST + 256, FIRST + 352, 3)),
}
BEGIN = [1, *range(FIRST + 40, FIRST + 120)]
PROMPTS = [[*BEGIN, *range(FIRST + 50, FIRST + 50 + size)] for size in (0, 3, 9, 9, 40)]

_T = TypeVar("_T")


def with_model(weights: Path, act: Callable[[Complete], Coroutine[Any, Any, _T]]) -> _T:
    async def run() -> _T:
        load = Load(weights, context=512, slots=3, work="score", scores="forced decoding")
        process = Process("m", lambda: load, on_started=lambda _: None, on_stopped=lambda _: None)
        try:
            connection = (await process.running()).connection

            async def complete(body: Mapping[str, Any]) -> Mapping[str, Any]:
                async with connection.place():
                    return await connection.ask("/completion", body, dict[str, Any])

            return await act(complete)
        finally:
            await process.stop()

    return asyncio.run(run())


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.make(tmp_path_factory.mktemp("model"))


async def token_by_token(
    complete: Complete, prompt: Sequence[int], said: Sequence[int]
) -> tuple[float, ...]:
    """Every score from a table of all tokens' scores, each computed from nothing."""
    found = []
    for place, token in enumerate(said):
        answer = await complete(
            {
                "prompt": [*prompt, *said[:place]],
                "n_predict": 1,
                "n_probs": 1000,
                "cache_prompt": False,
                "logit_bias": [[FIRST + 97, 1e4]],
                "temperature": 0.0,
            }
        )
        (told,) = answer["completion_probabilities"]
        scores = {one["id"]: one["logprob"] for one in told["top_logprobs"]}
        found.append(scores[token])
    return tuple(found)


@pytest.mark.parametrize("said", SAID.values(), ids=SAID.keys())
def test_scores_together_are_those_of_each_token_on_its_own(weights: Path, said: list[int]) -> None:
    async def both(complete: Complete) -> tuple[list[tuple[float, ...]], list[tuple[float, ...]]]:
        together = await score(complete, PROMPTS, said, slots=3)
        return together, [await token_by_token(complete, prompt, said) for prompt in PROMPTS[:2]]

    together, alone = with_model(weights, both)
    assert [len(one) for one in together] == [len(said)] * len(PROMPTS)
    assert together[2] == together[3]
    for one, two in zip(together, alone, strict=False):
        assert one == pytest.approx(two, abs=1e-3)


def test_an_earlier_score_does_not_change_a_later_one(weights: Path) -> None:
    async def twice(complete: Complete) -> list[tuple[float, ...]]:
        said = SAID["plain"]
        (first,) = await score(complete, PROMPTS[:1], said, slots=1)
        await score(complete, PROMPTS[1:], SAID["merged tokens"], slots=1)
        (second,) = await score(complete, PROMPTS[:1], said, slots=1)
        return [first, second]

    first, second = with_model(weights, twice)
    assert second == pytest.approx(first, abs=1e-3)
