"""Quotas: what a reservation and its settlement cost, without limits, with, and without a lease.

Also what a place in the schedule costs while a thousand others wait.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from figures import line, timed

from casemate.engines.schedule import Flow
from casemate.engines.turns import Turns
from casemate.gate.budget import Use
from casemate.gate.limit import Limit
from casemate.installation import Installation


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Installation.open(Path(folder) / "d") as house:
        gate = house.gate
        owner = gate.owner()
        asker = gate.admit(owner, use_case=None).asker
        estimate = Use(tokens=100)

        async def reserve() -> None:
            async with gate.budgets.run(asker, estimate) as used:
                used.tokens += 90

        def limit(amount: int) -> None:
            home = asker.tenant
            for kind, target in (
                ("principal", asker.principal),
                ("use_case", asker.use_case),
                ("tenant", home),
            ):
                for measure, window in (("requests", "day"), ("tokens", "month")):
                    made = Limit.parse(home, kind, target, measure, window, amount)
                    gate.quotas.put(owner, made)

        with asyncio.Runner() as runner:
            print(line("no limits", timed(2000, lambda: runner.run(reserve()), warm=50)))
            limit(10**9)
            print(
                line("six limits, in memory", timed(2000, lambda: runner.run(reserve()), warm=50))
            )
            few = Limit.parse(asker.tenant, "principal", asker.principal, "runs", "", 5)
            gate.quotas.put(owner, few)
            print(line("and one that asks the database", timed(200, lambda: runner.run(reserve()))))
            runner.run(waiting())


async def waiting() -> None:
    """A place among a thousand that wait."""
    turns = Turns(1, 1 << 20, time.perf_counter)
    flows = [Flow(f"t{number % 20}", f"p{number % 100}") for number in range(1001)]
    opened = [turns.turn(flow, 100) for flow in flows]
    for one in opened:
        one.__enter__()
    newcomer = Flow("new", "new")

    def place() -> None:
        with turns.turn(newcomer, 100):
            pass

    print(line("a place among 1,000 that wait, given up", timed(2000, place)))
    began = time.perf_counter()
    for one in opened:
        one.__exit__(None, None, None)
    each = (time.perf_counter() - began) / len(opened)
    print(f"{'a turn handed on, 1,000 waiting at first':<44} mean {each * 1000:8.3f} ms")


if __name__ == "__main__":
    main()
