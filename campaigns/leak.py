"""Try to see what one may not see, on every surface, in a generated world full of secrets.

    python campaigns/leak.py [--calls 100000] [--seconds 3600] [--seed 1] [--log FILE]
        [--askers 8] [--wired 0.1] [--pairs 400] [--taken 200]
        [--tenants 50] [--people 500] [--collections 200] [--documents 20000]

Several askers call at once: over HTTP's own interface (ASGI, without a socket), a share of them
over HTTP, and as commands would. Meanwhile clearances, roles, readers, keys and places of documents
change. Whatever comes back is searched for secrets: each one that its asker may not know, by the
rule of `leak_world`, is a leak. Pairs of calls, about something hidden and about something that is
not there, must come back the same to the byte; at the end, while nobody else asks, their times are
compared, and documents are taken away that others must not miss.

With --log the figures of each stretch of calls are added to a file, and what is in it already is
not done again: a campaign that was stopped goes on, in another world. Exit 1 at a leak, a
difference, or an answer that nobody foresaw (500).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import leak_build
import leak_changes
import leak_crooked
import leak_http
import leak_keeping
import leak_office
import leak_pairs
import leak_reading
import leak_time
from leak_asker import Asker, Report, Stage
from leak_build import Sizes
from leak_time import Compared
from leak_world import Person, World

from casemate import api
from casemate.installation import Installation

Surface = Callable[[Asker, Person], Awaitable[None]]

SURFACES: tuple[Surface, ...] = (
    *leak_reading.SURFACES,
    *leak_keeping.SURFACES,
    *leak_office.SURFACES,
    *leak_crooked.SURFACES,
    *(leak_pairs.pair, leak_pairs.pair, leak_pairs.pair),
)
_CHANGES = 0.02  # the share of turns in which something changes
_THREADS = 64
_STRETCH = 5_000  # calls


@contextlib.asynccontextmanager
async def a_stage(world: World, *, wired: bool = True) -> AsyncIterator[Stage]:
    """The application on this world, with its batches worked on, and behind a socket too."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
    stage = Stage(world)
    working = asyncio.create_task(api.work(world.installation))
    try:
        if wired:
            async with leak_http.serving(stage.app) as wire:
                stage.wire = wire
                yield stage
        else:
            yield stage
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await stage.close()


async def calls(
    stage: Stage,
    dice: random.Random,
    count: int,
    seconds: float,
    *,
    askers: int = 8,
    wired: float = 0.1,
    surfaces: tuple[Surface, ...] = SURFACES,
    changes: float = _CHANGES,
) -> Report:
    """``count`` calls, or as many as fit into ``seconds``, by several askers at once."""
    until = time.monotonic() + seconds
    report = stage.report = Report()

    async def asking(ask: Asker) -> None:
        while report.calls.total() < count and time.monotonic() < until:
            try:
                if ask.dice.random() < changes:
                    await leak_changes.change(ask)
                await ask.dice.choice(surfaces)(ask, ask.dice.choice(stage.world.people))
            except Exception:
                # One call that broke is a finding, not the end of a long campaign.
                ask.find(f"BROKEN: {traceback.format_exc()[-1500:]}")

    async with asyncio.TaskGroup() as group:
        for _ in range(askers):
            ask = Asker(stage, random.Random(dice.random()), wired=wired)
            group.create_task(asking(ask))
    return report


@dataclass
class Done:
    """What came of a stretch of calls."""

    report: Report
    seconds: float
    times: dict[str, Compared] = field(default_factory=dict)
    taken: int = 0

    def tell(self) -> None:
        """Print it."""
        report = self.report
        print(f"{report.calls.total():,} calls in {self.seconds:.0f} s")
        print(f"by surface: {_listed(_grouped(report.calls))}")
        print(f"by way: {_listed(report.ways)}; addresses: {len(report.routes)}")
        print(f"statuses: {_listed(_by_status(report.statuses))}")
        print(f"changes meanwhile: {_listed(report.changes)}; documents taken away: {self.taken}")
        print(f"secrets seen by who may: {report.seen:,}; findings: {len(report.findings)}")
        for name, found in self.times.items():
            print(leak_time.line(name, found))
        for finding in report.findings[:40]:
            print(finding)
        sys.stdout.flush()

    def logged(self, seed: int) -> dict[str, Any]:
        """What stands in the log."""
        report = self.report
        return {
            "seed": seed,
            "calls": report.calls.total(),
            "seconds": round(self.seconds),
            "seen": report.seen,
            "findings": report.findings,
            "taken": self.taken,
            "surfaces": _grouped(report.calls),
            "ways": report.ways,
            "statuses": _by_status(report.statuses),
            "changes": report.changes,
            "times": {name: leak_time.line(name, found) for name, found in self.times.items()},
        }


class Log:
    """What is done already, in a file if there is one."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.stretches: list[dict[str, Any]] = []
        if path is not None and path.exists():
            self.stretches = [json.loads(one) for one in path.read_text().splitlines()]

    def add(self, seed: int, done: Done) -> None:
        """Note one stretch."""
        self.stretches.append(json.loads(json.dumps(done.logged(seed))))
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(self.stretches[-1]) + "\n")

    @property
    def calls(self) -> int:
        """How many there were."""
        return sum(one["calls"] for one in self.stretches)

    @property
    def findings(self) -> list[str]:
        """What was found."""
        return [finding for one in self.stretches for finding in one["findings"]]

    def tell(self) -> None:
        """Print what it comes to."""
        whole: dict[str, Counter[str]] = {}
        for one in self.stretches:
            for name in ("surfaces", "ways", "statuses", "changes"):
                whole.setdefault(name, Counter()).update(one[name])
        seconds, seen, taken = (
            sum(one[name] for one in self.stretches) for name in ("seconds", "seen", "taken")
        )
        worlds = len({one["seed"] for one in self.stretches})
        print(f"in all: {self.calls:,} calls in {worlds} worlds, {seconds:,} s")
        print(f"{seen:,} secrets seen by who may; {taken} documents taken away")
        print(f"findings: {len(self.findings)}")
        for name, counted in whole.items():
            print(f"{name}: {_listed(counted)}")


def _listed(counted: Counter[str]) -> str:
    return json.dumps(dict(sorted(counted.items())))


def _grouped(counted: Counter[str]) -> Counter[str]:
    """By surface, without which kind of pair it was."""
    found: Counter[str] = Counter()
    for name, count in counted.items():
        surface = name.split(":")[0] if name.startswith(("pairs", "time")) else name
        found[surface] += count
    return found


def _by_status(counted: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, count in counted.items():
        found[name.rsplit(" ", 1)[1]] += count
    return found


async def campaign(
    world: World, chosen: argparse.Namespace, seed: int, dice: random.Random, log: Log
) -> None:
    """Stretches of calls until there were enough; then, in silence, what silence is needed for."""
    until = time.monotonic() + chosen.seconds
    async with a_stage(world, wired=chosen.wired > 0) as stage:
        while log.calls < chosen.calls and time.monotonic() < until:
            count = min(_STRETCH, chosen.calls - log.calls)
            began = time.monotonic()
            report = await calls(
                stage, dice, count, until - began, askers=chosen.askers, wired=chosen.wired
            )
            _note(log, seed, Done(report, time.monotonic() - began))
        stage.report, began = Report(), time.monotonic()
        ask = Asker(stage, dice)
        taken = await leak_pairs.disappearance(ask, chosen.taken, chosen.seconds / 4)
        times = await leak_time.measured(ask, chosen.pairs, chosen.seconds / 2)
        stage.report.findings += [
            f"TIME TELLS: {leak_time.line(name, one)}" for name, one in times.items() if one.tells
        ]
        _note(log, seed, Done(stage.report, time.monotonic() - began, times, taken))


def _note(log: Log, seed: int, done: Done) -> None:
    log.add(seed, done)
    done.tell()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=3600, help="For the calls, at most.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--askers", type=int, default=8)
    parser.add_argument("--wired", type=float, default=0.1, help="Share of calls over a socket.")
    parser.add_argument("--pairs", type=int, default=400, help="Of each kind, for their times.")
    parser.add_argument("--taken", type=int, default=200, help="Documents that are taken away.")
    for name, size in (
        ("tenants", 50),
        ("people", 500),
        ("collections", 200),
        ("documents", 20_000),
    ):
        parser.add_argument(f"--{name}", type=int, default=size)
    chosen = parser.parse_args()
    log = Log(chosen.log)
    # Another world than those that are in the log.
    seed = max([chosen.seed - 1, *(one["seed"] for one in log.stretches)]) + 1
    dice = random.Random(seed)
    sizes = Sizes(chosen.tenants, chosen.people, chosen.collections, chosen.documents)
    with (
        tempfile.TemporaryDirectory() as folder,
        Installation.open(Path(folder) / "data") as installation,
    ):
        began = time.monotonic()
        world = leak_build.build(installation, sizes, dice)
        took = time.monotonic() - began
        print(f"seed {seed}: built in {took:.0f} s: {leak_build.described(world)}", flush=True)
        asyncio.run(campaign(world, chosen, seed, dice, log))
    log.tell()
    return 1 if log.findings else 0


if __name__ == "__main__":
    sys.exit(main())
