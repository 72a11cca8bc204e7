"""Where each microsecond of a request goes: its stages one by one, and all of them together.

Processor time of the thread that does it, the least of several rounds: a stage alone, with warm
caches, costs less than in the middle of others, so the sum is a floor and ``together`` is what it
comes to. Prints a table for ``docs/performance.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from gateway import SENTENCE, SETTINGS, Yard, furnish, synced

from casemate import api, server
from casemate.api.metrics import Metrics
from casemate.api.openai import models
from casemate.api.openai import response as shapes
from casemate.api.openai.request import ChatRequest
from casemate.api.resource import Face
from casemate.api.running import Desk
from casemate.at_hand import promptly
from casemate.engines.wire import Lines, Reading, chat, drawing
from casemate.installation import Installation
from casemate.models.profile import Profile
from casemate.reasoning import prompt as prompts
from casemate.reasoning.event import Event, Finished
from casemate.reasoning.recorder import _Waiting
from casemate.reasoning.run import language_for

ROUNDS, TIMES = 7, 300
CLIENTS = (1, 32, 128)
BATCHES = (1, 8, 32)


def line(stage: str, microseconds: float, note: str = "") -> None:
    """One row of the table."""
    print(f"| {stage} | {microseconds:.0f} | {note} |", flush=True)


def least(work: Callable[[], object]) -> float:
    """Microseconds of this thread for one ``work``."""
    found = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(TIMES):
            work()
        found.append((time.thread_time() - began) / TIMES * 1e6)
    return min(found)


async def least_of(work: Callable[[], Awaitable[object]]) -> float:
    """As ``least``, of something to be awaited."""
    found = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(TIMES):
            await work()
        found.append((time.thread_time() - began) / TIMES * 1e6)
    return min(found)


class Wire(asyncio.Transport):
    """The client's side of a connection, without a network: counts responses."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = asyncio.Event()

    def write(self, data: Any) -> None:
        self.answered.set()

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        return

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def pause_reading(self) -> None:
        return

    def resume_reading(self) -> None:
        return


class Bench:
    """One house, one question, and the values that its stages pass on."""

    def __init__(self, house: Installation, key: str) -> None:
        self.house, self.face = house, Face(house, time.time)
        self.header = f"Bearer {key}"
        self.body = json.dumps(
            {"model": "chat", "messages": [{"role": "user", "content": (SENTENCE * 14)[:900]}]}
        ).encode()
        self.caller = house.gate.caller_from_authorization(self.header)
        self.chat = ChatRequest.parse(msgspec.json.decode(self.body))
        self.asked = self.chat.to_run("chat", None, house.settings)
        self.admission = house.gate.admit(self.caller, use_case="chat")
        self.label = house.gate.country.policy.lowest()
        self.manifest = house.models.approved("mock")
        self.finished: Finished | None = None

    async def stages(self) -> None:
        """The stages of one request, in their order."""
        house, gate = self.house, self.house.gate
        await self.http()
        line(
            "key → caller",
            await least_of(lambda: promptly(gate.caller_from_authorization, self.header)),
            "SHA-256, compared in constant time",
        )
        line(
            "body → question",
            least(
                lambda: ChatRequest.parse(msgspec.json.decode(self.body)).to_run(
                    "chat", None, house.settings
                )
            ),
        )
        line(
            "model id → use case",
            await least_of(lambda: models.offered(self.face, self.caller, "chat")),
        )
        line(
            "admission",
            await least_of(lambda: promptly(gate.admit, self.caller, use_case="chat")),
            "label, Cedar's decision, collections",
        )
        line("place, quota, watch", await least_of(self.served))
        line("language of the question", least(lambda: language_for(self.asked)))
        line(
            "first entry made",
            least(
                lambda: house.runs._begins(
                    self.admission, self.asked, self.manifest.digest(), self.label
                ).record.sealed()
            ),
            "canonical JSON, commitment, AES-256-GCM",
        )
        line("prompt → request", least(self.prompt))
        line("exchange with the model server", await least_of(self.exchange), "one connection")
        line("answer read", least(self.read), "8 events")
        await house.tell(self.caller, self.asked, self.hear)
        line("answer rendered", least(self.render))
        opened = house.runs.open(self.admission, self.asked, self.manifest.digest(), self.label)
        contents = house.runs.contents(self.caller, self.finished.run)
        ending = {name: contents[name] for name in ("answer", "sources", "steps")}
        line(
            "second entry made",
            least(lambda: house.runs._ends(opened, "unanswered", self.label, ending).sealed()),
        )

    async def http(self) -> None:
        """What any request costs: the parser, the connection, what surrounds the answer."""
        from uvicorn.server import ServerState

        app = server.application(self.house)
        config = server._config(app, 4096, drain=1)
        config.load()
        connection = api.connection.connections(api.connection.Bounds())(
            config, ServerState(), {}, asyncio.get_running_loop()
        )
        wire = Wire()
        connection.connection_made(wire)
        request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x\r\n\r\n"

        async def one() -> None:
            wire.answered.clear()
            connection.data_received(request)
            await wire.answered.wait()

        line("HTTP and ASGI", await least_of(one), "of a request that asks nothing")
        connection.connection_lost(None)

    async def served(self) -> None:
        async with self.house._served(self.admission, 900) as served, served.watch.held():
            pass

    def prompt(self) -> bytes:
        built = prompts.build(self.asked, "en", (), (), "r", self.label, Profile())
        sampling = self.house._reasoner.sampling(self.asked, self.engine)
        return msgspec.json.encode(
            {"model": "mock", "stream": True, **chat(built), **drawing(sampling)}
        )

    @property
    def engine(self) -> Any:
        return self.house.engines.of(self.manifest)

    async def exchange(self) -> None:
        sent = self.engine.relay("/chat/completions", self.prompt(), self.label, stream=True)
        async with sent as answer:
            self.said = [piece async for piece in answer]

    def read(self) -> None:
        lines, reading = Lines(), Reading()
        for piece in self.said:
            for payload in lines.feed(piece):
                reading.read(payload)

    async def hear(self, events: Sequence[Event]) -> None:
        if isinstance(events[-1], Finished):
            self.finished = events[-1]

    def render(self) -> bytes:
        assert self.finished is not None
        made = shapes.completion([self.finished], use_case="chat", asked=self.asked, model="chat",
                                 created=1, site="")  # fmt: skip
        return shapes.encode(made)

    def records(self) -> None:
        """What the thread that records spends on one record, by how many there are at once."""
        runs, recorder = self.house.runs, self.house.runs._recorder
        for count in BATCHES:
            spent: dict[str, list[float]] = {"database": [], "ledger": []}
            for _ in range(30):
                begun = [
                    runs._begins(self.admission, self.asked, self.manifest.digest(), self.label)
                    for _ in range(count)
                ]
                waiting = [_Waiting(one.record, None) for one in begun]  # type: ignore[arg-type]
                recorder._sealed(waiting)
                for name, work in (
                    ("database", lambda waiting=waiting: recorder._store(waiting)),
                    ("ledger", lambda begun=begun: self.house.ledger.record_together(
                        [one.record.entry for one in begun])),
                ):  # fmt: skip
                    began = time.process_time()
                    work()
                    spent[name].append((time.process_time() - began) / count * 1e6)
            for name, found in spent.items():
                line(
                    f"{name}, one of {count} records at once",
                    statistics.median(found),
                    "all threads",
                )

    async def together(self) -> None:
        """Whole requests without HTTP, by how many there are at once."""
        desk = Desk(self.face, self.caller, Metrics(), lambda events: None)  # type: ignore[arg-type]
        for count in CLIENTS:
            loop, everything, waited = [], [], []
            for _ in range(ROUNDS):
                left = iter(range(max(64, 4 * count)))

                async def work(left: Any = left) -> None:
                    for _ in left:
                        await desk.answer(self.asked)

                began = time.thread_time(), time.process_time(), time.perf_counter()
                await asyncio.gather(*(work() for _ in range(count)))
                ended = time.thread_time(), time.process_time(), time.perf_counter()
                mine, all_, wall = (
                    (after - before) / max(64, 4 * count) * 1e6
                    for before, after in zip(began, ended, strict=True)
                )
                loop.append(mine)
                everything.append(all_)
                waited.append(wall * count / 1000)
            line(f"together, {count} at once: event loop", min(loop))
            line(
                f"together, {count} at once: all threads",
                min(everything),
                f"{statistics.median(waited):.1f} ms from question to answer",
            )


async def profile(house: Installation, key: str) -> None:
    """The whole table."""
    bench = Bench(house, key)
    print("| stage | µs of processor | |\n| --- | ---: | --- |")
    await bench.stages()
    await asyncio.to_thread(bench.records)
    await bench.together()
    await house.engines.close()


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    os.environ.update(SETTINGS)
    where = os.environ.get("BENCHMARK_DISK")
    with tempfile.TemporaryDirectory(dir=where) as made, Yard(Path(made)) as yard:
        key = furnish(Path(made) / "data", yard.upstream)
        with Installation.open(Path(made) / "data") as house:
            asyncio.run(profile(house, key))
            line("one sync of the disk", synced(Path(made)) * 1e6, "waited, not worked")


if __name__ == "__main__":
    main()
