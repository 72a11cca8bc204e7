"""A request that ends at any step, for whatever reason, gives back all that it held."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import coroutine
from typing import Any

import pytest
from house_builders import House, a_house
from model_server import ModelServer, a_script
from served_house import PATHS, furnish

from casemate import api, server
from casemate.api import departure
from casemate.api.departure import Departure
from casemate.engines.schedule import Flow
from casemate.gate.limit import EVERY, PRINCIPAL, RUNS, Limit

_MOST = 300  # steps that a request has at most

End = Callable[[Departure], object]
ENDS: dict[str, End] = {
    "the client goes": lambda client: client.depart(),
    "the server stops": lambda client: _myself().cancel(),
    "both": lambda client: (client.depart(), _myself().cancel()),
}


@dataclass
class Place:
    """An application, and all that it counts."""

    house: House
    app: api.Surroundings
    key: str
    crowded: bool  # so that a request waits at the door, and for its model
    others: list[Callable[..., object]] = field(default_factory=list)

    def occupy(self) -> None:
        """Let others stand before the next request, at the door and at the model."""
        for turns in (self.app._door.turns, self.turns):
            for _ in range(turns.slots):
                turn = turns.turn(Flow("others", "other"), 1)
                self.others.append(turn.__enter__().__exit__)
        self.app._door._freely += 4

    def make_way(self) -> None:
        """Let all others go."""
        if self.others:
            self.app._door._freely -= 4
        while self.others:
            self.others.pop()()

    @property
    def turns(self) -> Any:
        installation = self.house.installation
        return installation.engines.turns(installation.models.approved("tiny"))

    def held(self) -> dict[str, object]:
        """What is not as it was before anybody came."""
        gate, door, turns = self.house.installation.gate, self.app._door, self.turns
        leases = gate.budgets._leases.values()
        counts = {
            "free lane": door._freely,
            "door": (door.turns._inside, len(door.turns._schedule), door.turns._schedule.working),
            "model": (turns._inside, len(turns._schedule), turns._schedule.working),
            "waiting": len(turns._granted) + len(door.turns._granted),
            "open runs": sum(gate.budgets._open.values()),
            "reserved": sum(one.reserved for one in leases),
            "watches": len(gate.watches._open),
        }
        return {name: one for name, one in counts.items() if one not in (0, (0, 0, 0))}

    async def ask(self, stream: bool, step: int, end: End) -> bool:
        """Ask, and have it end at this step; whether it came so far."""
        client, sent = Departure(), []
        body = {"model": "chat", "stream": stream}
        content = json.dumps({**body, "messages": [{"role": "user", "content": "How?"}]})

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0)
            if client.gone:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": content.encode(), "more_body": False}

        async def send(message: Any) -> None:
            await asyncio.sleep(0)
            sent.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": PATHS["openai"],
            "raw_path": PATHS["openai"].encode(),
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {self.key}".encode())],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            departure.KEY: client,
        }
        # So that the database is asked for room each time.
        self.house.installation.gate.budgets.report()
        if self.crowded:
            self.occupy()
        steps = _ended_at(step, lambda: end(client), self.app(scope, receive, send), self.make_way)
        before = asyncio.all_tasks()
        try:
            came = await asyncio.ensure_future(steps)
        except asyncio.CancelledError:
            came = True
        self.make_way()
        if rest := asyncio.all_tasks() - before:  # such as what closes a run
            await asyncio.wait(rest)
        for _ in range(500):  # a thread may give something back, too
            if not self.held():
                break
            await asyncio.sleep(0.01)
        return came


def _myself() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


@coroutine
def _ended_at(
    step: int, end: Callable[[], object], work: Any, make_way: Callable[[], None]
) -> Generator[Any, Any, bool]:
    """Do ``work``; where it waits for the ``step``-th time, end it. Whether it came so far."""
    steps, number, problem = work.__await__(), 0, None
    loop = asyncio.get_running_loop()
    while True:
        try:
            waited = next(steps) if problem is None else steps.throw(problem)
        except StopIteration:
            return number >= step
        number, problem = number + 1, None
        if number == step:
            end()
        loop.call_soon(make_way)
        try:
            yield waited
        except BaseException as raised:
            problem = raised


@pytest.fixture(params=[False, True], ids=["alone", "crowded"])
def place(
    tmp_path: Path, model_server: ModelServer, request: pytest.FixtureRequest
) -> Iterator[Place]:
    model_server.pieces = [a_script("It is ", "40 euros.")]
    with a_house(tmp_path / "data") as house:
        key = furnish(house, [model_server.address], slots=1)
        tenant = house.owner.principal.tenant
        house.installation.gate.quotas.put(
            house.owner, Limit.parse(tenant, PRINCIPAL, EVERY, RUNS, "", 2)
        )
        yield Place(house, server.application(house.installation), key, request.param)


def test_whatever_ends_a_request_at_whatever_step_all_of_it_is_given_back(place: Place) -> None:
    async def every_step(stream: bool, why: str) -> int:
        for step in range(1, _MOST):
            came = await place.ask(stream, step, ENDS[why])
            assert place.held() == {}, (stream, why, step)
            if not came:
                return step
        raise AssertionError("a request has more steps than that")

    async def every_end() -> None:
        for stream in (False, True):
            for why in ENDS:
                assert await every_step(stream, why) > 5
        await place.house.installation.engines.close()

    asyncio.run(every_end())
    runs = place.house.installation.runs.list(place.house.owner, limit=1000)
    assert {one.outcome for one in runs} == {"unanswered", "failed"}  # without a source
    assert all(len(place.house.entries_of(one.id)) == 2 for one in runs)
