"""Asking: p50 and p95 of a run, with the ledger on the disk and without its syncs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import line, timed

from casemate.installation import Installation
from casemate.ledger import durable
from casemate.reasoning.event import Request

QUESTIONS = (
    "Wat kascht eng Parkvignette?",
    "Wie hoch ist die Hundesteuer?",
    "Combien coûte une carte d'identité ?",
    "How much is a library card?",
)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_DISK")) as folder:
        data = Path(folder) / "data"
        subprocess.run(
            [sys.executable, "-m", "casemate", "demo", "--data", str(data)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with Installation.open(data, create=False) as house:
            caller = house.gate.owner()
            count = iter(range(10**9))

            async def ask() -> None:
                request = Request(question=QUESTIONS[next(count) % len(QUESTIONS)])
                async for _ in house.ask(caller, request):
                    pass

            with asyncio.Runner() as runner:
                whole = timed(200, lambda: runner.run(ask()), warm=10)
                print(line("ask, everything durable", whole))
                entry = {"v": 1, "kind": "benchmark", "text": "x" * 600}
                recorded = timed(200, lambda: house.ledger.record(entry), warm=10)
                print(line("one ledger entry, durable", recorded))
                real, durable.os.fsync = durable.os.fsync, lambda _: None  # type: ignore[attr-defined]
                try:
                    unsynced = timed(200, lambda: house.ledger.record(entry), warm=10)
                finally:
                    durable.os.fsync = real  # type: ignore[attr-defined]
                print(line("one ledger entry, nothing synced", unsynced))
            median = sorted(whole)[100]
            share = 2 * sorted(recorded)[100] / median
            print(
                f"two entries a run are {share:.0%} of a run's time; of an entry's own time, "
                f"{1 - sorted(unsynced)[100] / sorted(recorded)[100]:.0%} is the disk"
            )


if __name__ == "__main__":
    main()
