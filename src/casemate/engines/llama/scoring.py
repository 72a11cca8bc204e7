"""Scores from a model process, in whichever way it makes them.

``forward pass``: teacher forcing, by ``forward``. ``forced decoding``: by llama.cpp's server, made
to draw what is given, by ``score``; where the library that is installed allows nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from casemate.engines.llama.connection import unavailable
from casemate.engines.llama.process import Running
from casemate.engines.llama.score import score


async def scores(
    running: Running, prompts: Sequence[Sequence[int]], continuation: Sequence[int]
) -> list[tuple[float, ...]]:
    """Natural log-probability of each token of ``continuation`` after each prompt.

    All are token ids; neither a prompt nor the continuation is empty. Raises Unavailable.
    Agrees with transformers, in single precision, to 1e-3.
    """
    connection = running.connection

    async def complete(body: Mapping[str, Any]) -> Mapping[str, Any]:
        return await connection.ask("/completion", body, dict[str, Any])

    async with connection.place(alone=True):
        if running.scores == "forced decoding":
            return await score(complete, prompts, continuation, slots=running.life.load.slots)
        body = {"prompts": prompts, "continuation": continuation}
        found = (await connection.ask("/score", body, _Scored)).logprobs
    if [len(one) for one in found] != [len(continuation)] * len(prompts):
        raise unavailable("gave other scores than it was asked for")
    return found


class _Scored(msgspec.Struct):
    logprobs: list[tuple[float, ...]]
