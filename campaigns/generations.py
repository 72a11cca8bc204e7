"""Generate thousands of times, leave at random moments, kill the model's process, and count.

    python campaigns/generations.py [--generations 10000] [--kills 100] [--weights 1000] [--seed 1]

A tiny model with random weights answers several askers at once. Each leaves at a moment drawn by
the seed, or stays to the end; from time to time the process is killed with signal 9. Whoever asks
after a kill must be served. Then mutated weights are loaded, each in its own process. At the end
nothing may be left: no process, socket, descriptor, thread or task, and no growing memory.
Prints figures; exit 1 if anything was left or an answer went wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import aclosing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "integration" / "engines"))

from llama_builders import Tiny, a_prompt, said
from mutated import mutated

from casemate.engines.engine import Sampling
from casemate.engines.llama.engine import LlamaEngine
from casemate.engines.llama.life import Load
from casemate.engines.llama.process import Process
from casemate.errors import Tampered, Unavailable

ASKERS = 6
REFERENCE = Sampling(temperature=1.0, seed=11, max_tokens=12)


def children() -> list[int]:
    return [
        int(child)
        for task in os.listdir("/proc/self/task")
        for child in Path(f"/proc/self/task/{task}/children").read_text().split()
    ]


def count() -> dict[str, int]:
    """What this process holds now."""
    gc.collect()
    return {
        "processes": len(children()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "folders": len(os.listdir(tempfile.gettempdir())),
        # those of asyncio's pool stay for the next who needs them
        "threads": sum(not one.name.startswith("asyncio_") for one in threading.enumerate()),
        "tasks": len(asyncio.all_tasks()),
        "resident KiB": int(Path("/proc/self/statm").read_text().split()[1]) * 4,
    }


class Campaign:
    """What happens, and what came of it."""

    def __init__(self, engine: LlamaEngine, generations: int, kills: int, seed: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.memory: list[int] = []
        self._engine = engine
        self._left = generations
        self._every = max(1, generations // max(kills, 1))
        self._kills = kills
        self._generations = generations
        self._draw = random.Random(seed)
        self._killed = 0

    async def run(self) -> None:
        self._expected = await said(self._engine, sampling=REFERENCE)
        await asyncio.gather(*(self._ask() for _ in range(ASKERS)))

    async def _ask(self) -> None:
        while self._left > 0:
            self._left -= 1
            number = self._generations - self._left
            if number % self._every == 0 and self._killed < self._kills:
                self._kill()
            if number % 50 == 0:
                await self._repeat()
            if number % max(1, self._generations // 10) == 0:
                held = count()
                self.memory.append(held["resident KiB"])
                print(f"  {number:>6} generations  {held}", flush=True)
            await self._generation(number)

    async def _generation(self, number: int) -> None:
        leaves = self._draw.choice((0, 1, self._draw.randrange(40), 1000))
        sampling = Sampling(
            temperature=1.0,
            seed=number,
            max_tokens=self._draw.randrange(1, 40),
            repeatable=self._draw.random() < 0.3,
        )
        if self._draw.random() < 0.1:
            asking = asyncio.create_task(said(self._engine, a_prompt(str(number)), sampling))
            for _ in range(self._draw.randrange(60)):
                await asyncio.sleep(0)
            asking.cancel()
            (result,) = await asyncio.gather(asking, return_exceptions=True)
            self._tell(result)
            return
        heard = 0
        try:
            stream = self._engine.generate(a_prompt(str(number)), sampling)
            async with aclosing(stream) as tokens:
                async for _ in tokens:
                    heard += 1
                    if heard > leaves:
                        self.outcomes["left early"] += 1
                        return
            self.outcomes["heard to the end"] += 1
        except Unavailable as problem:
            self._tell(problem)

    def _tell(self, result: object) -> None:
        if isinstance(result, asyncio.CancelledError):
            self.outcomes["cancelled"] += 1
        elif isinstance(result, Unavailable):
            self.outcomes["unavailable"] += 1
        elif isinstance(result, BaseException):
            self.wrong.append(repr(result))
        else:
            self.outcomes["heard to the end"] += 1

    async def _repeat(self) -> None:
        """The same seed says the same, in whatever company."""
        try:
            if await said(self._engine, sampling=REFERENCE) != self._expected:
                self.wrong.append("a seed said something else")
            self.outcomes["repeated"] += 1
        except Unavailable:
            self.outcomes["unavailable"] += 1

    def _kill(self) -> None:
        for child in children():
            os.kill(child, signal.SIGKILL)
            self._killed += 1
            self.outcomes["kills"] += 1


async def load(weights: Path) -> str:
    """What becomes of a process that loads this."""
    ends: list[str] = []
    process = Process(
        "tiny",
        lambda: Load(weights, context=64, slots=1, memory_bytes=3 << 30),
        on_started=lambda _: None,
        on_stopped=ends.append,
    )
    told = "loaded"
    try:
        running = await process.running()
        await running.connection.ask("/completion", {"prompt": [1, 3], "n_predict": 4}, dict)
    except (Tampered, Unavailable) as problem:
        told = type(problem).__name__
    finally:
        await process.stop()
    signals = [end.removeprefix("it was ended by ") for end in ends if "signal" in end]
    return ", ".join([told, *signals])


async def hostile(tiny: Tiny, folder: Path, weights: int, seed: int) -> Counter[str]:
    whole, found = tiny.path.read_bytes(), Counter[str]()
    path = folder / "mutated.gguf"
    for number in range(weights):
        kind, bytes_ = mutated(whole, seed * 1_000_003 + number)
        path.write_bytes(bytes_)
        found[f"{kind}: {await load(path)}"] += 1
    path.write_bytes(whole)
    found["whole: " + await load(path)] += 1
    path.unlink()
    return found


async def main(arguments: argparse.Namespace, folder: Path) -> int:
    tiny = Tiny.make(folder / "tiny")
    engine = tiny.engine()
    await said(engine, sampling=REFERENCE)
    await engine.close()
    before = count()
    print("before ", before)
    begun = time.perf_counter()
    campaign = Campaign(engine, arguments.generations, arguments.kills, arguments.seed)
    await campaign.run()
    await engine.close()
    seconds = time.perf_counter() - begun
    found = await hostile(tiny, folder, arguments.weights, arguments.seed)
    after = count()
    print("after  ", after)
    print(f"{arguments.generations} generations in {seconds:.0f} s:", dict(campaign.outcomes))
    for kind, number in sorted(found.items()):
        print(f"  weights {kind:<48} {number}")
    starts, ends = len(tiny.seen.started), len(tiny.seen.stopped)
    print(f"processes started {starts}, ended {ends}")
    wrong = campaign.wrong
    wrong += [f"{name} left" for name in before if "KiB" not in name and after[name] > before[name]]
    if starts != ends:
        wrong.append("an end was not told")
    if len(campaign.memory) > 2 and campaign.memory[-1] > campaign.memory[1] * 1.2:
        wrong.append("memory grows")
    if not found["whole: loaded"]:
        wrong.append("whole weights were refused")
    print("nothing was left" if not wrong else f"WRONG: {wrong[:20]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--weights", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    with tempfile.TemporaryDirectory() as own:
        sockets = Path(own) / "s"
        sockets.mkdir()
        tempfile.tempdir = str(sockets)
        sys.exit(asyncio.run(main(parser.parse_args(), Path(own))))
