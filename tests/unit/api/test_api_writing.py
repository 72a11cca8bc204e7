"""Head and body leave together, and nothing stays behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from casemate.api.writing import Writing

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Sent(asyncio.Transport):
    """What reached the socket, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes | str] = []

    def write(self, data: Any) -> None:
        self.calls.append(bytes(data))

    def write_eof(self) -> None:
        self.calls.append("eof")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def get_write_buffer_size(self) -> int:
        return 7


def sent(act: Callable[[Writing], object]) -> list[bytes | str]:
    async def run() -> list[bytes | str]:
        transport = Sent()
        act(Writing(transport, asyncio.get_running_loop()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return transport.calls

    return asyncio.run(run())


def test_a_head_leaves_with_what_follows_it_at_once() -> None:
    assert sent(lambda to: (to.write(HEAD), to.write(b"body"), to.write(b"more"))) == [
        HEAD + b"body",
        b"more",
    ]


def test_a_head_that_nothing_follows_leaves_in_the_next_turn() -> None:
    assert sent(lambda to: to.write(HEAD)) == [HEAD]


@pytest.mark.parametrize("end", ["close", "write_eof"])
def test_a_connection_that_ends_in_order_sends_the_head_first(end: str) -> None:
    calls = sent(lambda to: (to.write(HEAD), getattr(to, end)()))
    assert calls == [HEAD, "eof" if end == "write_eof" else end]


def test_a_connection_that_is_broken_sends_nothing_more() -> None:
    assert sent(lambda to: (to.write(HEAD), to.abort())) == ["abort"]


def test_two_answers_in_one_turn_come_in_their_order() -> None:
    assert sent(lambda to: (to.write(HEAD), to.write(b"a"), to.write(HEAD), to.write(b"b"))) == [
        HEAD + b"a",
        HEAD + b"b",
    ]


def test_what_is_held_back_counts_as_unsent() -> None:
    async def run() -> None:
        to = Writing(Sent(), asyncio.get_running_loop())
        assert to.get_write_buffer_size() == 7
        to.write(HEAD)
        assert to.get_write_buffer_size() == 7 + len(HEAD)

    asyncio.run(run())
