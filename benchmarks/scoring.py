"""Scoring: many ablations of one prompt together, against each on its own, in one run.

A prompt of 1,000 tokens: instructions, ten passages, a question. Each ablation keeps a passage with
probability one half. On their own: one after the other, one request each, nothing cached. Beside
the time on the clock, processor seconds are compared, of this process and the model's: they hold on
a machine that is busy with other things too.

    python benchmarks/scoring.py [TOKENS OF THE CONTINUATION…]
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from casemate.engines.llama.life import Load
from casemate.engines.llama.process import Process, Running
from casemate.engines.llama.score import score

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/integration/engines"))
import tiny_model

ABLATIONS, PASSAGES, ROUNDS, SLOTS, THREADS = 32, 10, 3, 8, 1
INSTRUCTIONS, PASSAGE, QUESTION = 150, 80, 50  # tokens
FIRST, LAST = 100, 180  # ids of tokens that are text in themselves
MODELS = {
    "tiny": {"hidden": 64, "layers": 2},
    "32 M": {"hidden": 512, "layers": 10, "heads": 8, "kv_heads": 4, "feed_forward": 1536},
}


def ablations(draw: random.Random) -> list[list[int]]:
    def text(length: int) -> list[int]:
        return [draw.randrange(FIRST, LAST) for _ in range(length)]

    begin, end = text(INSTRUCTIONS), text(QUESTION)
    passages = [text(PASSAGE) for _ in range(PASSAGES)]
    return [
        begin + [token for one in passages if draw.random() < 0.5 for token in one] + end
        for _ in range(ABLATIONS)
    ]


def processor_seconds() -> float:
    """Of this process and all that it has started."""
    ticks, parents = {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(entry)] = int(fields[1])
            ticks[int(entry)] = int(fields[11]) + int(fields[12])
    own = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in own} - own:
        own |= more
    return sum(ticks[one] for one in own) / os.sysconf("SC_CLK_TCK")


async def alone(
    running: Running, prompts: Sequence[Sequence[int]], continuation: Sequence[int]
) -> list[tuple[float, ...]]:
    found = []
    for prompt in prompts:
        body = {
            "prompt": prompt,
            "n_predict": len(continuation),
            "cache_prompt": False,
            "temperature": 0.0,
            "n_probs": 1,
            "grammar": "root ::= " + " ".join(f"<[{token}]>" for token in continuation),
        }
        answer = await running.connection.ask("/completion", body, dict[str, Any])
        found.append(tuple(one["logprob"] for one in answer["completion_probabilities"]))
    return found


async def compare(name: str, running: Running, length: int) -> None:
    draw = random.Random(length)
    prompts = ablations(draw)
    continuation = [draw.randrange(FIRST, LAST) for _ in range(length)]
    requests = 0

    async def complete(body: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal requests
        requests += 1
        async with running.connection.place():
            return await running.connection.ask("/completion", body, dict[str, Any])

    await alone(running, prompts[:1], continuation)  # warm
    separate, together, apart = [], [], 0.0
    for _ in range(ROUNDS):
        # Another prompt in every slot, so that no round profits from the one before.
        other = [[draw.randrange(FIRST, LAST)] * 2 for _ in range(SLOTS)]
        await score(complete, other, continuation[:1], slots=SLOTS)
        requests, begun = 0, now()
        batched = await score(complete, prompts, continuation, slots=SLOTS)
        together.append(since(begun))
        begun = now()
        single = await alone(running, prompts, continuation)
        separate.append(since(begun))
        pairs = zip(batched, single, strict=True)
        for one, two in pairs:
            apart = max(apart, *(abs(a - b) for a, b in zip(one, two, strict=True)))
    print(f"{name}, {ABLATIONS} ablations, continuation of {length} tokens, {requests} requests:")
    for which, kind in enumerate(("clock", "processor")):
        ratios = [one[which] / two[which] for one, two in zip(together, separate, strict=True)]
        print(
            f"  {kind:<9}   alone {median(one[which] for one in separate):7.2f} s   "
            f"together {median(one[which] for one in together):7.2f} s   "
            f"ratio {median(ratios):.3f} ({min(ratios):.3f}…{max(ratios):.3f})"
        )
    print(f"  log-probabilities apart by at most {apart:.1e}", flush=True)


def now() -> tuple[float, float]:
    """On the clock, of processors."""
    return time.perf_counter(), processor_seconds()


def since(begun: tuple[float, float]) -> tuple[float, float]:
    clock, processor = now()
    return clock - begun[0], processor - begun[1]


async def main() -> None:
    lengths = [int(length) for length in sys.argv[1:]] or [48, 192]
    print(f"{SLOTS} slots, {THREADS} thread, n {ROUNDS}")
    for name, size in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            weights = tiny_model.make(Path(folder), context=2048, **size)
            load = Load(weights, context=2048, slots=SLOTS, threads=THREADS, work="score")
            process = Process(
                name, lambda load=load: load, on_started=lambda _: None, on_stopped=lambda _: None
            )
            try:
                for length in lengths:
                    await compare(name, await process.running(), length)
            finally:
                await process.stop()


if __name__ == "__main__":
    asyncio.run(main())
