"""Faults of model servers as programs meet them, in both dialects, and what the ledger says."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
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
    says_and_stalls,
)
from served_house import PATHS, served

from casemate.cli.acts import named
from casemate.cli.record import model_line

WORD = a_chunk(an_event(content="word "))
SHORT = {"remote_first_token_seconds": 0.5, "remote_between_tokens_seconds": 0.5}
FAULTS: dict[str, tuple[Script, int]] = {
    "resets": (says_and_resets(), 502),
    "closes after the head": (says_and_closes(EVENTS), 502),
    "closes in a chunk": (says_and_closes(EVENTS, WORD, WORD[:20]), 502),
    "ends without [DONE]": (says(EVENTS + WORD + LAST), 502),
    "ends in an event": (says(EVENTS + WORD + a_chunk(WORD[5:20]) + LAST), 502),
    "is shorter than it says": (
        says_and_closes(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + an_event(content="x")),
        502,
    ),
    "talks nonsense": (says(b"\x00\xff" * 99), 502),
    "says 10 MB in one token": (
        says(EVENTS + a_chunk(an_event(content="x" * 10_000_000)) + a_chunk(DONE) + LAST),
        502,
    ),
    "compresses": (says(EVENTS[:-2] + b"Content-Encoding: gzip\r\n\r\n" + LAST), 502),
    "leads elsewhere": (says(an_answer(b"", status="302 Found", headers=b"Location: /x\r\n")), 502),
    "does not know the model": (says(an_answer(b"{}", status="404 Not Found")), 502),
    "stalls before its head": (says_and_stalls(), 504),
    "stalls before its first token": (says_and_stalls(EVENTS), 504),
    "stalls between tokens": (says_and_stalls(EVENTS, WORD), 504),
    "is busy": (says(an_answer(b"", status="429 Too Many")), 503),
}
CODES = {502: "bad_gateway", 503: "unavailable", 504: "timeout"}


def told(dialect: str, status: int, body: bytes) -> Any:
    """What a whole error response says, if it has the dialect's shape."""
    found = json.loads(body)
    problem = found["error"] if dialect == "openai" else found
    assert (problem["type"], problem["code"]) == ("server_error", CODES[status])
    if dialect == "mistral":
        assert (found["object"], found["raw_status_code"]) == ("error", status)
    return problem["message"]


def last_of(dialect: str, body: bytes) -> Any:
    """What the last event of a stream says, if it has the dialect's shape for an error."""
    events = [one.removeprefix(b"data: ") for one in body.split(b"\n\n") if one]
    if dialect == "openai":
        assert b"[DONE]" not in body
        return json.loads(events[-1])["error"]["message"]
    assert events[-1] == b"[DONE]"
    (choice,) = json.loads(events[-2])["choices"]
    assert choice["finish_reason"] == "error"
    return " ".join(choice["delta"]["metadata"]["error"].values())


@pytest.mark.parametrize("dialect", PATHS)
def test_each_fault_has_its_error_in_the_dialect_and_two_entries(
    tmp_path: Path, dialect: str
) -> None:
    async def met() -> None:
        async with (
            FaultyServer(says_and_stalls()) as server,
            served(tmp_path / "data", [server], **SHORT) as house,
        ):
            for fault, (script, expected) in FAULTS.items():
                server.script = says(a_stream(["well"]))  # so that the breaker stays closed
                status, run, _ = await house.ask(dialect, stream=False)
                assert status == 200
                server.script = script
                status, run, body = await house.ask(dialect, stream=False)
                assert status == expected, fault
                said = told(dialect, status, body)
                status, streamed, body = await house.ask(dialect, stream=True)
                assert (status, last_of(dialect, body)) == (200, said), fault
                ended = await house.all_ended(filter(None, (run, streamed)))
                assert {one["outcome"] for one in ended} == {"failed"}, fault
                assert streamed
            ((_, (replica,)),) = house.house.installation.engines.replicas()
            assert replica.outstanding == 0

    asyncio.run(met())


@pytest.mark.parametrize("dialect", PATHS)
def test_a_server_that_is_not_there_is_unavailable_and_says_when_to_ask_again(
    tmp_path: Path, dialect: str
) -> None:
    async def met() -> None:
        async with (
            FaultyServer(says_and_stalls()) as server,
            served(tmp_path / "data", [server]) as house,
        ):
            await server.stop()
            for said in ("does not answer", "can be asked now"):
                status, _, body = await house.ask(dialect, stream=False)
                assert status == 503
                assert said in told(dialect, status, body)

    asyncio.run(met())


def test_a_replica_that_dies_under_two_hundred_streams_ends_them_and_no_others(
    tmp_path: Path,
) -> None:
    async def met() -> None:
        begun, finish = asyncio.Event(), asyncio.Event()
        count = 0

        async def streaming(peer: Peer) -> None:
            nonlocal count
            await peer.send(EVENTS + WORD)
            count += 1
            if count == 200:
                begun.set()
            await finish.wait()
            await peer.send(a_chunk(DONE) + LAST)

        async with (
            FaultyServer(streaming) as dying,
            FaultyServer(streaming) as living,
            served(
                tmp_path / "data",
                [dying, living],
                slots=256,
                concurrent_runs=999,
                waiting_runs=9999,
            ) as house,
        ):
            finish.set()
            keys = [house.key, house.house.key(house.house.person("other").principal.name)]
            for key in keys:  # who is known has a queue of their own at the door
                await house.ask("openai", stream=True, key=key)
            finish.clear()
            count = 0
            asked = [house.ask("openai", stream=True, key=keys[n % 2]) for n in range(200)]
            streams = [asyncio.create_task(one) for one in asked]
            await begun.wait()
            ((_, replicas),) = house.house.installation.engines.replicas()
            assert [one.outstanding for one in replicas] == [100, 100]
            await dying.stop()
            lost, going = await asyncio.wait(streams, return_when=asyncio.FIRST_COMPLETED)
            while len(lost) < 100:
                more, going = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
                lost |= more
            finish.set()
            answers = await asyncio.gather(*streams)
            broken = [one for one in answers if b"[DONE]" not in one[2]]
            assert (len(lost), len(broken)) == (100, 100)
            assert all("middle of its answer" in last_of("openai", one[2]) for one in broken)
            ended = await house.all_ended(one[1] for one in answers)
            # An answer that cites nothing is "unanswered".
            assert Counter(one["outcome"] for one in ended) == {"failed": 100, "unanswered": 100}
            failed = {one["run"] for one in ended if one["outcome"] == "failed"}
            assert failed == {one[1] for one in broken}
            assert (await house.ask("openai", stream=True))[0] == 200
            ((_, replicas),) = house.house.installation.engines.replicas()
            assert [one.outstanding for one in replicas] == [0, 0]
            assert replicas[0].state == "open"

    asyncio.run(met())


@pytest.mark.parametrize("dialect", PATHS)
def test_a_client_that_leaves_at_any_byte_ends_the_run_and_reaches_the_model_server(
    tmp_path: Path, dialect: str
) -> None:
    async def met() -> None:
        async with (
            FaultyServer(says_and_stalls(EVENTS, WORD * 3)) as server,
            served(tmp_path / "data", [server], concurrent_runs=999) as house,
        ):
            length = await house.leave_after(dialect, 1 << 20)
            await house.all_ended(one["run"] for one in house.entries("run.admitted"))
            tasks = asyncio.all_tasks()
            for position in [*range(20), *range(20, length, length // 12), length]:
                await house.leave_after(dialect, position)
            await server.settled()
            admitted = [one["run"] for one in house.entries("run.admitted")]
            assert len(admitted) >= 32  # a byte of the response says that the run is admitted
            ended = await house.all_ended(admitted)
            assert {one["outcome"] for one in ended} == {"failed"}
            assert len(ended) == len(admitted)
            if left := asyncio.all_tasks() - tasks:
                await asyncio.wait(left)  # each ends by itself
            ((_, (replica,)),) = house.house.installation.engines.replicas()
            assert (replica.outstanding, replica.failures) == (0, 0)

    asyncio.run(met())


def test_metrics_and_status_tell_how_replicas_are_by_their_numbers(tmp_path: Path) -> None:
    async def met() -> None:
        async with (
            FaultyServer(says(a_stream(["well"]))) as dying,
            FaultyServer(says_and_stalls(EVENTS, WORD)) as living,
            served(tmp_path / "data", [dying, living]) as house,
        ):
            await dying.stop()
            asking = asyncio.create_task(house.ask("openai", stream=True))
            while not living.heads:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            told = await asyncio.to_thread(house.get, "/metrics")
            for line in (
                'casemate_replica_outstanding{model="tiny",replica="1"} 0.0',
                'casemate_replica_outstanding{model="tiny",replica="2"} 1.0',
                'casemate_replica_state{model="tiny",replica="1",state="closed"} 0.0',
                'casemate_replica_state{model="tiny",replica="2",state="closed"} 1.0',
                'casemate_replica_failures_total{model="tiny",replica="1"} 1.0',
                'casemate_replica_retries_total{model="tiny",replica="1"} 1.0',
            ):
                assert line in told
            assert str(living.port) not in told
            installation = house.house.installation
            (status,) = [one async for one in named("status")(installation, house.house.owner, {})]
            (model,) = [one for one in status["models"] if one["model"] == "tiny"]
            assert [one["failures"] for one in model["replicas"]] == [1, 0]
            assert "replica 1 of 2 fails" in model_line(model)
            asking.cancel()
            await asyncio.wait({asking})

    asyncio.run(met())
