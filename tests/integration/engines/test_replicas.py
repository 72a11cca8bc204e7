"""Several servers of one model: who is asked, and what happens when one of them fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

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
from remote_builders import LOWEST, Clock, Everywhere, a_request, an_upstream

from casemate.engines.remote import Phases
from casemate.engines.remote.upstream import Upstream
from casemate.errors import Broken, Refused, TooSlow, Unavailable
from casemate.gate.label import Label
from casemate.gate.place import Place

FINE = says(a_stream(["fine"]))
BUSY = an_answer(b"{}", status="503 Service Unavailable")


@asynccontextmanager
async def servers(*scripts: Script) -> AsyncIterator[list[FaultyServer]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(FaultyServer(script)) for script in scripts]


async def ask(upstream: Upstream, label: Label = LOWEST) -> int:
    """The number of the replica that answered, wholly."""
    async with upstream.exchange(a_request(label)) as answer:
        assert answer.status == 200
        await answer.whole(1 << 20)
        return answer.replica


def run(act: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(act())  # type: ignore[arg-type]


async def gone(upstream: Upstream) -> None:
    """Everything is given back."""
    assert [one.outstanding for one in upstream.health()] == [0] * len(upstream.health())
    await upstream.close()


def test_equals_take_turns() -> None:
    async def met() -> None:
        async with servers(FINE, FINE, FINE) as three:
            upstream = an_upstream(*(one.address for one in three))
            assert [await ask(upstream) for _ in range(6)] == [1, 2, 3, 1, 2, 3]
            await gone(upstream)

    run(met)


def test_the_one_with_the_fewest_exchanges_under_way_is_asked() -> None:
    async def met() -> None:
        stalling = says_and_stalls(EVENTS, a_chunk(an_event(content="x")))
        async with servers(stalling, stalling) as two, AsyncExitStack() as stack:
            upstream = an_upstream(*(one.address for one in two))
            open_ = [
                await stack.enter_async_context(upstream.exchange(a_request())) for _ in range(4)
            ]
            assert [one.replica for one in open_] == [1, 2, 1, 2]
            for one in open_[::2]:  # both of the first replica
                await one.__aexit__(None, None, None)
                stack.pop_all()
            more = [await upstream.exchange(a_request()).__aenter__() for _ in range(2)]
            assert [one.replica for one in more] == [1, 1]
            for one in (*more, *open_[1::2]):
                await one.__aexit__(None, None, None)
            await gone(upstream)

    run(met)


@pytest.mark.parametrize(
    "bad",
    [
        says_and_resets(),
        says_and_closes(EVENTS),
        says(b"nonsense\r\n\r\n"),
        says(BUSY),
        says(an_answer(b"", status="502 Bad Gateway")),
        says(an_answer(b"", status="429 Too Many Requests")),
    ],
    ids=["reset", "closed after the head", "nonsense", "503", "502", "429"],
)
def test_what_one_fails_before_its_first_piece_is_asked_of_another(bad: Script) -> None:
    async def met() -> None:
        async with servers(bad, FINE) as two:
            upstream = an_upstream(*(one.address for one in two))
            assert await ask(upstream) == 2
            first, second = upstream.health()
            assert (first.failures, first.retries) == (1, 1)
            assert (second.failures, second.retries) == (0, 0)
            await gone(upstream)

    run(met)


def test_a_replica_that_cannot_be_connected_to_is_left_alone_until_it_shows_that_it_lives() -> None:
    async def met() -> None:
        clock = Clock()
        async with servers(FINE, FINE) as (first, second):
            upstream = an_upstream(first.address, second.address, clock=clock)
            await first.stop()
            assert [await ask(upstream) for _ in range(4)] == [2] * 4
            assert upstream.health()[0].state == "open"
            assert upstream.health()[0].failures == 1  # it was tried once
            clock.now += 1.0
            assert upstream.health()[0].state == "half open"
            assert await ask(upstream) == 2  # nobody's question is the trial
            await asyncio.gather(*upstream.look_after())
            assert (upstream.health()[0].state, upstream.health()[0].failures) == ("open", 2)
            await first.start()
            clock.now += 2.0
            await asyncio.gather(*upstream.look_after())
            assert upstream.health()[0].state == "closed"
            assert first.probes == 1
            assert {await ask(upstream), await ask(upstream)} == {1, 2}
            await gone(upstream)

    run(met)


def test_where_no_other_lives_one_question_is_the_trial() -> None:
    async def met() -> None:
        clock = Clock()
        async with servers(FINE) as (only,):
            upstream = an_upstream(only.address, clock=clock)
            await only.stop()
            with pytest.raises(Unavailable, match="does not answer"):
                await ask(upstream)
            await only.start()
            clock.now += 0.25
            with pytest.raises(Unavailable, match="can be asked now") as refusal:
                await ask(upstream)
            assert (refusal.value.status, refusal.value.retry_after) == (503, 1)
            assert only.heads == []
            clock.now += 0.75
            asked = [asyncio.create_task(ask(upstream)) for _ in range(3)]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert [one for one in answers if isinstance(one, int)] == [1]
            assert upstream.health()[0].state == "closed"
            await gone(upstream)

    run(met)


def test_a_replica_that_asks_for_rest_has_it_within_bounds() -> None:
    async def met() -> None:
        clock = Clock()

        def busy(seconds: str) -> Script:
            wait = f"Retry-After: {seconds}\r\n".encode()
            return says(an_answer(b"{}", status="429 Too Many", headers=wait))

        async with servers(busy("3"), FINE) as (tired, other):
            upstream = an_upstream(tired.address, other.address, clock=clock)
            assert [await ask(upstream) for _ in range(3)] == [2] * 3
            assert len(tired.heads) == 1
            clock.now += 3.0
            tired.script = busy("99999")
            assert [await ask(upstream) for _ in range(3)] == [2] * 3
            assert len(tired.heads) == 2
            other.script = says(BUSY)
            with pytest.raises(Unavailable, match="503"):
                await ask(upstream)
            clock.now += 10.0
            tired.script = FINE
            assert await ask(upstream) == 1
            await gone(upstream)

    run(met)


def test_where_all_ask_for_rest_the_error_says_for_how_long() -> None:
    async def met() -> None:
        wait = b"Retry-After: 7\r\n"
        async with servers(says(an_answer(b"{}", status="503 Busy", headers=wait))) as (only,):
            upstream = an_upstream(only.address)
            for _ in range(2):
                with pytest.raises(Unavailable) as refusal:
                    await ask(upstream)
                assert (refusal.value.status, refusal.value.retry_after) == (503, 7)
            assert len(only.heads) == 1
            await gone(upstream)

    run(met)


def test_a_question_that_breaks_its_server_breaks_one_other_at_most() -> None:
    async def met() -> None:
        async with servers(*[says_and_resets()] * 4) as four:
            upstream = an_upstream(*(one.address for one in four))
            with pytest.raises(Broken):
                await ask(upstream)
            assert [len(one.heads) for one in four] == [1, 1, 0, 0]
            await gone(upstream)

    run(met)


def test_a_question_that_kills_its_server_kills_one_other_at_most() -> None:
    async def met() -> None:
        async with servers(*[FINE] * 4) as four:
            upstream = an_upstream(*(one.address for one in four))
            for _ in four:  # so that there is a connection to each
                await ask(upstream)
            for server in four:

                async def die(peer: Peer, server: FaultyServer = server) -> None:
                    server.turn_deaf()
                    peer.reset()

                server.script = die
            with pytest.raises(Unavailable):
                await ask(upstream)
            assert [len(one.heads) for one in four] == [2, 2, 1, 1]
            await gone(upstream)

    run(met)


def test_attempts_are_bounded() -> None:
    async def met() -> None:
        async with servers(*[says(BUSY)] * 5) as five:
            upstream = an_upstream(*(one.address for one in five))
            with pytest.raises(Unavailable, match="503"):
                await ask(upstream)
            assert sum(len(one.heads) for one in five) == 3
            await gone(upstream)

    run(met)


def test_nothing_is_asked_again_once_a_piece_was_handed_on() -> None:
    async def met() -> None:
        begun = says_and_resets(EVENTS, a_chunk(an_event(content="begun")))
        async with servers(begun, FINE) as (first, second):
            upstream = an_upstream(first.address, second.address)
            async with upstream.exchange(a_request()) as answer:
                assert b"begun" in await anext(answer)
                with pytest.raises(Broken, match="middle of its answer"):
                    await anext(answer)
            assert second.heads == []
            await gone(upstream)

    run(met)


def test_a_replica_that_is_too_slow_is_not_relieved_by_a_second() -> None:
    async def met() -> None:
        async with servers(says_and_stalls(EVENTS), FINE) as (first, second):
            upstream = an_upstream(first.address, second.address, phases=Phases(first=0.05))
            with pytest.raises(TooSlow):
                await ask(upstream)
            assert second.heads == []
            await gone(upstream)

    run(met)


def test_a_connection_that_was_closed_while_nobody_used_it_is_no_failure() -> None:
    async def met() -> None:
        async with servers(FINE) as (only,):
            upstream = an_upstream(only.address)
            await ask(upstream)
            # It closes in the moment in which the next request is sent.
            closing = next(iter(only.open))
            closing.cancel()
            assert await ask(upstream) == 1
            assert (only.served, upstream.health()[0].failures) == (2, 0)
            await gone(upstream)

    run(met)


def test_a_failing_status_is_not_for_ever() -> None:
    async def met() -> None:
        async with servers(says(an_answer(b"{}", status="500 Oops"))) as (only,):
            upstream = an_upstream(only.address)
            for _ in range(5):  # may be the question's fault: the replica is not given up for it
                async with upstream.exchange(a_request()) as answer:
                    assert answer.status == 500
            assert upstream.health()[0].state == "closed"
            await gone(upstream)

    run(met)


class Bounded(Everywhere):
    """A perimeter in which the server at ``port`` may hear nothing."""

    def __init__(self, port: int) -> None:
        self._port = port

    def declared(self, url: str, label: Label) -> Place:
        if f":{self._port}/" in url:
            raise Refused("Its ceiling is too low.")
        return super().declared(url, label)


def test_a_replica_whose_place_may_not_hold_the_label_is_left_out() -> None:
    async def met() -> None:
        async with servers(FINE, FINE) as (first, second):
            addresses = first.address, second.address
            upstream = an_upstream(*addresses, perimeter=Bounded(first.port))
            assert [await ask(upstream) for _ in range(3)] == [2] * 3
            assert first.served == 0
            await gone(upstream)
            upstream = an_upstream(first.address, perimeter=Bounded(first.port))
            with pytest.raises(Refused, match="ceiling"):
                await ask(upstream)
            assert first.served == 0
            await gone(upstream)

    run(met)


def test_a_change_of_the_perimeter_closes_the_connections_that_it_may_concern() -> None:
    async def met() -> None:
        async with servers(FINE) as (only,):
            perimeter = Everywhere()
            upstream = an_upstream(only.address, perimeter=perimeter)
            await ask(upstream)
            perimeter.places = (perimeter.declared("", LOWEST),)
            await ask(upstream)
            assert only.served == 2
            await gone(upstream)

    run(met)


def test_a_connection_in_use_while_the_perimeter_changes_is_not_used_again() -> None:
    async def met() -> None:
        async with servers(FINE) as (only,):
            perimeter = Everywhere()
            upstream = an_upstream(only.address, perimeter=perimeter)
            async with upstream.exchange(a_request()) as answer:
                perimeter.places = (perimeter.declared("", LOWEST),)
                await ask(upstream)  # another one has seen the change
                await answer.whole(1 << 20)
            (kept,) = upstream._replicas[0]._idle  # the other's
            await ask(upstream)
            assert upstream._replicas[0]._idle == [kept]
            await gone(upstream)

    run(met)


def test_a_connection_whose_request_was_answered_before_it_was_sent_is_not_used_again() -> None:
    async def met() -> None:
        done = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            await done.wait()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
        upstream = an_upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        async with upstream.exchange(a_request(body=b"x" * 30_000_000)) as answer:
            assert answer.status == 413
            assert await answer.whole(100) == b"no"
        assert not upstream._replicas[0]._idle
        done.set()
        await gone(upstream)
        server.close()

    run(met)


def test_a_replica_that_says_nothing_for_long_is_asked_whether_it_lives() -> None:
    async def met() -> None:
        clock = Clock()
        async with servers(FINE) as (only,):
            upstream = an_upstream(only.address, clock=clock)
            await ask(upstream)
            clock.now += 9.0
            assert upstream.look_after() == []
            assert only.probes == 0
            clock.now += 1.0
            only.probe = says(BUSY)
            for _ in range(5):
                await asyncio.gather(*upstream.look_after())
                clock.now += 10.0
            assert upstream.health()[0].failures == only.probes == 5
            assert upstream.health()[0].state == "half open"  # it was opened, and the pause is over
            clock.now += 60.0  # nobody has asked for a minute
            only.probe = says(an_answer(b"", status="404 Not Found"))  # lives, and knows no models
            await asyncio.gather(*upstream.look_after())
            assert upstream.health()[0].state == "closed"
            clock.now += 100.0
            assert upstream.look_after() == []
            assert only.probes == 6
            await gone(upstream)

    run(met)


def test_who_is_asked_for_a_sign_of_life_has_no_exchange_more() -> None:
    async def met() -> None:
        clock, probed = Clock(), asyncio.Event()

        async def stall(peer: Peer) -> None:
            probed.set()
            await peer.left()

        async with servers(FINE) as (only,):
            upstream = an_upstream(only.address, clock=clock)
            await ask(upstream)
            only.probe = stall
            clock.now += 10.0
            (probe,) = upstream.look_after()
            await probed.wait()
            await gone(upstream)
            assert probe.cancelled()
            await only.settled()

    run(met)


def test_a_replica_that_dies_under_two_hundred_streams_takes_only_its_own_with_it() -> None:
    async def met() -> None:
        begun, finish = asyncio.Event(), asyncio.Event()
        count = 0

        async def streaming(peer: Peer) -> None:
            nonlocal count
            await peer.send(EVENTS + a_chunk(an_event(content="begun")))
            count += 1
            if count == 400:
                begun.set()
            await finish.wait()
            await peer.send(a_chunk(DONE) + LAST)

        async def stream() -> int:
            async with upstream.exchange(a_request()) as answer:
                await answer.whole(1 << 20)
                return answer.replica

        async with servers(streaming, streaming) as (dying, living):
            upstream = an_upstream(dying.address, living.address)
            streams = [asyncio.create_task(stream()) for _ in range(400)]
            await begun.wait()
            assert [one.outstanding for one in upstream.health()] == [200, 200]
            await dying.stop()
            lost, _ = await asyncio.wait(streams[::2])
            assert {type(one.exception()) for one in lost} == {Broken}
            assert [one.outstanding for one in upstream.health()] == [0, 200]
            assert upstream.health()[0].state == "open"
            finish.set()
            assert await asyncio.gather(*streams[1::2]) == [2] * 200
            assert [await ask(upstream) for _ in range(3)] == [2] * 3
            await gone(upstream)

    run(met)
