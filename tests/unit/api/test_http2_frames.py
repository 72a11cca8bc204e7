"""Frames of HTTP/2: cut out of what comes in any pieces, bounded and counted."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from http2_builders import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    a_frame,
)
from hyperframe.frame import ContinuationFrame, Frame, GoAwayFrame, HeadersFrame
from hypothesis import given
from hypothesis import strategies as st

from casemate.api.http2_frames import (
    FRAME_BYTES,
    Intake,
    Patience,
    Unbearable,
    goaway,
    headers,
)

OPENING = PREFACE + a_frame(SETTINGS)
END_HEADERS, PADDED = 0x4, 0x8


def an_intake(block: int = 40_000) -> Intake:
    return Intake(block, Patience(0.0), 0.0)


def a_greeted() -> Intake:
    made = an_intake()
    made.take(OPENING, 0.0)
    return made


def refused(intake: Intake, sent: bytes, now: float = 0.0) -> ErrorCodes:
    with pytest.raises(Unbearable) as caught:
        intake.take(sent, now)
    return caught.value.code


@given(st.data())
def test_what_comes_in_any_pieces_goes_on_in_whole_frames(data: st.DataObject) -> None:
    frames = data.draw(
        st.lists(
            st.builds(
                a_frame,
                st.sampled_from([DATA, PING, RST_STREAM, WINDOW_UPDATE, 0x42]),
                st.binary(max_size=50),
                stream=st.integers(0, 9),
            ),
            max_size=20,
        )
    )
    sent = OPENING + b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=20)))
    intake, passed, ends = an_intake(), b"", [len(PREFACE)]
    for frame in [a_frame(SETTINGS), *frames]:
        ends.append(ends[-1] + len(frame))
    for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        passed += intake.take(sent[begin:end], 0.0)
        assert passed == sent[: max((one for one in ends if one <= end), default=0)]
    assert intake.since is None


def test_a_frame_is_refused_for_its_length_before_it_is_there() -> None:
    head = (FRAME_BYTES + 1).to_bytes(3, "big") + bytes([DATA, 0, 0, 0, 0, 1])
    assert refused(a_greeted(), head) == ErrorCodes.FRAME_SIZE_ERROR
    a_greeted().take(FRAME_BYTES.to_bytes(3, "big") + head[3:], 0.0)


@pytest.mark.parametrize(
    "sent",
    [b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSX", PREFACE + a_frame(PING, bytes(8))],
    ids=["HTTP/1.1", "almost", "no settings"],
)
def test_what_does_not_begin_as_http2_does_is_refused(sent: bytes) -> None:
    assert refused(an_intake(), sent) == ErrorCodes.PROTOCOL_ERROR


def test_an_acknowledgement_is_no_greeting() -> None:
    assert refused(an_intake(), PREFACE + a_frame(SETTINGS, flags=1)) == ErrorCodes.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("frame", "most"),
    [
        (a_frame(SETTINGS), 1000),
        (a_frame(SETTINGS, flags=1), 1000),
        (a_frame(PING, bytes(8)), 1000),
        (a_frame(PRIORITY, bytes(5), stream=1), 1000),
        (a_frame(WINDOW_UPDATE, bytes(4)), 1000),
        (a_frame(0x42), 1000),
        (a_frame(DATA, stream=1), 1000),
        (a_frame(DATA, bytes([9, *range(9)]), flags=PADDED, stream=1), 1000),
        (a_frame(RST_STREAM, bytes(4), stream=1), 334),
    ],
)
def test_frames_that_ask_for_work_and_bring_none_are_borne_for_a_while(
    frame: bytes, most: int
) -> None:
    intake = a_greeted()
    intake.take(frame * (most - 1), 0.0)
    assert refused(intake, frame * 2) == ErrorCodes.ENHANCE_YOUR_CALM


def test_bodies_and_what_comes_slowly_cost_no_patience() -> None:
    intake = a_greeted()
    intake.take(a_frame(DATA, b"x", stream=1) * 5000, 0.0)
    for second in range(60):
        intake.take(a_frame(PING, bytes(8)) * 90, float(second))


def test_who_is_sent_much_may_say_more() -> None:
    patience = Patience(0.0)
    for _ in range(5000):
        patience.earn(3)
        patience.spend(3, 0.0)


def test_a_header_block_is_bounded_in_bytes_and_pieces() -> None:
    begun = a_frame(HEADERS, bytes(16_000), stream=1)
    intake = a_greeted()
    intake.take(begun + a_frame(CONTINUATION, bytes(16_000), stream=1), 0.0)
    more = a_frame(CONTINUATION, bytes(16_000), stream=1)
    assert refused(intake, more) == ErrorCodes.ENHANCE_YOUR_CALM
    intake = a_greeted()
    intake.take(a_frame(HEADERS, stream=1), 0.0)
    empty = a_frame(CONTINUATION, stream=1)
    assert refused(intake, empty * 40) == ErrorCodes.ENHANCE_YOUR_CALM


def test_a_client_cannot_push_nor_begin_a_block_with_that() -> None:
    assert refused(a_greeted(), a_frame(PUSH_PROMISE, stream=1)) == ErrorCodes.PROTOCOL_ERROR


def test_many_settings_in_one_frame_are_refused() -> None:
    frame = a_frame(SETTINGS, bytes(6 * 65))
    assert refused(a_greeted(), frame) == ErrorCodes.ENHANCE_YOUR_CALM


def test_goaway_is_kept_from_h2_and_remembered() -> None:
    intake = a_greeted()
    ping = a_frame(PING, bytes(8))
    assert intake.take(ping + a_frame(GOAWAY, bytes(8)) + ping, 0.0) == ping * 2
    assert intake.leaving


def test_goaway_that_is_none_is_left_to_h2() -> None:
    intake = a_greeted()
    short = a_frame(GOAWAY, bytes(3))
    assert intake.take(short, 0.0) == short
    amid = a_frame(HEADERS, b"x", stream=1) + a_frame(GOAWAY, bytes(8))
    assert intake.take(amid, 0.0) == amid
    assert not intake.leaving


def test_it_is_known_since_when_something_is_not_whole() -> None:
    intake = an_intake()
    assert intake.since == 0.0  # nothing came yet
    intake.take(OPENING[:-1], 1.0)
    assert intake.since == 0.0
    intake.take(OPENING[-1:], 2.0)
    assert intake.since is None
    ping = a_frame(PING, bytes(8))
    intake.take(ping[:5], 3.0)
    intake.take(ping[5:6], 4.0)
    assert intake.since == 3.0
    intake.take(ping[6:] + ping[:5], 5.0)  # that is another one
    assert intake.since == 5.0


def test_a_header_block_is_as_old_as_its_first_frame() -> None:
    intake = a_greeted()
    intake.take(a_frame(HEADERS, b"x", stream=1), 1.0)
    intake.take(a_frame(CONTINUATION, b"x", stream=1), 2.0)
    assert intake.since == 1.0
    intake.take(a_frame(CONTINUATION, b"x", stream=1, flags=END_HEADERS), 3.0)
    assert intake.since is None


def test_a_body_has_a_pace_of_its_own() -> None:
    intake = a_greeted()
    intake.take(a_frame(DATA, bytes(100), stream=5)[:59], 1.0)
    assert intake.since is None
    assert (intake.waiting(5), intake.waiting(7)) == (59, 0)


@pytest.mark.parametrize("length", [0, 1, 255, 256, FRAME_BYTES, FRAME_BYTES + 1, 50_000])
def test_our_header_blocks_read_as_such(length: int) -> None:
    block = bytes(range(256)) * (length // 256) + bytes(range(length % 256))
    made, found, kinds = headers(7, block), b"", []
    while made:
        frame, size = Frame.parse_frame_header(memoryview(made[:9]))
        frame.parse_body(memoryview(made[9 : 9 + size]))
        assert isinstance(frame, HeadersFrame | ContinuationFrame)
        made, found = made[9 + size :], found + frame.data
        kinds.append(type(frame))
        assert ("END_HEADERS" in frame.flags) == (not made)
        assert (frame.stream_id, size <= FRAME_BYTES) == (7, True)
    assert found == block
    assert kinds == [HeadersFrame] + [ContinuationFrame] * (len(kinds) - 1)


def test_our_goaway_reads_as_one() -> None:
    made = goaway(7, ErrorCodes.ENHANCE_YOUR_CALM, "Enough.")
    frame, length = Frame.parse_frame_header(memoryview(made[:9]))
    frame.parse_body(memoryview(made[9:]))
    assert isinstance(frame, GoAwayFrame)
    assert (len(made), frame.last_stream_id, frame.error_code) == (length + 9, 7, 11)
    assert frame.additional_data == b"Enough."
