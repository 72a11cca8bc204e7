"""Ask model servers that fail at random, leave streams at random moments, and weigh what remains.

    python campaigns/upstream_faults.py [--requests 100000] [--cancelled 10000]
        [--through engine|house|bytes] [--askers 32] [--seed 1]

Three replicas in a process of their own answer well most of the time; else they reset, stall,
break off, lie about lengths, compress, turn away or talk nonsense, and now and then one dies for a
moment. Through the engine, this process asks and is weighed; through the house, a `casemate up` is
asked over HTTP and weighed, and each run must have its two entries. Through bytes, clients leave a
stream after its first byte, its second, and so on to its last, in both dialects. Prints the weight
at every thousand, how much it grew after the first quarter, and the figures; exit 1 if memory grew,
if a socket, a task or an exchange was left, if a run has no end, or if an answer was neither whole
nor a proper error.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import os
import random
import statistics
import struct
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "integration"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "integration" / "engines"))

from faulty_server import (
    DONE,
    EVENTS,
    LAST,
    FaultyServer,
    Peer,
    Script,
    a_chunk,
    an_answer,
    an_event,
    says,
    says_and_closes,
    says_and_resets,
    says_and_stalls,
)
from house_builders import Server, a_house, a_server
from remote_builders import LOWEST, an_engine
from served_house import PATHS, Served, furnish, served

from casemate.engines.remote import Phases, RemoteEngine
from casemate.errors import Unavailable

REPLICAS = 3
STEP = 1_000  # requests between two weighings
WORD = a_chunk(an_event(content="word "))
WELL = says(EVENTS, WORD, *[WORD] * 7, a_chunk(DONE) + LAST)
FAULTS: tuple[Script, ...] = (
    says_and_resets(),
    says_and_closes(EVENTS),
    says_and_resets(EVENTS, WORD),
    says_and_closes(EVENTS, WORD, WORD[:20]),
    says(EVENTS + WORD + LAST),
    says_and_closes(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + an_event(content="x")),
    says(an_answer(an_event(content="x") + DONE) + b"more"),
    says(b"\x00\xff" * 99),
    says(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 500),
    says(EVENTS[:-2] + b"Content-Encoding: gzip\r\n\r\n" + LAST),
    says(EVENTS + a_chunk(an_event(content="x" * 2_000_000)) + a_chunk(DONE) + LAST),
    says(an_answer(b"", status="302 Found")),
    says(an_answer(b"", status="429 Too Many")),
    says(an_answer(b"", status="503 Busy")),
    says(an_answer(b"{}", status="500 Oops")),
)
STALLS: tuple[Script, ...] = (says_and_stalls(), says_and_stalls(EVENTS, WORD))
PHASES = Phases(connect=2.0, first=0.25, between=0.25, whole=5.0)
SETTINGS = "".join(
    f"{name} = {value}\n"
    for name, value in {
        "remote_connect_seconds": PHASES.connect,
        "remote_first_token_seconds": PHASES.first,
        "remote_between_tokens_seconds": PHASES.between,
        "remote_answer_seconds": PHASES.whole,
        "concurrent_runs": 9999,
        "waiting_runs": 9999,
    }.items()
)


# The model servers, in a process of their own.


def serve_faults(pipe: Connection, seed: int) -> None:
    """Serve until somebody says otherwise; tells the addresses."""
    asyncio.run(_serve_faults(pipe, random.Random(seed)))


async def _serve_faults(pipe: Connection, dice: random.Random) -> None:
    async def script(peer: Peer) -> None:
        drawn = dice.random()
        if drawn < 0.92:
            await WELL(peer)
        elif drawn < 0.995:
            await dice.choice(FAULTS)(peer)
        else:
            await dice.choice(STALLS)(peer)

    servers = [FaultyServer(script) for _ in range(REPLICAS)]
    for server in servers:
        await server.start()
    pipe.send([server.address for server in servers])
    while not pipe.poll():
        await asyncio.sleep(dice.uniform(0.5, 3.0))
        server = dice.choice(servers)
        await server.stop()
        await asyncio.sleep(dice.uniform(0.05, 0.5))
        await server.start()


# What asks, and what is weighed.


@dataclass
class Report:
    """What came of it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    weights: list[int] = field(default_factory=list)  # resident bytes, at every ``STEP``
    findings: list[str] = field(default_factory=list)

    def weigh(self, process: int) -> None:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        self.weights.append(pages * os.sysconf("SC_PAGE_SIZE"))

    @property
    def growth(self) -> float:
        """Bytes that a request adds, after the first quarter: the slope of the weights."""
        settled = self.weights[len(self.weights) // 4 :]
        if len(settled) < 3:
            return 0.0
        return statistics.linear_regression(range(len(settled)), settled).slope / STEP

    def judge_memory(self) -> None:
        # What is loaded and cached once comes in the first quarter; what leaks, always.
        quarter = len(self.weights) // 4
        settled = max(self.weights[quarter : 2 * quarter + 1])
        last = statistics.median(self.weights[-max(1, len(self.weights) // 10) :])
        if last > settled * 1.05 + (4 << 20):
            self.findings.append(f"memory grew from {settled >> 20} to {int(last) >> 20} MiB")


def sockets(process: int) -> int:
    """How many are open. Files differ: each thread that reads the database has its own."""
    found = 0
    for name in os.listdir(f"/proc/{process}/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            found += os.readlink(f"/proc/{process}/fd/{name}").startswith("socket:")
    return found


async def _settled(process: int, before: int) -> int:
    """How many sockets are open once as few are as ``before``, or after a minute."""
    deadline = time.monotonic() + 60
    while (after := sockets(process)) > before and time.monotonic() < deadline:
        gc.collect()
        await asyncio.sleep(0.2)
    return after


Ask = Callable[[random.Random, bool], Awaitable[str]]


async def ask_all(
    report: Report, ask: Ask, *, requests: int, cancelled: int, askers: int, seed: int, weighed: int
) -> None:
    """So many of both, mixed; ``weighed`` is a process."""
    order = [True] * cancelled + [False] * requests
    random.Random(seed).shuffle(order)
    left = iter(enumerate(order))

    async def asker(dice: random.Random) -> None:
        for number, leaves in left:
            report.outcomes[await ask(dice, leaves)] += 1
            if number // STEP >= len(report.weights):
                gc.collect()
                report.weigh(weighed)

    await asyncio.gather(*(asker(random.Random(f"{seed} {n}")) for n in range(askers)))
    gc.collect()
    report.weigh(weighed)
    report.judge_memory()


async def through_engine(addresses: list[str], report: Report, **sizes: int) -> None:
    engine = an_engine(*addresses, phases=PHASES)
    before = sockets(os.getpid())

    async def ask(dice: random.Random, leaves: bool) -> str:
        # Half leave at a moment of their own, half once they have so many bytes.
        most = dice.randrange(1, 600) if leaves and dice.random() < 0.5 else None
        asking = asyncio.ensure_future(_stream(engine, most))
        if leaves and most is None:
            for _ in range(dice.randrange(12)):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait({asking})
        try:
            outcome = await asking
        except asyncio.CancelledError:
            return "cancelled"
        if outcome == "503":  # nobody can be asked, or all are busy
            await asyncio.sleep(0.02)
        return outcome

    await ask_all(report, ask, weighed=os.getpid(), **sizes)
    if any(one.outstanding for one in engine.health()):
        report.findings.append(f"exchanges are left: {engine.health()}")
    await engine.close()
    after = await _settled(os.getpid(), before)
    if len(left := asyncio.all_tasks()) > 1:
        report.findings.append(f"tasks are left: {left}")
    if after > before:
        report.findings.append(f"sockets are left: {before} before, {after} after")


async def _stream(engine: RemoteEngine, most: int | None) -> str:
    body = b""
    try:
        async with engine.relay("/chat/completions", b"{}", LOWEST, stream=True) as answer:
            async for piece in answer:
                body += piece
                if most is not None and len(body) >= most:
                    return "left"
    except Unavailable as problem:
        return f"{problem.status}"
    if answer.status == 500:
        return "answered 500"
    return "whole" if body.endswith(DONE) else "no end"


async def through_house(server: Server, key: str, report: Report, **sizes: int) -> None:
    process = server.process.pid
    house = Served(None, server.port, key)  # type: ignore[arg-type]

    async def ask(dice: random.Random, leaves: bool) -> str:
        dialect = dice.choice(("openai", "mistral"))
        if leaves:
            return await _leave(house, dialect, dice)
        status, _, body = await house.ask(dialect, stream=dice.random() < 0.8)
        if status == 500 or not body:
            report.findings.append(f"status {status} with {body[:200]!r}")
        return f"{status}" if status != 200 or b"word" not in body else "whole"

    for _ in range(64):  # whoever is known has a queue of their own
        await house.ask("openai", stream=False)
    before = sockets(process)
    await ask_all(report, ask, weighed=process, **sizes)
    # Idle connections to the replicas may stay a few seconds.
    if (after := await _settled(process, before)) > before:
        report.findings.append(f"sockets are left: {before} before, {after} after")
    told = server.http("GET", "/metrics").body.decode()
    for line in told.splitlines():
        if line.startswith("casemate_replica_outstanding{") and not line.endswith(" 0.0"):
            report.findings.append(f"exchanges are left: {line}")


async def _leave(house: Served, dialect: str, dice: random.Random) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(house.request(dialect, stream=True))
    length = dice.randrange(3000)
    with suppress(asyncio.IncompleteReadError, OSError):
        await reader.readexactly(length)
    with suppress(OSError):
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, linger)
    writer.transport.abort()
    return "left"


async def through_bytes(folder: Path, report: Report, askers: int) -> None:
    """Leave a stream that goes on after its first byte, its second, and so on to its last."""
    async with (
        FaultyServer(says_and_stalls(EVENTS, WORD * 3)) as server,
        served(folder, [server], concurrent_runs=9999, waiting_runs=9999) as house,
    ):
        for dialect in PATHS:
            length = await house.leave_after(dialect, 1 << 20)
            left = iter(range(1, length + 1))

            async def asker(dialect: str, left: Iterator[int]) -> None:
                for position in left:
                    await house.leave_after(dialect, position)
                    report.outcomes[dialect] += 1

            await asyncio.gather(*(asker(dialect, left) for _ in range(askers)))
        await server.settled()
        runs = [entry["run"] for entry in house.entries("run.admitted")]
        ended = await house.all_ended(runs)
        if len(ended) != len(runs) or len(runs) < sum(map(report.outcomes.get, PATHS)):
            report.findings.append(f"{len(runs)} runs were admitted and {len(ended)} ended")
        if odd := {entry["outcome"] for entry in ended} - {"failed"}:
            report.findings.append(f"runs that nobody waited for ended as {odd}")
        ((_, (replica,)),) = house.house.installation.engines.replicas()
        if replica.outstanding or replica.failures:
            report.findings.append(f"exchanges are left or were blamed on the server: {replica}")


def runs_without_end(folder: Path) -> int:
    """How many runs in the ledger of this folder were admitted and never finished."""
    with a_house(folder) as house:
        kinds = Counter(entry["kind"] for entry in house.entries())
    return kinds["run.admitted"] - kinds["run.finished"]


def run(through: str, **sizes: int) -> Report:
    """The campaign, in a process or two of its own."""
    report = Report()
    if through == "bytes":
        with tempfile.TemporaryDirectory() as temporary:
            asyncio.run(through_bytes(Path(temporary) / "data", report, sizes["askers"]))
        return report
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    upstream = spawning.Process(target=serve_faults, args=(there, sizes["seed"]), daemon=True)
    upstream.start()
    try:
        addresses = here.recv()
        if through == "engine":
            asyncio.run(through_engine(addresses, report, **sizes))
            return report
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "data"
            with a_house(folder) as house:
                key = furnish(house, addresses, 4096)
            (folder / "settings.toml").write_text(SETTINGS)
            with a_server(folder) as server:
                asyncio.run(through_house(server, key, report, **sizes))
                server.stop()
            if count := runs_without_end(folder):
                report.findings.append(f"{count} runs have no end in the ledger")
        return report
    finally:
        upstream.kill()
        upstream.join()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--cancelled", type=int, default=10_000)
    parser.add_argument("--through", choices=("engine", "house", "bytes"), default="engine")
    parser.add_argument("--askers", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    chosen = vars(parser.parse_args())
    began = time.monotonic()
    report = run(**chosen)
    seconds = time.monotonic() - began
    print("outcomes:", ", ".join(f"{name} {n:,}" for name, n in report.outcomes.most_common()))
    if report.weights:
        weights = " ".join(f"{weight / (1 << 20):.1f}" for weight in report.weights)
        print(f"resident MiB at every {STEP:,}:", textwrap.fill(weights, 96), sep="\n")
        print(f"growth after the first quarter: {report.growth:.1f} bytes a request")
    print(f"{sum(report.outcomes.values()):,} requests in {seconds:.0f} s")
    for finding in report.findings:
        print("FOUND:", finding)
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
