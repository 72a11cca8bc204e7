"""Requests over HTTP/2: many at a time on one connection, each as it would be alone."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from h2.errors import ErrorCodes
from h2.events import PushedStreamReceived, RemoteSettingsChanged
from h2.settings import SettingCodes
from http2_builders import (
    DATA,
    GOAWAY,
    PREFACE,
    QUICK,
    RST_STREAM,
    SETTINGS,
    Client,
    a_frame,
    a_request,
    eventually,
    serving,
    talk,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.api import departure
from casemate.api.connection import Connection
from casemate.api.http2 import Http2
from casemate.api.negotiation import Undecided

MEBIBYTE = 1 << 20


class App:
    """Reads the body and says how long it was; ``/flood`` sends what is asked, in pieces.

    ``/wait`` answers when ``go`` is set; ``/deaf`` answers without reading; ``/stay`` never does.
    """

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.told: list[str] = []  # how requests ended
        self.left: list[str] = []  # whose clients went, as they are told of it
        self.pieces = 0  # of floods so far
        self.go = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        kind = scope["path"].split("/")[1]
        scope[departure.KEY].when(lambda: self.left.append(scope["path"]))
        if kind == "stay":
            await asyncio.Event().wait()
        if kind == "wait":
            await self.go.wait()
        length = 0
        while kind != "deaf":
            message = await receive()
            if message["type"] == "http.disconnect":
                self.told.append("gone")
                return
            length += len(message["body"])
            if not message["more_body"]:
                break
        if kind == "flood":
            await self._flood(send, int(scope["query_string"]))
        elif kind == "silent":
            return
        elif kind == "fail":
            raise RuntimeError("on purpose")
        else:
            status = int(kind) if kind.isdecimal() else 200
            headers = [(b"Connection", b"close"), (b"transfer-encoding", b"chunked")]
            headers += [(b"keep-alive", b"5"), (b"X-One", b"1")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": str(length).encode()})
        self.told.append("answered")

    async def _flood(self, send: Any, pieces: int) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(pieces):
            piece = {"type": "http.response.body", "body": b"x" * 10_000, "more_body": True}
            await send(piece)
            self.pieces += 1
        await send({"type": "http.response.body", "body": b""})


def test_a_request_is_answered_as_over_http11() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            answer = await client.answer(client.ask(a_request("/a%20b?c=d", x_two="2")))
            assert (answer.status, bytes(answer.body), answer.reset) == (200, b"0", None)
            assert answer.headers.keys() == {b":status", b"x-one"}
        scope = app.scopes[0]
        assert (scope["http_version"], scope["method"], scope["scheme"]) == ("2", "GET", "http")
        assert (scope["path"], scope["raw_path"]) == ("/a b", b"/a%20b")
        assert scope["query_string"] == b"c=d"
        assert scope["headers"] == [(b"host", b"casemate.example"), (b"x-two", b"2")]
        assert scope["client"][0] == scope["casemate.peer"] == "127.0.0.1"
        assert "extensions" not in scope

    talk(conversation)


def test_a_proxy_is_believed_about_whom_it_speaks_for_and_the_peer_stays_known() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            fields = a_request(x_forwarded_for="203.0.113.7", x_forwarded_proto="https")
            assert (await client.answer(client.ask(fields))).status == 200
        scope = app.scopes[0]
        assert (scope["client"][0], scope["scheme"]) == ("203.0.113.7", "https")
        assert scope["casemate.peer"] == "127.0.0.1"

    talk(conversation)


def test_a_body_far_larger_than_the_window_comes_whole() -> None:
    async def conversation() -> None:
        async with serving(App()) as server:
            client = await server.client()
            stream = client.ask(a_request(method="POST"), ends=False)
            await client.upload(stream, bytes(5 * MEBIBYTE))
            assert bytes((await client.answer(stream)).body) == str(5 * MEBIBYTE).encode()

    talk(conversation)


def test_an_answer_far_larger_than_the_window_comes_whole() -> None:
    async def conversation() -> None:
        async with serving(App()) as server:
            client = await server.client()
            answer = await client.answer(client.ask(a_request("/flood?500")))
            assert (len(answer.body), answer.reset) == (5_000_000, None)

    talk(conversation)


def test_many_streams_of_one_connection_are_all_answered() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            asked = [client.ask(a_request(method="POST"), b"x" * n) for n in range(100)]
            found = [int((await client.answer(one)).body) for one in asked]
            assert found == list(range(100))

    talk(conversation)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 70_000),
    st.lists(st.tuples(st.integers(0, 200_000), st.integers(1, 50_000)), min_size=1, max_size=5),
)
def test_whatever_the_windows_every_body_comes_back_as_it_was(
    window: int, asked: list[tuple[int, int]]
) -> None:
    async def echo(scope: Any, receive: Any, send: Any) -> None:
        size, more, body = int(scope["query_string"]), True, b""
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for begin in range(0, len(body), size):
            piece = {"type": "http.response.body", "body": body[begin : begin + size]}
            await send({**piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def conversation() -> None:
        async with serving(echo) as server:
            client = await server.client()
            # Windows of fewer bytes would be many thousand frames for the larger bodies.
            smallest = max(window, sum(length for length, _ in asked) // 2000)
            client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: smallest})
            sent = {}
            for length, size in asked:
                stream = client.ask(a_request(f"/?{size}", method="POST"), ends=False)
                sent[stream] = random.Random(length).randbytes(length)
            for stream, body in sent.items():
                await client.upload(stream, body)
            for stream, body in sent.items():
                assert bytes((await client.answer(stream)).body) == body

    talk(conversation)


def test_a_slow_reader_holds_its_own_run_back_and_nobody_elses() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            # Windows of the whole connection are opened, that of the large answer is not.
            client.h2.increment_flow_control_window(10 * MEBIBYTE)
            client.reads = False
            large = client.ask(a_request("/flood?500"))
            await client.until(lambda: len(client.answers[large].body) == 65_535)
            for _ in range(20):
                assert (await client.answer(client.ask(a_request()))).status == 200
            assert app.pieces == 6  # the seventh waits, half sent
            client.reads = True
            client.h2.increment_flow_control_window(10 * MEBIBYTE, large)
            client.flush()
            assert len((await client.answer(large)).body) == 5_000_000

    talk(conversation)


def test_a_run_that_does_not_read_holds_its_own_body_back_and_nobody_elses() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            waiting = client.ask(a_request("/wait", method="POST"), ends=False)
            await client.until(lambda: client.h2.local_flow_control_window(waiting) > 70_000)
            room = client.h2.local_flow_control_window(waiting)
            while size := min(client.h2.local_flow_control_window(waiting), 16_000):
                client.h2.send_data(waiting, bytes(size))
            stream = client.ask(a_request(method="POST"), ends=False)
            await client.upload(stream, bytes(3 * MEBIBYTE))
            assert bytes((await client.answer(stream)).body) == str(3 * MEBIBYTE).encode()
            assert client.h2.local_flow_control_window(waiting) == 0  # and nothing was given back
            app.go.set()
            await client.upload(waiting, bytes(MEBIBYTE))
            assert int((await client.answer(waiting)).body) == room + MEBIBYTE

    talk(conversation)


def test_large_answers_take_turns() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10 * MEBIBYTE})
            client.h2.increment_flow_control_window(10 * MEBIBYTE)
            one, two = (client.ask(a_request("/flood?200")) for _ in range(2))
            await client.answer(two)
            ends = [len(client.answers[stream].body) for stream in (one, two)]
            assert min(ends) > MEBIBYTE  # neither waited for the other's end

    talk(conversation)


def test_windows_of_one_byte_are_kept_to() -> None:
    async def conversation() -> None:
        async with serving(App()) as server:
            client = await server.client()
            client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1})
            client.reads = False
            stream = client.ask(a_request(method="POST"), bytes(1000))
            for length in range(1, 4):
                await client.until(lambda length=length: len(client.answers[stream].body) == length)
                client.h2.increment_flow_control_window(1, stream)
                client.flush()
            assert bytes((await client.answer(stream)).body) == b"1000"

    talk(conversation)


def test_a_stream_that_is_reset_ends_its_run_as_a_client_that_leaves_does() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            stream = client.ask(a_request(method="POST"), ends=False)
            other = client.ask(a_request(method="POST"), ends=False)
            await eventually(lambda: len(app.scopes) == 2)
            client.h2.reset_stream(stream, ErrorCodes.CANCEL)
            await client.upload(other, b"x")
            assert (await client.answer(other)).status == 200
            assert sorted(app.told) == ["answered", "gone"]

    talk(conversation)


def test_a_run_whose_answer_nobody_takes_ends_with_its_stream() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            client.reads = False
            stream = client.ask(a_request("/flood?500"))
            await client.until(lambda: len(client.answers[stream].body) == 65_535)
            client.h2.reset_stream(stream, ErrorCodes.CANCEL)
            client.flush()
            await eventually(lambda: app.told == ["answered"])  # into the void
            await eventually(lambda: not server.state.tasks)

    talk(conversation)


def test_a_client_that_goes_away_ends_all_its_runs() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            for _ in range(5):
                client.ask(a_request(method="POST"), ends=False)
            await eventually(lambda: len(app.scopes) == 5)
            client.writer.close()
            await eventually(lambda: app.told == ["gone"] * 5)
            await eventually(lambda: not server.state.connections)

    talk(conversation)


def test_who_does_not_wait_for_it_is_told_as_well_and_of_no_other_end() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            streams = [client.ask(a_request(path)) for path in ("/", "/stay/1", "/stay/2")]
            await client.answer(streams[0])
            await eventually(lambda: len(app.scopes) == 3)
            assert app.left == []
            client.h2.reset_stream(streams[1], ErrorCodes.CANCEL)
            client.flush()
            await eventually(lambda: app.left == ["/stay/1"])
            client.writer.close()
            await eventually(lambda: app.left == ["/stay/1", "/stay/2"])
            for task in server.state.tasks:
                task.cancel()

    talk(conversation)


@pytest.mark.parametrize("path", ["/", "/204", "/304"])
def test_answers_that_have_no_body_have_none(path: str) -> None:
    async def conversation() -> None:
        async with serving(App()) as server:
            client = await server.client()
            method = "HEAD" if path == "/" else "GET"
            answer = await client.answer(client.ask(a_request(path, method=method)))
            assert (answer.status, bytes(answer.body)) == (int(path[1:] or 200), b"")
            assert answer.ended

    talk(conversation)


def test_who_waits_to_be_told_is_told_to_go_on() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            fields = a_request("/wait", method="POST", expect="100-continue")
            stream = client.ask(fields, ends=False)
            assert (await client.answer(client.ask(a_request()))).status == 200
            assert client.answers[stream].informed == []  # nobody reads yet
            app.go.set()
            await client.until(lambda: client.answers[stream].informed)
            await client.upload(stream, b"body")
            answer = await client.answer(stream)
            assert (answer.informed, answer.status, bytes(answer.body)) == ([100], 200, b"4")

    talk(conversation)


def test_trailers_end_a_body_and_are_dropped() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            stream = client.ask(a_request(method="POST"), b"body", ends=False)
            client.h2.send_headers(stream, [(b"x-sum", b"1")], end_stream=True)
            client.flush()
            assert bytes((await client.answer(stream)).body) == b"4"
            assert [name for name, _ in app.scopes[0]["headers"]] == [b"host"]
            malformed = client.ask(a_request("/wait", method="POST"), b"body", ends=False)
            client.h2.send_headers(malformed, [(b":path", b"/x")], end_stream=True)
            client.flush()
            assert (await client.answer(malformed)).reset == ErrorCodes.PROTOCOL_ERROR
            app.go.set()

    talk(conversation)


def test_nothing_is_pushed_and_no_tunnel_offered() -> None:
    async def conversation() -> None:
        async with serving(App()) as server:
            client = await server.client()
            fields = [(b":method", b"CONNECT"), (b":authority", b"casemate.example:443")]
            answer = await client.answer(client.ask(fields))
            assert answer.status == 501
            assert b'"what":"This server is no tunnel."' in answer.body
            assert not [one for one in client.events if isinstance(one, PushedStreamReceived)]
            said = next(one for one in client.events if isinstance(one, RemoteSettingsChanged))
            assert said.changed_settings[SettingCodes.ENABLE_PUSH].new_value == 0
            assert said.changed_settings[SettingCodes.MAX_CONCURRENT_STREAMS].new_value == 128

    talk(conversation)


def test_an_application_that_fails_costs_its_own_stream_alone() -> None:
    async def conversation() -> None:
        async with serving(App()) as server:
            client = await server.client()
            waiting = client.ask(a_request(method="POST"), ends=False)
            for path in ("/fail", "/silent"):
                assert (await client.answer(client.ask(a_request(path)))).status == 500
            await client.upload(waiting, b"x")
            assert (await client.answer(waiting)).status == 200

    talk(conversation)


@pytest.mark.parametrize("length", [b"3", b"5"])
def test_an_answer_that_is_not_as_long_as_it_says_is_never_taken_for_whole(length: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"four"})

    async def conversation() -> None:
        async with serving(app) as server:
            client = await server.client()
            answer = await client.answer(client.ask(a_request()))
            assert (answer.ended, answer.reset) == (False, ErrorCodes.INTERNAL_ERROR)

    talk(conversation)


@pytest.mark.parametrize("header", [(b"x", b"a\r\nb"), (b"x y", b"z"), (b":status", b"200")])
def test_an_answer_with_a_header_that_is_none_is_not_sent(header: tuple[bytes, bytes]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [header]})
        await send({"type": "http.response.body", "body": b""})

    async def conversation() -> None:
        async with serving(app) as server:
            client = await server.client()
            assert (await client.answer(client.ask(a_request()))).status == 500

    talk(conversation)


def test_an_answer_before_the_end_of_the_request_comes_whole_and_the_rest_is_not_needed() -> None:
    async def conversation() -> None:
        async with serving(App(), QUICK) as server:
            client = await server.client()
            stream = client.ask(a_request("/deaf", method="POST"), b"some", ends=False)
            await client.until(lambda: client.answers[stream].ended)
            client.h2.send_data(stream, b"more")
            client.flush()
            answer = client.answers[stream]
            await client.until(lambda: answer.reset is not None)
            assert (answer.status, answer.reset) == (200, ErrorCodes.NO_ERROR)

    talk(conversation)


def test_who_is_answered_early_may_break_its_body_off_and_ask_on() -> None:
    """As curl does, which ends its stream as if that were all."""

    async def conversation() -> None:
        async with serving(App()) as server:
            client = await server.client()
            stream = client.ask(a_request("/deaf", method="POST", content_length="9"), ends=False)
            assert (await client.answer(stream)).status == 200
            client.h2.end_stream(stream)
            client.flush()
            assert (await client.answer(client.ask(a_request()))).status == 200
            assert client.answers[stream].reset is None

    talk(conversation)


def test_who_sends_more_than_it_said_is_reset_also_once_it_is_answered() -> None:
    async def conversation() -> None:
        async with serving(App()) as server:
            client = await server.client()
            stream = client.ask(a_request("/deaf", method="POST", content_length="1"), ends=False)
            assert (await client.answer(stream)).reset is None
            client.raw(a_frame(DATA, b"test", stream=stream))
            await client.until(lambda: client.answers[stream].reset is not None)
            assert client.answers[stream].reset == ErrorCodes.PROTOCOL_ERROR
            assert (await client.answer(client.ask(a_request()))).status == 200

    talk(conversation)


def test_who_breaks_its_body_off_is_never_taken_to_have_said_all() -> None:
    async def conversation() -> None:
        told: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"so far ", "more_body": True})
            while (message := await receive()).get("more_body"):
                pass
            told.append(message["type"])
            await send({"type": "http.response.body", "body": b"good"})

        async with serving(app) as server:
            client = await server.client()
            stream = client.ask(a_request(method="POST", content_length="9"), b"half", ends=False)
            await client.until(lambda: client.answers[stream].body)
            client.h2.end_stream(stream)
            client.flush()
            answer = await client.answer(stream)
            assert (bytes(answer.body), answer.ended) == (b"so far good", True)
            assert told == ["http.disconnect"]

    talk(conversation)


def test_what_is_open_is_finished_when_the_server_is_stopped() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            assert (await client.answer(client.ask(a_request()))).status == 200
            stream = client.ask(a_request(method="POST"), ends=False)
            await eventually(lambda: len(app.scopes) == 2)
            (connection,) = server.state.connections
            connection.shutdown()
            connection.shutdown()
            client.ask(a_request())  # which comes too late
            client.raw(a_frame(DATA, b"late", flags=1, stream=stream))
            told = await the_rest(client)
            assert told.count((GOAWAY, 0)) == 1
            assert (RST_STREAM, 5) in told  # refused, so that it is sent elsewhere
            assert told[-1] == (DATA, stream)
            assert app.told == ["answered", "answered"]
            client.writer.close()
            await eventually(lambda: not server.state.connections)

    talk(conversation)


def test_a_client_that_says_goodbye_still_gets_its_answers() -> None:
    async def conversation() -> None:
        app = App()
        async with serving(app) as server:
            client = await server.client()
            stream = client.ask(a_request("/wait"))
            client.raw(a_frame(GOAWAY, bytes(8)))
            await eventually(lambda: len(app.scopes) == 1)
            app.go.set()
            assert (await client.answer(stream)).status == 200
            while await client.hear():
                pass
            client.writer.close()
            await eventually(lambda: not server.state.connections)

    talk(conversation)


def test_a_connection_says_which_http_it_speaks_byte_by_byte() -> None:
    async def conversation() -> None:
        async with serving(App()) as server:
            for opening, first in (
                (PREFACE + a_frame(SETTINGS), bytes([0, 0])),
                (b"PUT / HTTP/1.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", b"HT"),
                (b"PRX / HTTP/1.1\r\nconnection: close\r\n\r\n", b"HT"),
            ):
                reader, writer = await server.connect()
                for byte in opening:
                    writer.write(bytes([byte]))
                    await writer.drain()
                assert await reader.readexactly(2) == first
                writer.close()
                await eventually(lambda: not server.state.connections)

    talk(conversation)


def test_once_chosen_a_protocol_has_its_connection_to_itself() -> None:
    async def conversation() -> None:
        async with serving(App()) as server:
            for opening, chosen in (
                (b"G", Connection),
                (PREFACE + a_frame(SETTINGS), Http2),
            ):
                _, writer = await server.connect()
                for told, expected in ((b"", Undecided), (opening, chosen)):
                    writer.write(told)
                    await eventually(
                        lambda expected=expected: (
                            [type(one) for one in server.state.connections] == [expected]
                        )
                    )
                writer.close()
                await eventually(lambda: not server.state.connections)

    talk(conversation)


def test_who_has_not_begun_when_the_server_is_stopped_is_let_go() -> None:
    async def conversation() -> None:
        async with serving(App()) as server:
            reader, _ = await server.connect()
            await eventually(lambda: len(server.state.connections) == 1)
            (connection,) = server.state.connections
            connection.shutdown()
            assert await reader.read() == b""
            await eventually(lambda: not server.state.connections)

    talk(conversation)


async def the_rest(client: Client) -> list[tuple[int, int]]:
    """Type and stream of each frame that still comes: h2's client hears nothing after GOAWAY."""
    found, data = [], await client.reader.read()
    while data:
        found.append((data[3], int.from_bytes(data[5:9], "big")))
        data = data[9 + int.from_bytes(data[:3], "big") :]
    return found
