"""The remote engine against servers that break off, stall, lie and talk nonsense."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
from faulty_server import (
    DONE,
    EVENTS,
    LAST,
    FaultyServer,
    Script,
    a_chunk,
    a_stream,
    an_answer,
    an_event,
    says,
    says_and_closes,
    says_and_resets,
    says_and_stalls,
    says_for_ever,
)
from remote_builders import LOWEST, PROMPT, an_engine

from casemate.engines.engine import Sampling
from casemate.engines.remote import Phases, RemoteEngine
from casemate.errors import Broken, Invalid, TooSlow

WORD = a_chunk(an_event(content="word "))
JSON = b'{"data":[{"index":0,"embedding":[1.0]}]}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GZIPPED = gzip.compress(b"data: " + b"0" * (1 << 20))
A_BOMB = a_chunk(GZIPPED) + LAST

Asking = Callable[[RemoteEngine], Awaitable[Any]]


async def generate(engine: RemoteEngine) -> str:
    async with aclosing(engine.generate(PROMPT, Sampling())) as tokens:
        return "".join([token.text async for token in tokens])


async def relay(engine: RemoteEngine) -> bytes:
    async with engine.relay("/chat/completions", b"{}", LOWEST, stream=True) as answer:
        return await answer.whole(1 << 28)


async def embed(engine: RemoteEngine) -> list[list[float]]:
    return await engine.embed(["x"], label=LOWEST)


def meet(script: Script, ask: Asking, phases: Phases = Phases(), times: int = 1) -> Any:  # noqa: B008
    """Ask a server that does this; what it gives or raises. Nothing may be left afterwards."""

    async def met() -> Any:
        async with FaultyServer(script) as server:
            engine = an_engine(server.address, phases=phases)
            try:
                for _ in range(times):
                    given = await ask(engine)
                return given
            finally:
                assert [one.outstanding for one in engine.health()] == [0]
                await engine.close()
                await server.settled()  # nothing is open that the server could wait for
                left = {task.get_name() for task in asyncio.all_tasks()}
                assert left == {asyncio.current_task().get_name()}  # type: ignore[union-attr]

    return asyncio.run(met())


BREAKS = {
    "closes at once": says_and_closes(),
    "resets at once": says_and_resets(),
    "closes in the head": says_and_closes(EVENTS[:30]),
    "resets in the head": says_and_resets(EVENTS[:30]),
    "closes after the head": says_and_closes(EVENTS),
    "resets after the head": says_and_resets(EVENTS),
    "resets in the stream": says_and_resets(EVENTS, WORD),
    "closes in the size of a chunk": says_and_closes(EVENTS, WORD, b"1"),
    "closes in a chunk": says_and_closes(EVENTS, WORD, WORD[:20]),
    "closes before the last chunk": says_and_closes(EVENTS, WORD),
    "says less than it announced": says_and_closes(HEAD + b"Content-Length: 99\r\n\r\n" + JSON),
    "says more than it announced": says(HEAD + b"Content-Length: 3\r\n\r\n" + JSON),
    "says a second answer": says(an_answer(JSON) + an_answer(JSON)),
    "has two lengths": says(HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    "has a length and chunks": says(EVENTS[:-2] + b"Content-Length: 5\r\n\r\n" + WORD + LAST),
    "has a length below nothing": says(HEAD + b"Content-Length: -1\r\n\r\n"),
    "has chunks of no size": says(EVENTS + b"zz\r\n"),
    "has a chunk that is longer than its size": says(EVENTS + b"2\r\nabc\r\n"),
    "has bare line feeds": says(EVENTS.replace(b"\r\n", b"\n") + WORD + LAST),
    "talks nonsense": says(b"\x00\xff" * 500),
    "talks TLS": says(b"\x15\x03\x01\x00\x02\x02\x46"),
    "talks HTTP/2": says(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\x00" * 18),
    "talks SMTP": says(b"220 mail.example ESMTP\r\n"),
    "changes the protocol": says(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    ),
    "has a header without an end": says_for_ever(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 4096),
    "has headers without an end": says_for_ever(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n" * 10),
    "has interim answers without an end": says_for_ever(b"", b"HTTP/1.1 103 Hints\r\n\r\n"),
    "has a chunk's size without an end": says_for_ever(EVENTS + b"5;", b"x" * 4096),
    "has trailers without an end": says_for_ever(EVENTS + b"0\r\n", b"X: x\r\n" * 10),
    "compresses": says(EVENTS[:-2] + b"Content-Encoding: gzip\r\n\r\n" + A_BOMB),
    "compresses twice": says(EVENTS[:-2] + b"Content-Encoding: gzip, gzip\r\n\r\n" + A_BOMB),
    "compresses the transfer": says(EVENTS.replace(b"chunked", b"gzip, chunked") + A_BOMB),
}


@pytest.mark.parametrize("ask", [generate, relay, embed])
@pytest.mark.parametrize("breaks", BREAKS)
def test_a_server_that_breaks_the_protocol_is_broken_and_nothing_is_left_of_it(
    breaks: str, ask: Asking
) -> None:
    with pytest.raises(Broken, match=r"^The model server ") as refusal:
        meet(BREAKS[breaks], ask)
    assert (refusal.value.status, bool(refusal.value.next)) == (502, True)


@pytest.mark.parametrize(
    "script",
    [
        says(EVENTS + WORD + LAST),
        says(EVENTS + WORD + a_chunk(b"data: [DONE") + LAST),
        says(EVENTS + WORD + a_chunk(an_event(content="half")[:-9]) + LAST),
        says_and_closes(EVENTS.replace(b"Transfer-Encoding: chunked\r\n", b"") + an_event()),
        says(EVENTS + a_chunk(b'data: {"choices":' + b"[" * 9999 + b"\n\n") + LAST),
        says(EVENTS + a_chunk(GZIPPED) + LAST),
        says(EVENTS + a_chunk(an_event(content="x" * 10_000_000)) + a_chunk(DONE) + LAST),
    ],
    ids=["no end", "half an end", "half an event", "closes", "nested", "gzip", "10 MB token"],
)
def test_a_stream_of_events_without_its_end_is_broken(script: Script) -> None:
    with pytest.raises(Broken, match=r"middle of its answer|not a stream of events"):
        meet(script, generate)


def test_ten_megabytes_in_one_piece_are_relayed_as_they_are() -> None:
    event = an_event(content="x" * 10_000_000)
    assert meet(says(EVENTS + a_chunk(event) + a_chunk(DONE) + LAST), relay) == event + DONE


def test_a_body_that_ends_with_the_connection_is_taken_where_nothing_else_says_its_length() -> None:
    assert meet(says_and_closes(HEAD + b"\r\n" + JSON), embed) == [[1.0]]
    old = HEAD.replace(b"1.1", b"1.0") + b"\r\n" + an_event(content="old") + DONE
    assert meet(says_and_closes(old), generate) == "old"


def test_interim_answers_are_passed_over() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Type: text/html\r\n\r\n"
    assert meet(says(hints * 3 + an_answer(JSON)), embed) == [[1.0]]


@pytest.mark.parametrize(
    ("answer", "ask"),
    [
        (an_answer(JSON), embed),
        (an_answer(JSON, headers=b"Connection: close\r\n"), embed),
        (a_stream(["word"]), generate),
    ],
)
def test_a_connection_is_used_again_unless_the_server_wants_to_close_it(
    answer: bytes, ask: Asking
) -> None:
    async def met() -> int:
        async with FaultyServer(says(answer[:-5], answer[-5:])) as server:
            engine = an_engine(server.address)
            for _ in range(3):
                await ask(engine)
            await engine.close()
            return server.served

    assert asyncio.run(met()) == (3 if b"Connection" in answer else 1)


SHORT = 0.05
STALLS: dict[str, tuple[Script, Phases, str]] = {
    "before the head": (says_and_stalls(), Phases(first=SHORT), "began no answer"),
    "in the head": (says_and_stalls(EVENTS[:40]), Phases(first=SHORT), "began no answer"),
    "after the head": (says_and_stalls(EVENTS), Phases(first=SHORT), "began no answer"),
    "between tokens": (says_and_stalls(EVENTS, WORD), Phases(between=SHORT), "fell silent"),
    "at the end": (
        says_and_stalls(EVENTS, WORD, a_chunk(an_event(content="x"))),
        Phases(between=SHORT),
        "fell silent",
    ),
    "never, and never ends": (says_for_ever(EVENTS, WORD), Phases(whole=SHORT), "not ended"),
}


@pytest.mark.parametrize("ask", [generate, relay])
@pytest.mark.parametrize("stalls", STALLS)
def test_a_stall_ends_with_the_error_of_its_phase(stalls: str, ask: Asking) -> None:
    script, phases, says_ = STALLS[stalls]
    with pytest.raises(TooSlow, match=says_) as refusal:
        meet(script, ask, phases)
    assert (refusal.value.status, bool(refusal.value.next)) == (504, True)


def test_an_answer_that_is_not_streamed_has_the_whole_time_for_its_first_piece() -> None:
    with pytest.raises(TooSlow, match=r"had not ended its answer after 0.05 seconds"):
        meet(says_and_stalls(), embed, Phases(first=1e-3, between=1e-3, whole=SHORT))


def test_a_server_that_takes_a_connection_and_no_handshake_is_too_slow_to_connect() -> None:
    async def met() -> None:
        async with FaultyServer(says_and_stalls()) as server:
            address = server.address.replace("http:", "https:")
            engine = an_engine(address, phases=Phases(connect=SHORT))
            with pytest.raises(TooSlow, match=r"no connection within 0.05 seconds"):
                await generate(engine)
            await engine.close()
            await server.settled()

    asyncio.run(met())


def test_a_slow_reader_is_not_taken_for_a_silent_server() -> None:
    async def met() -> None:
        async with FaultyServer(says(a_stream(["word "] * 9000))) as server:
            patience = 0.3
            engine = an_engine(server.address, phases=Phases(between=patience))
            length = 0
            async with engine.relay("/chat/completions", b"{}", LOWEST, stream=True) as answer:
                async for piece in answer:
                    if not length:
                        await asyncio.sleep(patience * 2)  # the reader's own doing
                    length += len(piece)
            assert length == 9000 * len(an_event(content="word ")) + len(DONE)
            await engine.close()

    asyncio.run(met())


def test_what_waits_for_a_slow_reader_is_bounded() -> None:
    sent = 0

    async def pour(peer: Any) -> None:
        nonlocal sent
        await peer.send(EVENTS)
        piece = a_chunk(b": " + b"x" * 65_534)
        while True:
            await peer.send(piece)
            sent += len(piece)

    async def met() -> int:
        async with FaultyServer(pour) as server:
            engine = an_engine(server.address)
            async with engine.relay("/chat/completions", b"{}", LOWEST, stream=True) as answer:
                before = -1
                while sent != before:  # until the server can send no more
                    before = sent
                    await asyncio.sleep(0.05)
                longest = len(await anext(answer))
            await engine.close()
            await server.settled()
            return longest

    # one read of the loop may come on top of the bound
    assert asyncio.run(met()) <= (1 << 18) + (1 << 18)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "304 Not Modified", "307 Temporary"])
def test_a_redirect_is_an_error_for_whoever_relays(status: str) -> None:
    answer = an_answer(b"", status=status, headers=b"Location: http://127.0.0.1:1/\r\n")
    with pytest.raises(Broken, match=status[:3]):
        meet(says(answer), relay)


def test_what_a_server_says_of_a_bad_request_is_relayed() -> None:
    told = b'{"error":{"message":"max_tokens is too large"}}'

    async def ask(engine: RemoteEngine) -> tuple[int, str, bytes]:
        async with engine.relay("/chat/completions", b"{}", LOWEST, stream=True) as answer:
            return answer.status, answer.content_type, await answer.whole(1 << 20)

    given = meet(says(an_answer(told, status="400 Bad Request")), ask, times=2)
    assert given == (400, "application/json", told)


def test_whoever_leaves_closes_the_connection_at_once() -> None:
    async def met() -> None:
        async with FaultyServer(says_and_stalls(EVENTS, WORD)) as server:
            engine = an_engine(server.address)
            async with engine.relay("/chat/completions", b"{}", LOWEST, stream=True) as answer:
                await anext(answer)
            await server.settled()
            assert engine.health()[0].outstanding == engine.health()[0].failures == 0
            await engine.close()

    asyncio.run(met())


@pytest.mark.parametrize("beginning", [b"", EVENTS[:20], EVENTS, EVENTS + WORD])
def test_whoever_is_cancelled_closes_the_connection_at_once(beginning: bytes) -> None:
    async def met() -> None:
        reached = asyncio.Event()

        async def script(peer: Any) -> None:
            await peer.send(beginning)
            reached.set()
            await peer.left()

        async with FaultyServer(script) as server:
            engine = an_engine(server.address)
            asking = asyncio.create_task(relay(engine))
            await reached.wait()
            await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await server.settled()
            assert engine.health()[0].outstanding == engine.health()[0].failures == 0
            await engine.close()

    asyncio.run(met())


def test_a_key_that_would_add_a_header_is_not_sent() -> None:
    with pytest.raises(Invalid, match="key"):
        an_engine("http://127.0.0.1:1/v1", key="x\r\nX-Other: y")
