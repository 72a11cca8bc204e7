"""The wire carries messages whole and in order, however the bytes come; nothing else passes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.server import said, wire
from casemate.server.wire import Message, TooLong, Wire, framed

NAMES = st.text(min_size=1, max_size=20)
CONTENTS = st.lists(st.builds(said.Content, NAMES, st.binary(max_size=50)), max_size=3)
MESSAGES = st.one_of(
    st.just(said.Prepared()),
    st.builds(said.Leaves, st.integers(0, 1 << 40)),
    st.builds(
        said.Ends,
        st.integers(0, 1 << 40),
        NAMES,
        NAMES,
        st.sampled_from(["answered", "unanswered", "failed"]),
        NAMES,
        CONTENTS,
        st.binary(max_size=200),
    ),
    st.builds(said.Worked, st.integers(0, 9), st.none() | st.floats(0, 1e6), st.booleans()),
)


def heard(pieces: Sequence[bytes]) -> tuple[list[Message], Wire[said.FromWorker]]:
    """What is heard of these bytes."""
    found: list[Message] = []

    async def hear() -> Wire[said.FromWorker]:
        one: Wire[said.FromWorker] = Wire(said.FromWorker, found.append, lambda problem: None)
        for piece in pieces:
            one.data_received(piece)
        return one

    return found, asyncio.run(hear())


@given(st.lists(MESSAGES, max_size=8), st.data())
def test_messages_come_whole_and_in_order_however_they_are_cut(
    messages: list[Message], data: st.DataObject
) -> None:
    content = b"".join(map(framed, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=12)))
    ends = [*cuts, len(content)]
    pieces = [content[start:end] for start, end in zip([0, *cuts], ends, strict=True)]
    assert heard(pieces)[0] == messages


@given(st.binary(min_size=1, max_size=64))
def test_what_is_no_message_ends_the_wire_and_nothing_after_it_is_heard(content: bytes) -> None:
    garbled = len(content).to_bytes(4, "big") + content
    try:
        wire.msgspec.msgpack.decode(content, type=said.FromWorker)
    except wire.msgspec.MsgspecError:
        found, one = heard([garbled, framed(said.Prepared())])
        assert one.problem is not None
        assert found == []


@pytest.mark.parametrize(
    "content",
    [
        framed(said.Written(1, 2)),  # what only the owner says
        framed(said.Waits(1, 1, -1.0)),
        framed(said.Ends(1, "r", "l", "fine", "t", [], b"")),  # type: ignore[arg-type]
        framed(said.Ends(1, "", "l", "failed", "t", [], b"")),
    ],
)
def test_what_a_worker_may_not_say_is_not_heard(content: bytes) -> None:
    found, one = heard([content])
    assert found == []
    assert one.problem is not None


def test_a_length_beyond_the_bound_ends_the_wire_before_anything_is_kept() -> None:
    found, one = heard([(wire.LONGEST + 1).to_bytes(4, "big")])
    assert found == []
    assert isinstance(one.problem, TooLong)


def test_a_message_beyond_the_bound_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LONGEST", 10)
    with pytest.raises(TooLong):
        framed(said.Opens(1, said.Row(*"abcdefg"), [], b"x" * 20))
