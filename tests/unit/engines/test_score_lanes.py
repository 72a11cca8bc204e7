"""Scoring against a server that is played: how work is shared out, cut and read."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from casemate.engines.llama.score import lanes, score, span
from casemate.errors import Unavailable

UNTOLD = frozenset({90, 91})  # tokens that end within a character
WORDS = range(1, 100)


def logprob(before: Sequence[int], token: int) -> float:
    """Any function of what stands before."""
    return -1.0 - math.fmod(sum(before) * 31 + len(before) * 7 + token, 97) / 10


class Played:
    """A server that draws by biases and penalties as llama.cpp does, and keeps its slots."""

    def __init__(self) -> None:
        self.bodies: list[Mapping[str, Any]] = []
        self.slots: dict[int, list[int]] = {}
        self.computed = 0

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self.bodies.append(body)
        text = list(body["prompt"])
        self._remember(body["id_slot"], text)
        biases = {token if token != "a" else 1: bias for token, bias in body["logit_bias"]}
        told, drawn = [], []
        for _ in range(body["n_predict"]):
            window = text[-body["repeat_last_n"] :] if body["repeat_last_n"] else []
            weights = {
                token: logprob(text, token)
                + biases.get(token, 0.0)
                - (body["presence_penalty"] if token in window else 0.0)
                for token in WORDS
            }
            token = max(weights, key=weights.__getitem__)
            every = [{"id": one, "logprob": logprob(text, one)} for one in WORDS]
            every.sort(key=lambda one: -one["logprob"])
            if token not in UNTOLD:
                one = {"id": token, "logprob": logprob(text, token)}
                told.append({**one, "top_logprobs": every[: body["n_probs"]]})
            text.append(token)
            drawn.append(token)
        await asyncio.sleep(0)
        return {"tokens": drawn, "completion_probabilities": told}

    def _remember(self, slot: int, text: list[int]) -> None:
        kept = self.slots.get(slot, [])
        same = 0
        while same < min(len(kept), len(text)) and kept[same] == text[same]:
            same += 1
        self.computed += len(text) - same
        self.slots[slot] = text


def scored(
    prompts: Sequence[Sequence[int]],
    said: Sequence[int],
    *,
    slots: int = 4,
    server: Played | None = None,
) -> list[tuple[float, ...]]:
    server = server or Played()
    return asyncio.run(score(server.complete, prompts, said, slots=slots))


def expected(prompt: Sequence[int], said: Sequence[int]) -> tuple[float, ...]:
    return tuple(logprob([*prompt, *said[:place]], token) for place, token in enumerate(said))


@pytest.mark.parametrize("seed", range(20))
def test_scores_are_those_of_the_model_whatever_is_said(seed: int) -> None:
    draw = random.Random(seed)
    words = range(1, draw.choice((4, 12, 100)))  # few words repeat often
    prompts = [draw.choices(words, k=draw.randrange(1, 40)) for _ in range(9)]
    said = draw.choices(words, k=draw.randrange(50))
    found = scored(prompts, said, slots=draw.randrange(1, 5))
    assert found == [expected(prompt, said) for prompt in prompts]


def test_tokens_that_end_within_a_character_are_looked_up() -> None:
    said = [5, 90, 6, 91, 90, 7, 90]
    server = Played()
    found = scored([[1, 2], [3]], said, slots=1, server=server)
    assert found == [expected([1, 2], said), expected([3], said)]
    learned = [len(body["prompt"]) for body in server.bodies].index(1)
    assert len(server.bodies) - learned <= len(said)  # what they are was learned once


def test_equal_prompts_are_computed_once() -> None:
    server = Played()
    found = scored([[1, 2], [3], [1, 2]], [5, 6], server=server)
    assert found[0] == found[2]
    assert len(server.bodies) == 2


def test_a_continuation_without_repetition_takes_few_requests() -> None:
    server = Played()
    scored([[1]], range(2, 66), server=server)
    assert len(server.bodies) == 2


@pytest.mark.parametrize(("prompts", "said"), [([], [1]), ([[1], [2]], [])])
def test_nothing_to_score_asks_nothing(prompts: list[list[int]], said: list[int]) -> None:
    server = Played()
    assert scored(prompts, said, server=server) == [()] * len(prompts)
    assert server.bodies == []


def test_what_prompts_share_is_computed_once_in_a_slot() -> None:
    begin = [*range(1, 51)]
    prompts = [[*begin, *([60] * kept), end] for kept in range(4) for end in (70, 71)]
    random.Random(1).shuffle(prompts)
    server = Played()
    scored(prompts, [80], slots=1, server=server)
    assert server.computed == 50 + 3 + 8


def test_lanes_hold_like_beside_like_and_all_of_it() -> None:
    prompts = sorted((first, *rest) for first in range(4) for rest in ((1,), (1, 2), (3,), (4,)))
    assert lanes(prompts, 4) == [prompts[start : start + 4] for start in range(0, 16, 4)]
    for slots in range(1, 20):
        shared = lanes(prompts, slots)
        assert [one for lane in shared for one in lane] == prompts
        assert len(shared) == min(slots, 16)
        assert all(shared)


def test_a_span_repeats_nothing_of_itself_or_of_what_stands_shortly_before() -> None:
    assert span([1], [2, 3, 4], frozenset()) == 3
    assert span([1], [2, 3, 2], frozenset()) == 2
    assert span([9, 9, 3], [2, 3, 4], frozenset()) == 1
    assert span([3, 9, 9], [2, 3, 4], frozenset()) == 2
    assert span([], [2, 3, 4, 5], frozenset({2})) == 2
    assert span([], [2, 3, 4, 5], frozenset({0})) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"tokens": [7]},
        {"tokens": "5"},
        {"tokens": []},
        {"tokens": [5], "completion_probabilities": [{"id": 5}]},
        {"tokens": [5], "completion_probabilities": []},
    ],
)
def test_a_server_that_does_something_else_is_not_believed(answer: dict[str, Any]) -> None:
    async def complete(body: Mapping[str, Any]) -> dict[str, Any]:
        return answer

    with pytest.raises(Unavailable):
        asyncio.run(score(complete, [[1]], [5], slots=2))


def test_one_failure_ends_all_lanes() -> None:
    ended = []

    async def complete(body: Mapping[str, Any]) -> dict[str, Any]:
        if body["prompt"][0] == 1:
            raise Unavailable("The model's process has ended.")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(body["prompt"][0])
        return {}

    with pytest.raises(Unavailable, match="has ended"):
        asyncio.run(score(complete, [[2], [1], [3]], [5], slots=3))
    assert sorted(ended) == [2, 3]
