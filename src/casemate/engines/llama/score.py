"""Scores: how probable a model finds a given continuation after each of many prompts.

llama.cpp's server does not tell the probabilities of tokens that it is given, only of those that it
draws. So it is made to draw the continuation: biases that fall from token to token, far beyond any
logit, put each in its turn first, and a presence penalty puts it last when its turn is over. What
is told is the model's own distribution, before biases and penalty.

Prompts that begin alike are computed once: in the order of the trie that they form, each goes to a
slot of the server that still holds what it shares with the one before. Slots compute side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from casemate.errors import Unavailable

# Sends the body of one completion to the server; its answer.
Complete = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]

_STEP = 1e4  # from one bias to the next; logits are a thousand times smaller
_LONGEST_SPAN = 32
_LOOKED_THROUGH = (1_000, 1 << 20)  # likeliest tokens: first some, then all
_TELLING = "a"  # any token that ends with a whole character


async def score(
    complete: Complete,
    prompts: Sequence[Sequence[int]],
    continuation: Sequence[int],
    *,
    slots: int,
) -> list[tuple[float, ...]]:
    """Natural log-probability of each token of ``continuation`` after each prompt.

    All are token ids; each prompt has at least one. ``slots``: how many the server has. What is
    shared and computed side by side can change the last bits.
    Raises Unavailable if the server does not what it is told; what ``complete`` raises.
    Source: forced decoding; agrees with a teacher-forced forward pass to 1e-3.
    """
    ordered = sorted({tuple(prompt) for prompt in prompts})
    continued = _Continued(complete, tuple(continuation))
    found: dict[tuple[int, ...], tuple[float, ...]] = {}

    async def follow(lane: Sequence[tuple[int, ...]], slot: int) -> None:
        for prompt in lane:
            found[prompt] = await continued.after(prompt, slot)

    tasks = [
        asyncio.create_task(follow(lane, slot)) for slot, lane in enumerate(lanes(ordered, slots))
    ]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [found[tuple(prompt)] for prompt in prompts]


def lanes(ordered: Sequence[tuple[int, ...]], slots: int) -> list[Sequence[tuple[int, ...]]]:
    """Share sorted prompts out among slots: like beside like, about as many for each.

    What two lanes have in common is computed twice, so they part where that is little.
    """
    count = min(slots, len(ordered))
    if count == 0:
        return []
    shared = [_shared(before, after) for before, after in pairwise(ordered)]
    leeway = len(ordered) // (4 * count)
    cuts = [0]
    for lane in range(1, count):
        even = lane * len(ordered) // count
        near = range(max(even - leeway, cuts[-1] + 1), even + leeway + 1)
        cuts.append(min(near, key=lambda cut: (shared[cut - 1], abs(cut - even))))
    return [ordered[start:end] for start, end in pairwise([*cuts, len(ordered)])]


def span(before: Sequence[int], rest: Sequence[int], alone: frozenset[int]) -> int:
    """How many tokens of ``rest``, which follows ``before``, can be drawn in one request.

    The penalty falls on as many tokens before each place as the span is long. So what is in the
    span may be neither in it twice nor that shortly before it. A place in ``alone`` is a span.
    """
    length = 1
    while length < min(len(rest), _LONGEST_SPAN) and not {0, length} & alone:
        longer = set(rest[: length + 1])
        if len(longer) <= length or not longer.isdisjoint(before[-length - 1 :]):
            break
        length += 1
    return length


class _Continued:
    """One continuation, and what was learned of its tokens."""

    def __init__(self, complete: Complete, continuation: tuple[int, ...]) -> None:
        self._complete = complete
        self._continuation = continuation
        # Places of tokens that end within a character: of these the server says nothing. It is
        # noticed only that some are missing of a span; then each place in it is in doubt.
        self._untold: set[int] = set()
        self._doubtful: set[int] = set()

    async def after(self, prompt: tuple[int, ...], slot: int) -> tuple[float, ...]:
        found: list[float] = []
        while (start := len(found)) < len(self._continuation):
            before = prompt + self._continuation[:start]
            rest = self._continuation[start:]
            alone = frozenset(place - start for place in self._untold | self._doubtful)
            drawn = rest[: span(before, rest, alone)]
            if start in self._untold:
                found.append(await self._looked_up(before, drawn[0], slot))
                continue
            told = await self._told(before, drawn, slot)
            places = set(range(start, start + len(drawn)))
            if len(told) == len(drawn):
                found += told
                self._doubtful -= places
            elif len(drawn) == 1:
                self._untold |= places
            else:
                self._doubtful |= places
        return tuple(found)

    async def _told(
        self, before: tuple[int, ...], drawn: tuple[int, ...], slot: int
    ) -> list[float]:
        """What the server tells of ``drawn``; of some tokens it may say nothing."""
        biases = [[token, _STEP * (len(drawn) - place)] for place, token in enumerate(drawn)]
        answer = await self._asked(
            before,
            slot,
            n_predict=len(drawn),
            n_probs=1,
            logit_bias=biases,
            # One token alone may well repeat the one before it.
            presence_penalty=_STEP * (len(drawn) + 1) if len(drawn) > 1 else 0.0,
            repeat_last_n=len(drawn),
        )
        if tuple(answer.tokens) != drawn:
            raise _unavailable("wrote something else than it was told to")
        return [one.logprob for one in answer.completion_probabilities]

    async def _looked_up(self, before: tuple[int, ...], token: int, slot: int) -> float:
        """Of one token, from among the alternatives to another one."""
        for count in _LOOKED_THROUGH:
            answer = await self._asked(
                before,
                slot,
                n_predict=1,
                n_probs=count,
                logit_bias=[[_TELLING, _STEP]],
                presence_penalty=0.0,
                repeat_last_n=0,
            )
            for told in answer.completion_probabilities:
                for one in told.top_logprobs:
                    if one.id == token:
                        return one.logprob
        raise _unavailable("knows nothing of a token that it was asked for")

    async def _asked(self, before: tuple[int, ...], slot: int, **how: Any) -> _Answer:
        body = {
            "prompt": before,
            "id_slot": slot,
            "cache_prompt": True,
            "temperature": 0.0,
            "samplers": ["penalties"],
            "repeat_penalty": 1.0,
            "frequency_penalty": 0.0,
            "post_sampling_probs": False,
            "return_tokens": True,
            "response_fields": ["tokens", "completion_probabilities"],
            **how,
        }
        try:
            return msgspec.convert(await self._complete(body), _Answer)
        except msgspec.ValidationError as problem:
            raise _unavailable("said something that is no score") from problem


class _One(msgspec.Struct):
    id: int
    logprob: float


class _Told(_One):
    top_logprobs: list[_One] = []


class _Answer(msgspec.Struct):
    tokens: list[int]
    completion_probabilities: list[_Told] = []


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two prompts have in common at their beginning."""
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))


def _unavailable(what: str) -> Unavailable:
    return Unavailable(
        f"The model's process {what}.", "Try again: it starts anew by itself when it is needed."
    )
