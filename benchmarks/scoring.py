"""Scoring: 32 ablations of one prompt of 1,000 tokens together, against 32 separate calls.

Four ways to the same scores, side by side in each round:

  forced, separate    one call after the other, by forced decoding, nothing kept between the calls
  pass, separate      one call after the other, by a forward pass, nothing kept between the calls
  forced, together    one call, by forced decoding
  pass, together      one call, by a forward pass

Of the prompt, instructions, passages and a question, an ablation leaves out each of ten passages
with probability one half (``half``), or one of 32 (``one``). Beside the time on the clock, the
processors' seconds are compared, of this process and the model's: they hold on a machine that is
busy with other things too.

    python benchmarks/scoring.py [--model tiny|nano|"5 M"|"32 M"] [--ablations half|one]
                                 [--rounds 3] [--threads 1] [TOKENS OF THE CONTINUATION…]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias, get_args

import casemate.models
from casemate.engines.llama.life import Load, Way
from casemate.engines.llama.process import Process, Running
from casemate.engines.llama.score import score
from casemate.engines.llama.scoring import scores

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/integration/engines"))
import tiny_model

ABLATIONS, SLOTS, CONTEXT = 32, 8, 2048
INSTRUCTIONS, PASSAGES, QUESTION = 150, 800, 50  # tokens
FIRST, LAST = 100, 180  # ids of tokens that are text in themselves
NANO = Path(casemate.models.__file__).parent / "nano" / "nano.gguf"
MODELS: dict[str, dict[str, int] | None] = {
    "tiny": {"hidden": 64, "layers": 2},
    "nano": None,
    "5 M": {"hidden": 256, "layers": 6, "heads": 4, "kv_heads": 2, "feed_forward": 768},
    "32 M": {"hidden": 512, "layers": 10, "heads": 8, "kv_heads": 4, "feed_forward": 1536},
}

Tokens: TypeAlias = list[int]
Found: TypeAlias = list[tuple[float, ...]]


def ablations(kind: str, draw: random.Random) -> list[Tokens]:
    def text(length: int) -> Tokens:
        return [draw.randrange(FIRST, LAST) for _ in range(length)]

    begin, end = text(INSTRUCTIONS), text(QUESTION)
    count = 10 if kind == "half" else ABLATIONS
    passages = [text(PASSAGES // count) for _ in range(count)]
    left_out = [
        {one for one in range(count) if draw.random() < 0.5} if kind == "half" else {number}
        for number in range(ABLATIONS)
    ]
    return [
        begin + [token for one in range(count) if one not in out for token in passages[one]] + end
        for out in left_out
    ]


@dataclass
class Spent:
    """Seconds on the clock and of processors, round by round."""

    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def begin(self) -> None:
        self.clock.append(0.0)
        self.processor.append(0.0)

    async def on(self, running: Running, work: Awaitable[Found]) -> Found:
        begun, worked = time.perf_counter(), processors(running)
        found = await work
        self.clock[-1] += time.perf_counter() - begun
        self.processor[-1] += processors(running) - worked
        return found


def processors(running: Running) -> float:
    """Processor seconds of this process and the model's."""
    return time.process_time() + time.clock_gettime((~running.life.pid << 3) | 2)


async def asked(running: Running, prompts: Sequence[Tokens], said: Tokens) -> Found:
    """As the engine asks."""
    if running.scores == "forward pass":
        return await scores(running, prompts, said)

    async def complete(body: Mapping[str, Any]) -> dict[str, Any]:
        async with running.connection.place():
            return await running.connection.ask("/completion", body, dict[str, Any])

    return await score(complete, prompts, said, slots=SLOTS)


async def separate(
    running: Running, prompts: Sequence[Tokens], said: Tokens, spent: Spent
) -> Found:
    found: Found = []
    for prompt in prompts:
        await forget(running)
        found += await spent.on(running, asked(running, [prompt], said))
    return found


async def together(
    running: Running, prompts: Sequence[Tokens], said: Tokens, spent: Spent
) -> Found:
    await forget(running)
    return await spent.on(running, asked(running, prompts, said))


async def forget(running: Running) -> None:
    """Another prompt in every slot; not counted."""
    await asked(running, [[2 + number, 1] for number in range(SLOTS)], [FIRST])


WAYS: dict[str, tuple[Way, Callable[..., Awaitable[Found]]]] = {
    "forced, separate": ("forced decoding", separate),
    "pass, separate": ("forward pass", separate),
    "forced, together": ("forced decoding", together),
    "pass, together": ("forward pass", together),
}


async def compare(running: Mapping[Way, Running], kind: str, length: int, rounds: int) -> None:
    draw = random.Random(length)
    prompts = ablations(kind, draw)
    said = [draw.randrange(FIRST, LAST) for _ in range(length)]
    for one in running.values():
        await asked(one, prompts[:1], said)  # warm
    spent = {name: Spent() for name in WAYS}
    apart = 0.0
    for _ in range(rounds):
        found: list[Found] = []
        for name, (way, act) in WAYS.items():
            spent[name].begin()
            found.append(await act(running[way], prompts, said, spent[name]))
        for other in found[1:]:
            for one, two in zip(found[0], other, strict=True):
                apart = max(apart, *(abs(a - b) for a, b in zip(one, two, strict=True)))
    tokens = sum(map(len, prompts))
    print(f" {kind}: {tokens:,} tokens in {ABLATIONS} prompts, continuation of {length} tokens")
    for name, one in spent.items():
        print(
            f"  {name:<18} clock {median(one.clock):8.2f} s   "
            f"processor {median(one.processor):8.2f} s"
        )
    for name in ("forced, separate", "pass, separate", "forced, together"):
        print(
            f"  pass, together against {name:<18} clock {ratio(spent, name, 'clock')}   "
            f"processor {ratio(spent, name, 'processor')}"
        )
    print(f"  log-probabilities apart by at most {apart:.1e}", flush=True)


def ratio(spent: Mapping[str, Spent], name: str, of: str) -> str:
    """Of medians, and the lowest and highest in a round."""
    one, two = getattr(spent["pass, together"], of), getattr(spent[name], of)
    each = [a / b for a, b in zip(one, two, strict=True)]
    return f"{median(one) / median(two):.3f} ({min(each):.3f}…{max(each):.3f})"


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("lengths", nargs="*", type=int, default=[48, 192])
    parser.add_argument("--model", choices=MODELS, action="append")
    parser.add_argument("--ablations", choices=("half", "one"), action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    wanted = parser.parse_args()
    print(f"{SLOTS} slots, {wanted.threads} threads, {os.cpu_count()} cores, n {wanted.rounds}")
    for name in wanted.model or MODELS:
        async with AsyncExitStack() as after:
            folder = after.enter_context(tempfile.TemporaryDirectory())
            size = MODELS[name]
            weights = NANO if size is None else tiny_model.make(Path(folder), context=2048, **size)
            running: dict[Way, Running] = {}
            for way in get_args(Way):
                load = Load(weights, (), CONTEXT, SLOTS, wanted.threads, "score", way)
                process = Process(
                    name,
                    lambda load=load: load,
                    on_started=lambda _: None,
                    on_stopped=lambda _: None,
                )
                after.push_async_callback(process.stop)
                running[way] = await process.running()
                if running[way].scores != way:
                    sys.exit(f"no {way} here: {running[way].facts['why']}")
            print(f"{name}, {weights.stat().st_size / 1e6:.1f} MB:", flush=True)
            for kind in wanted.ablations or ("half", "one"):
                for length in wanted.lengths:
                    await compare(running, kind, length, wanted.rounds)


if __name__ == "__main__":
    asyncio.run(main())
