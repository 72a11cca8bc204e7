"""Fairness: what one tenant waits while another floods the house with a thousand questions.

A real server process, a model server on loopback that answers at a fixed pace, two
tenants with keys of their own. Idle and flooded series alternate, so that what else the machine
does weighs on both. Printed: seconds to the first word and to the end, idle and flooded, for each
priority of the flood, and their ratios, over all and of each round.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from aiohttp import web
from figures import line

from casemate.gate.caller import Caller
from casemate.gate.share import PRIORITIES
from casemate.installation import Installation
from casemate.library.importing import File
from casemate.models.manifest import Manifest

PAPER = b"# Fees\n\nThe dog tax is 40 euros a year. It is due on 1 March.\n"
TOKENS, PACE, SLOTS, PEOPLE = 40, 0.02, 8, 100  # an answer takes 0.8 s


async def complete(request: web.Request) -> web.StreamResponse:
    """An answer of ``TOKENS`` pieces, one every ``PACE`` seconds."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):  # who asked went away
        for number in range(TOKENS):
            await asyncio.sleep(PACE)
            text = "And so on. " if number else "The dog tax is 40 euros a year. [1]\n"
            event = json.dumps({"choices": [{"delta": {"content": text}}]})
            await response.write(f"data: {event}\n\n".encode())
        await response.write(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n')
        await response.write(b"data: [DONE]\n\n")
    return response


class Furnished:
    """A data folder with the paced model, and tenants that each have a paper and a use case."""

    def __init__(self, house: Installation, port: int) -> None:
        self.house, self.gate = house, house.gate
        self.lowest = self.gate.country.policy.lowest()
        owner = self.gate.owner()
        self.gate.perimeter.add(
            owner,
            name="here",
            host="127.0.0.1",
            ports=(port,),
            jurisdiction="LU",
            ceiling=self.lowest,
        )
        self.gate.principals.create(owner, "second", roles=("admin", "user"), clearance=self.lowest)
        manifest = Manifest.new(
            name="paced",
            version="1",
            engine="remote",
            architecture="none",
            licence="EUPL-1.2",
            origin="this benchmark",
            intended_use="Measuring.",
            limits="Always says the same.",
            label=str(self.lowest),
            address=f"http://127.0.0.1:{port}/v1",
            upstream="paced",
        )
        house.models.propose(owner, manifest)
        house.models.approve(self.caller("second"), "paced")
        self.gate.capacities.declare(owner, "paced", slots=SLOTS, accelerators=1, watts=500)

    def caller(self, name: str) -> Caller:
        return Caller(self.gate.principals.named(name), None, "local")

    def tenant(self, tenant: str, people: int) -> list[str]:
        """A tenant with a use case of its name; keys of its people."""
        owner, principals = self.gate.owner(), self.gate.principals
        principals.create_tenant(owner, tenant)
        for name in ("first", "second"):
            principals.create(
                owner,
                f"{tenant} {name}",
                roles=("admin", "user"),
                clearance=self.lowest,
                tenant=tenant,
            )
        first, second = self.caller(f"{tenant} first"), self.caller(f"{tenant} second")
        self.house.library.create_collection(first, f"papers of {tenant}")
        file = File("fees.md", len(PAPER), lambda: PAPER)
        list(self.house.library.add_all(first, f"papers of {tenant}", [file]))
        self.gate.use_cases.register(
            first,
            tenant,
            purpose="Questions at a desk.",
            legal_basis="Its own tasks.",
            risk="minimal",
            models=("paced",),
            ceiling=self.lowest,
            oversight="none",
            retention_days=400,
            screening=self.gate.use_cases.not_prohibited("It is a benchmark."),
        )
        self.gate.use_cases.approve(second, tenant)
        keys = []
        for number in range(people):
            principals.create(first, f"{tenant} {number}", clearance=self.lowest)
            keys.append(self.gate.keys.create(first, f"{tenant} {number}", use_case=tenant)[1])
        return keys


class Asking:
    """Questions to one server."""

    def __init__(self, base: str, client: aiohttp.ClientSession) -> None:
        self.base, self.client = base, client

    async def one(self, key: str, use_case: str) -> tuple[int, float, float]:
        """Status, seconds to the first word, seconds to the end; of a refusal, until when."""
        began = time.perf_counter()
        body = {
            "model": use_case,
            "stream": True,
            "messages": [{"role": "user", "content": "How much is the dog tax?"}],
        }
        first = 0.0
        async with self.client.post(
            f"{self.base}/v1/chat/completions",
            json=body,
            headers={"authorization": f"Bearer {key}"},
        ) as response:
            async for row in response.content:
                if not first and b"dog tax" in row:
                    first = time.perf_counter() - began
            if response.status == 429:
                return 429, float(response.headers["retry-after"]), 0.0
            return response.status, first, time.perf_counter() - began

    async def flood(self, keys: list[str], use_case: str, at_once: int, told: Counter[int]) -> None:
        """``at_once`` who ask without a pause; whoever is refused asks again when told to."""

        async def again(number: int) -> None:
            while True:
                status, later, _ = await self.one(keys[number % len(keys)], use_case)
                told[status] += 1
                if status != 200:
                    await asyncio.sleep(later)

        async with asyncio.TaskGroup() as group:
            for number in range(at_once):
                group.create_task(again(number))

    async def measured(self, key: str, count: int) -> tuple[list[float], list[float]]:
        found = []
        for _ in range(count):
            status, first, whole = await self.one(key, "asking")
            assert status == 200, status
            found.append((first, whole))
            await asyncio.sleep(0.3)
        return [first for first, _ in found], [whole for _, whole in found]


@contextlib.asynccontextmanager
async def serving(data: Path) -> AsyncIterator[str]:
    """``casemate up`` on a free port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "casemate", "--data", str(data), "up", "--port", "0"),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        ready = await process.stdout.readline()
        found = re.search(rb"http://\S+", ready)
        assert found, ready
        yield found.group().decode()
    finally:
        process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def a_flood(base: str, keys: list[str], at_once: int) -> AsyncIterator[dict[str, int]]:
    """The flood, in a process of its own; in the end, how many of which status it got."""
    told: dict[str, int] = {}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "--flood", base, "--at-once", str(at_once)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write("\n".join(keys).encode() + b"\n\n")
    try:
        yield told
    finally:
        process.terminate()
        out, _ = await process.communicate()
        told |= json.loads(out)


async def flood(base: str, at_once: int) -> None:
    """What ``a_flood`` runs: until it is told to stop."""
    keys = list(iter(lambda: sys.stdin.readline().strip(), ""))
    told: Counter[int] = Counter()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        asking = Asking(base, client)
        flooding = asyncio.create_task(asking.flood(keys, "flooding", at_once, told))
        await stopped.wait()
        flooding.cancel()
        await asyncio.wait({flooding})
    print(json.dumps(told))


def p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * len(values))]


Series = tuple[list[float], list[float]]  # seconds to the first word, and to the end


async def rounds(
    asked: Asking, key: str, flooding: list[str], chosen: argparse.Namespace
) -> tuple[list[Series], list[Series], Counter[str]]:
    """Series while nobody else asks and series in a flood, in turn; what the flood was told."""
    idle, busy, told = [], [], Counter[str]()
    each = -(-chosen.questions // chosen.rounds)
    await asked.measured(key, 3)  # what is loaded at the first question counts for neither
    for _ in range(chosen.rounds):
        idle.append(await asked.measured(key, each))
        async with a_flood(asked.base, flooding, chosen.at_once) as statuses:
            await asyncio.sleep(5)
            busy.append(await asked.measured(key, each))
        told.update(statuses)
        await asyncio.sleep(3)  # until what was cut off has ended
    return idle, busy, told


def tell(idle: list[Series], busy: list[Series]) -> None:
    """Print what came of the rounds."""
    for place, name in enumerate(("first word", "end")):
        before, after = ([series[place] for series in some] for some in (idle, busy))
        whole = [list(itertools.chain(*some)) for some in (before, after)]
        print(line(f"  {name}, idle", whole[0]))
        print(line(f"  {name}, flooded", whole[1]))
        ratio = p95(whole[1]) / p95(whole[0])
        medians = [
            f"{statistics.median(two) / statistics.median(one):.2f}"
            for one, two in zip(before, after, strict=True)
        ]
        print(f"  {name}: p95 flooded / idle = {ratio:.2f}; of medians, by round: {medians}")


async def main(chosen: argparse.Namespace) -> None:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=2048)
    await site.start()
    port = runner.addresses[0][1]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        with Installation.open(data) as house:
            made = Furnished(house, port)
            flooding = made.tenant("flooding", PEOPLE)
            (asking,) = made.tenant("asking", 1)
            made.gate.shares.prioritise(
                made.gate.owner(), made.caller("asking 0").principal.tenant, "asking", "interactive"
            )
            tenant = made.caller("flooding 0").principal.tenant
        connector = aiohttp.TCPConnector(limit=0)
        for priority in chosen.priority or PRIORITIES:
            with Installation.open(data) as house:
                house.gate.shares.prioritise(house.gate.owner(), tenant, "flooding", priority)
            async with (
                serving(data) as base,
                aiohttp.ClientSession(connector=connector, connector_owner=False) as client,
            ):
                idle, busy, told = await rounds(Asking(base, client), asking, flooding, chosen)
            print(f"a flood of {chosen.at_once} at once, {priority}: {dict(told)} by status")
            tell(idle, busy)
        await connector.close()
    await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=40, help="In each state.")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=1000)
    parser.add_argument("--priority", action="append", choices=PRIORITIES, help="Of the flood.")
    parser.add_argument("--flood", metavar="BASE", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.flood:
        asyncio.run(flood(chosen.flood, chosen.at_once))
        sys.exit()
    asyncio.run(main(chosen))
