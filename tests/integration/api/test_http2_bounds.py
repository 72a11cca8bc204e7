"""Clients over HTTP/2 that are slow, large, silent or hostile: as over HTTP/1.1, and worse ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from http2_builders import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PATIENT,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    QUICK,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Fields,
    Serving,
    a_frame,
    a_request,
    eventually,
    serving,
    talk,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.api.bounds import Bounds


class App:
    """Reads the body, then answers; ``/flood`` sends without end."""

    def __init__(self) -> None:
        self.begun = 0
        self.told: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun += 1
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.told.append("gone")
                return
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/flood":
            leaving = asyncio.ensure_future(receive())
            while not leaving.done():
                piece = {"type": "http.response.body", "body": bytes(10_000), "more_body": True}
                await send(piece)
            self.told.append("gone")
            return
        await send({"type": "http.response.body", "body": b"here"})
        self.told.append("answered")


async def still_answers(server: Serving) -> None:
    client = await server.client()
    assert bytes((await client.answer(client.ask(a_request()))).body) == b"here"


def ended(sent: bytes, bounds: Bounds = PATIENT) -> tuple[ErrorCodes, str]:
    """Code and words of the GOAWAY that comes for this, after preface and settings."""

    async def conversation() -> tuple[ErrorCodes, str]:
        async with serving(App(), bounds) as server:
            client = await server.client()
            await client.until(lambda: client.events)  # and answer the server's settings
            client.raw(sent)
            last = await client.end()
            return ErrorCodes(last.error_code), (last.additional_data or b"").decode()

    return talk(conversation)


# Slow


def test_who_says_nothing_at_all_is_hung_up_on() -> None:
    async def conversation() -> None:
        async with serving(App(), QUICK) as server:
            reader, _ = await server.connect()
            assert await reader.read() == b""
            reader, writer = await server.connect()
            writer.write(PREFACE[:10])
            assert await reader.read() == b""

    talk(conversation)


def test_who_asks_nothing_is_told_goodbye() -> None:
    assert ended(b"", QUICK) == (ErrorCodes.NO_ERROR, "Nothing was asked for a while.")


def test_who_asks_nothing_any_more_is_told_goodbye_and_pings_are_no_questions() -> None:
    async def conversation() -> None:
        async with serving(App(), Bounds(idle=0.1)) as server:
            client = await server.client()
            assert (await client.answer(client.ask(a_request()))).status == 200
            client.h2.ping(bytes(8))
            last = await client.end()
            assert (last.error_code, last.last_stream_id) == (ErrorCodes.NO_ERROR, 1)

    talk(conversation)


@pytest.mark.parametrize(
    "sent",
    [
        a_frame(HEADERS, b"\x82", stream=1),
        a_frame(HEADERS, b"\x82", stream=1) + a_frame(CONTINUATION, b"\x84", stream=1),
        a_frame(HEADERS, bytes(50), stream=1)[:30],
        a_frame(PING, bytes(8))[:3],
    ],
    ids=["block", "blocks", "frame", "head"],
)
def test_headers_that_do_not_come_to_an_end_are_given_up(sent: bytes) -> None:
    slow = (ErrorCodes.ENHANCE_YOUR_CALM, "The request did not arrive in time.")
    assert ended(sent, QUICK) == slow


def test_a_body_that_dribbles_is_given_up_in_the_addresss_dialect_and_alone() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app, Bounds(look=0.1, linger=0.1)) as server:
            client = await server.client()
            slow = client.ask(a_request("/v1/models", method="POST"), b"abc", ends=False)
            answer = await client.answer(slow)
            assert answer.status == 408
            assert "did not arrive in time" in json.loads(answer.body)["error"]["message"]
            assert app.told == ["gone"]
            assert (await client.answer(client.ask(a_request()))).status == 200

    talk(conversation)


def test_a_body_that_dribbles_once_the_answer_began_is_given_up_with_the_stream() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            pass

    async def conversation() -> None:
        async with serving(app, Bounds(look=0.1)) as server:
            client = await server.client()
            answer = await client.answer(client.ask(a_request(method="POST"), b"a", ends=False))
            assert (answer.status, answer.reset) == (200, ErrorCodes.CANCEL)

    talk(conversation)


def test_a_frame_that_comes_in_pieces_keeps_its_pace() -> None:
    async def conversation() -> None:
        bounds = Bounds(look=0.1, body_pace=100)
        async with serving(App(), bounds) as server:
            client = await server.client()
            stream = client.ask(a_request(method="POST"), ends=False)
            client.flush()
            frame = a_frame(DATA, bytes(2000), stream=stream, flags=1)
            for begin in range(0, len(frame), 50):  # 0.4 s: four looks go by
                client.raw(frame[begin : begin + 50])
                await asyncio.sleep(0.01)
            assert (await client.answer(stream)).status == 200

    talk(conversation)


def test_who_is_not_read_from_or_waits_to_be_asked_is_not_late() -> None:
    async def conversation() -> None:
        go = asyncio.Event()

        class Slow(App):
            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                await go.wait()
                await super().__call__(scope, receive, send)

        async with serving(Slow(), QUICK) as server:
            client = await server.client()
            waiting = client.ask(a_request(method="POST", expect="100-continue"), ends=False)
            unread = client.ask(a_request(method="POST"), b"some", ends=False)
            await asyncio.sleep(5 * QUICK.look)  # several looks go by
            for stream in (waiting, unread):
                await client.upload(stream, b"body")
            go.set()
            for stream in (waiting, unread):
                assert (await client.answer(stream)).status == 200

    talk(conversation)


def test_an_answer_that_is_not_taken_is_given_up_and_its_run_told() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app, Bounds(unread=0.1)) as server:
            client = await server.client()
            client.reads = False
            flood = client.ask(a_request("/flood"))
            assert (await client.answer(flood)).reset == ErrorCodes.CANCEL
            await eventually(lambda: app.told == ["gone"])
            client.h2.increment_flow_control_window(1 << 20)
            assert (await client.answer(client.ask(a_request()))).status == 200

    talk(conversation)


def test_an_answer_that_is_taken_byte_by_byte_is_given_up() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app, Bounds(unread=0.1, look=0.05, body_pace=1 << 20)) as server:
            client = await server.client()
            client.reads = False
            client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1})
            answer = client.answers[client.ask(a_request("/flood"))]
            while not answer.over:
                await client.hear()
                if not answer.over:
                    client.h2.increment_flow_control_window(1, 1)
                    client.flush()
            assert answer.reset == ErrorCodes.CANCEL
            assert app.told == ["gone"]

    talk(conversation)


def test_a_client_that_does_not_read_is_dropped_and_holds_no_memory() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app, QUICK) as server:
            client = await server.client()
            client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 30})
            client.h2.increment_flow_control_window(1 << 30)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            for _ in range(10):
                client.ask(a_request("/flood"))
            await eventually(lambda: len(app.told) == 10)
            assert set(app.told) == {"gone"}

    talk(conversation)


# Large


@pytest.mark.parametrize(
    ("fields", "status", "reset"),
    [
        (a_request("/" + "a" * 9000), 414, None),
        (a_request(**{f"x_{n}": "y" for n in range(101)}), 431, None),
        (a_request(x_long="y" * 40_000), 431, None),
        (a_request(connection="close"), 400, ErrorCodes.PROTOCOL_ERROR),
        (a_request("/v1/models", te="gzip"), 400, ErrorCodes.PROTOCOL_ERROR),
        (a_request("/v1/models")[:3], 400, ErrorCodes.PROTOCOL_ERROR),
        (a_request(content_length="five"), 400, ErrorCodes.PROTOCOL_ERROR),
        (
            [*a_request(content_length="5"), (b"content-length", b"6")],
            400,
            ErrorCodes.PROTOCOL_ERROR,
        ),
    ],
    ids=["address", "many", "long", "connection", "te", "no path", "no length", "two lengths"],
)
def test_what_is_too_large_or_malformed_is_refused_before_anything_runs(
    fields: Fields, status: int, reset: ErrorCodes | None
) -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            answer = await client.answer(client.ask(fields))
            assert (answer.status, answer.reset) == (status, reset)
            told = json.loads(answer.body)["error"]
            assert told.get("what") or told["message"]
            assert app.begun == 0
            assert (await client.answer(client.ask(a_request()))).status == 200

    talk(conversation)


@pytest.mark.parametrize("body", [None, b"four", b"sixsix"], ids=["none", "short", "long"])
def test_a_body_that_is_not_as_long_as_it_says_ends_its_own_stream_alone(
    body: bytes | None,
) -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            other = client.ask(a_request(method="POST"), ends=False)
            await eventually(lambda: app.begun == 1)
            answer = await client.answer(
                client.ask(a_request(method="POST", content_length="5"), body)
            )
            assert answer.reset == ErrorCodes.PROTOCOL_ERROR
            await client.upload(other, b"x")
            assert (await client.answer(other)).status == 200
            assert "answered" in app.told
            assert app.told.count("answered") == 1

    talk(conversation)


def test_headers_that_are_far_too_large_end_the_connection() -> None:
    async def conversation() -> None:
        async with serving(App()) as server:
            client = await server.client()
            client.ask(a_request(**{f"x_{n}": "y" * 100 for n in range(1500)}))
            assert (await client.end()).error_code == ErrorCodes.ENHANCE_YOUR_CALM

    talk(conversation)


def test_a_header_bomb_is_not_unpacked() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            assert (await client.answer(client.ask(a_request(x="y" * 4000)))).status == 200
            # Each byte is the field of 4000 that stands first in the table now.
            client.raw(a_frame(HEADERS, b"\xbe" * 16_000, flags=5, stream=3))
            assert (await client.end()).error_code == ErrorCodes.ENHANCE_YOUR_CALM
            assert app.begun == 1

    talk(conversation)


def test_streams_beyond_the_limit_are_refused_and_the_others_go_on() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app, Bounds(streams=3)) as server:
            client = await server.client()
            asked = [client.ask(a_request(method="POST"), b"x", ends=False) for _ in range(5)]
            for stream in asked[3:]:
                assert (await client.answer(stream)).reset == ErrorCodes.REFUSED_STREAM
            for stream in asked[:3]:
                await client.upload(stream, b"x")
                assert (await client.answer(stream)).status == 200
            assert app.begun == 3
            assert (await client.answer(client.ask(a_request()))).status == 200

    talk(conversation)


def test_more_connections_than_are_held_are_told_to_come_back() -> None:
    async def conversation() -> None:
        async with serving(App(), Bounds(connections=1)) as server:
            await server.client()
            second = await server.client()
            asked = second.ask(a_request("/v1/models"))
            last = await second.end()
            assert last.error_code == ErrorCodes.NO_ERROR
            assert asked == 1

    talk(conversation)


def test_more_requests_than_are_held_are_told_to_come_back() -> None:
    async def conversation() -> None:
        async with serving(App(), Bounds(connections=2)) as server:
            client = await server.client()
            for _ in range(2):
                client.ask(a_request(method="POST"), ends=False)
            answer = await client.answer(client.ask(a_request("/v1/models")))
            assert (answer.status, answer.headers[b"retry-after"]) == (503, b"1")
            assert "Too many connections" in json.loads(answer.body)["error"]["message"]

    talk(conversation)


# Hostile


def test_streams_that_are_opened_and_reset_at_once_end_the_connection_and_run_little() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            for _ in range(1000):
                stream = client.ask(a_request(method="POST"), ends=False)
                client.h2.reset_stream(stream, ErrorCodes.CANCEL)
            client.flush()
            assert (await client.end()).error_code == ErrorCodes.ENHANCE_YOUR_CALM
            await eventually(lambda: not server.state.tasks)
            assert app.begun <= 2 * PATIENT.streams
            assert set(app.told) <= {"gone"}

    talk(conversation)


def test_streams_that_we_are_made_to_reset_count_as_well() -> None:
    async def conversation() -> None:
        async with serving(App()) as server:
            client = await server.client()
            for _ in range(400):
                stream = client.ask(a_request(method="POST"), ends=False)
                overflow = (2**31 - 1).to_bytes(4, "big")
                client.raw(a_frame(WINDOW_UPDATE, overflow, stream=stream))
            assert (await client.end()).error_code == ErrorCodes.ENHANCE_YOUR_CALM

    talk(conversation)


@pytest.mark.parametrize(
    "flood",
    [
        a_frame(SETTINGS),
        a_frame(PING, bytes(8)),
        a_frame(PRIORITY, bytes(5), stream=3),
        a_frame(WINDOW_UPDATE, (1).to_bytes(4, "big")),
        a_frame(0x42),
        b"".join(
            a_frame(HEADERS, b"\x82", flags=4, stream=n) + a_frame(RST_STREAM, bytes(4), stream=n)
            for n in range(1, 31, 2)
        ),
    ],
    ids=["settings", "ping", "priority", "window", "unknown", "reset"],
)
def test_floods_of_frames_that_ask_for_nothing_are_not_borne(flood: bytes) -> None:
    sent = flood * 2000 if len(flood) < 50 else a_frame(RST_STREAM, bytes(4), stream=1) * 2000
    if len(flood) > 50:
        sent = a_frame(HEADERS, b"\x82", flags=4, stream=1) + sent
    assert ended(sent)[0] == ErrorCodes.ENHANCE_YOUR_CALM


def test_empty_pieces_of_a_body_and_of_headers_are_not_borne() -> None:
    async def conversation() -> None:
        async with serving(App()) as server:
            client = await server.client()
            stream = client.ask(a_request(method="POST"), ends=False)
            client.raw(a_frame(DATA, stream=stream) * 2000)
            assert (await client.end()).error_code == ErrorCodes.ENHANCE_YOUR_CALM

    talk(conversation)
    begun = a_frame(HEADERS, b"\x82", stream=1)
    assert ended(begun + a_frame(CONTINUATION, stream=1) * 100)[0] == ErrorCodes.ENHANCE_YOUR_CALM


def test_what_comes_for_streams_that_are_no_more_is_borne_for_a_while() -> None:
    async def conversation() -> None:
        async with serving(App()) as server:
            client = await server.client()
            stream = client.ask(a_request(method="POST"), b"x")
            assert (await client.answer(stream)).status == 200
            late = a_frame(DATA, b"x", stream=stream)
            client.raw(late * 900)
            assert (await client.answer(client.ask(a_request()))).status == 200
            client.raw(late * 2000)
            assert (await client.end()).error_code == ErrorCodes.ENHANCE_YOUR_CALM

    talk(conversation)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (a_frame(PUSH_PROMISE, bytes(4), stream=1), ErrorCodes.PROTOCOL_ERROR),
        (a_frame(DATA, b"x", stream=1), ErrorCodes.PROTOCOL_ERROR),
        (a_frame(HEADERS, b"\xff\xff\xff\xff", flags=5, stream=1), ErrorCodes.PROTOCOL_ERROR),
        (a_frame(HEADERS, b"\x82", flags=5, stream=2), ErrorCodes.PROTOCOL_ERROR),
        (a_frame(SETTINGS, bytes(5)), ErrorCodes.FRAME_SIZE_ERROR),
        (a_frame(DATA, bytes(16_385), stream=1), ErrorCodes.FRAME_SIZE_ERROR),
        (a_frame(WINDOW_UPDATE, (2**31 - 1).to_bytes(4, "big")), ErrorCodes.FLOW_CONTROL_ERROR),
    ],
)
def test_what_breaks_the_rules_of_a_connection_ends_it_with_the_reason(
    sent: bytes, code: ErrorCodes
) -> None:
    assert ended(sent)[0] == code


@contextlib.contextmanager
def no_log() -> Iterator[None]:
    """Fails if anything was logged as an error."""
    told: list[str] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    noting = Noting(logging.ERROR)
    logging.getLogger().addHandler(noting)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(noting)
    assert told == []


FRAMES = st.builds(
    a_frame,
    st.integers(0, 12),
    st.one_of(st.binary(max_size=60), st.sampled_from([b"\x82\x86\x84\x41\x01x", bytes(8)])),
    flags=st.integers(0, 255),
    stream=st.sampled_from([0, 1, 1, 2, 3, 5, 2**31 - 1]),
)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.lists(FRAMES, max_size=12).map(b"".join)))
def test_whatever_comes_the_connection_ends_in_order_and_the_server_goes_on(sent: bytes) -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:  # which fails if an exception goes unseen
            reader, writer = await server.connect()
            writer.write(PREFACE + a_frame(SETTINGS) + sent)
            writer.write_eof()
            said, kinds = await reader.read(), []
            while said:
                kinds.append(said[3])
                assert len(said) >= 9 + int.from_bytes(said[:3], "big")
                said = said[9 + int.from_bytes(said[:3], "big") :]
            assert kinds[0] == SETTINGS
            assert GOAWAY not in kinds[:-1]
            await still_answers(server)

    with no_log():
        talk(conversation)
