"""Whatever happens to exchanges and servers, in whatever order: the replicas' accounts agree."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from faulty_server import (
    DONE,
    EVENTS,
    LAST,
    FaultyServer,
    Peer,
    Script,
    a_chunk,
    a_stream,
    an_answer,
    an_event,
    says,
    says_and_closes,
    says_and_resets,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from remote_builders import LOWEST, Clock, a_request, an_upstream

from casemate.engines.remote import Exchange
from casemate.errors import Unavailable

T = TypeVar("T")

BEGUN = EVENTS + a_chunk(an_event(content="begun"))


async def until_told(peer: Peer) -> None:
    """Begin, and end only when the other side has gone."""
    await peer.send(BEGUN)
    await peer.left()


WAYS: dict[str, Script] = {
    "answers": says(a_stream(["fine"])),
    "streams": until_told,
    "resets": says_and_resets(),
    "breaks off": says_and_closes(BEGUN),
    "is busy": says(an_answer(b"", status="503 Busy", headers=b"Retry-After: 2\r\n")),
    "turns away": says(an_answer(b"", status="429 Too Many")),
    "fails": says(an_answer(b"{}", status="500 Oops")),
    "is mad": says(b"\r\n\r\nGarbage\r\n"),
    "goes on": says(BEGUN, a_chunk(DONE) + LAST + b"x"),
}


class Replicas(RuleBasedStateMachine):
    """Three servers that change their ways, and whoever asks them."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.servers = [FaultyServer(WAYS["answers"]) for _ in range(3)]
        for server in self.servers:
            self.do(server.start())
        self.alive = [True] * 3
        self.upstream = an_upstream(*(one.address for one in self.servers), clock=self.clock)
        self.open: list[Exchange] = []
        self.asking: list[asyncio.Task[Exchange]] = []

    def do(self, act: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(act)

    @rule()
    def begin(self) -> None:
        with suppress(Unavailable):  # a refusal leaves nothing that counts
            self.open.append(self.do(self.upstream.exchange(a_request()).__aenter__()))

    @rule()
    def begin_and_be_cancelled(self) -> None:
        async def cancelled() -> None:
            asking = asyncio.ensure_future(self.upstream.exchange(a_request()).__aenter__())
            await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait({asking})
            # It may have been faster, either way.
            if not asking.cancelled() and asking.exception() is None:
                self.open.append(asking.result())

        self.do(cancelled())

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 99))
    def read_on(self, which: int) -> None:
        """Read what is there, or leave after a moment."""
        exchange = self.open.pop(which % len(self.open))

        async def read() -> None:
            try:
                await asyncio.wait_for(exchange.whole(1 << 20), 0.01)
            except (Unavailable, TimeoutError):
                pass
            finally:
                await exchange.__aexit__(None, None, None)

        self.do(read())

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 99))
    def leave(self, which: int) -> None:
        self.do(self.open.pop(which % len(self.open)).__aexit__(None, None, None))

    @rule(which=st.integers(0, 2), way=st.sampled_from(sorted(WAYS)))
    def change_its_ways(self, which: int, way: str) -> None:
        self.servers[which].script = WAYS[way]

    @rule(which=st.integers(0, 2))
    def die_or_rise(self, which: int) -> None:
        server = self.servers[which]
        self.do(server.stop() if self.alive[which] else server.start())
        self.alive[which] = not self.alive[which]

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 31.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def look_after_them(self) -> None:
        async def looked() -> None:
            await asyncio.gather(*self.upstream.look_after())

        self.do(looked())

    @invariant()
    def as_many_are_outstanding_as_are_open(self) -> None:
        counted = [one.outstanding for one in self.upstream.health()]
        assert counted == [sum(one.replica == n for one in self.open) for n in (1, 2, 3)]

    def teardown(self) -> None:
        for server, alive in zip(self.servers, self.alive, strict=True):
            server.script = WAYS["answers"]
            if not alive:
                self.do(server.start())
        for exchange in self.open:
            self.do(exchange.__aexit__(None, None, None))
        self.clock.now += 31.0

        async def well_again() -> None:
            await asyncio.gather(*self.upstream.look_after())
            for _ in range(3):
                async with self.upstream.exchange(a_request(LOWEST)) as answer:
                    await answer.whole(1 << 20)
            assert [one.state for one in self.upstream.health()] == ["closed"] * 3
            await self.upstream.close()
            for server in self.servers:
                await server.settled()
                await server.stop()
            assert len(asyncio.all_tasks()) == 1

        self.do(well_again())
        self.loop.close()


TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
