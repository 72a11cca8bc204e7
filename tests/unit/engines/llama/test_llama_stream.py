"""From events to tokens: kinds by control tokens, calls, words, and what is spoiled."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.engines.engine import Token
from casemate.engines.llama.events import Events, Spoiled
from casemate.engines.llama.stream import Reading, Spoken

CONTROLS = {
    "</s>": 2,
    "[TOOL_CALLS]": 9,
    "[ARGS]": 32,
    "[CALL_ID]": 33,
    "[THINK]": 34,
    "[/THINK]": 35,
}
NAMES = {id: name for name, id in CONTROLS.items()}


def read(*pieces: str | int, kind: str = "text") -> list[tuple[str, str]]:
    """Kinds and texts after control tokens (ids) and texts."""
    return [(token.kind, token.text) for token in tokens(*pieces, kind=kind)]


def tokens(*pieces: str | int, kind: str = "text") -> list[Token]:
    reading = Reading(CONTROLS, kind, lambda number: f"call{number}")
    found = []
    for piece in pieces:
        id, text = (piece, NAMES[piece]) if isinstance(piece, int) else (100, piece)
        found += reading.read(text, id, -1.0)
    return found + reading.end()


def calls(*pieces: str | int) -> list[tuple[str, str, str]]:
    made = [token.call for token in tokens(*pieces)]
    return [(call.id, call.name, call.arguments) for call in made if call is not None]


def test_thinking_stands_between_its_control_tokens() -> None:
    assert read(34, "a", 35, "b", 2) == [("thinking", "a"), ("text", "b")]
    assert read("a", 35, "b", kind="thinking") == [("thinking", "a"), ("text", "b")]


def test_letters_that_look_like_control_tokens_are_letters() -> None:
    assert read("[THINK]", "[/THINK]", "[TOOL_CALLS]f[ARGS]{}") == [
        ("text", "[THINK]"),
        ("text", "[/THINK]"),
        ("text", "[TOOL_CALLS]f[ARGS]{}"),
    ]


def test_half_a_character_before_a_control_token_belongs_to_what_was_before() -> None:
    reading = Reading(CONTROLS, "thinking", str)
    assert reading.read("\ufffd[/THINK]", 35, None) == [Token("\ufffd", "thinking", id=35)]
    assert reading.read("b", 100, None) == [Token("b", id=100)]


@pytest.mark.parametrize(
    ("pieces", "made"),
    [
        ((9, "f", 32, '{"a":', "1}", 2), [("call0", "f", '{"a":1}')]),
        ((9, "f", 32, "{}", 9, "g", 32, "{}"), [("call0", "f", "{}"), ("call1", "g", "{}")]),
        ((9, "f", 33, "abc", 32, "{}"), [("abc", "f", "{}")]),
        ((9, "f", 32), [("call0", "f", "{}")]),
        (
            (9, '[{"name":"f","arguments":{"a":1},"id":"x"}', ',{"name":"g","arguments":{}}]'),
            [("x", "f", '{"a":1}'), ("call1", "g", "{}")],
        ),
        ((34, "hm", 9, "f", 32, "{}"), [("call0", "f", "{}")]),
    ],
)
def test_calls_are_made_from_their_control_tokens(
    pieces: tuple[str | int, ...], made: list[tuple[str, str, str]]
) -> None:
    assert calls(*pieces) == made


def test_a_call_that_is_none_stays_text() -> None:
    assert read(9, "neither name", " nor list") == [("text", "neither name nor list")]
    assert read("a", 32, "b") == [("text", "a"), ("text", "b")]
    assert read(9, "f", 34, "b") == [("text", "f"), ("thinking", "b")]


def spoken(text: str, size: int, *, begun: bool = False) -> tuple[str, str]:
    """Thinking and text, where ``text`` arrives in pieces of ``size``."""
    reading = Spoken(begun)
    found = []
    for at in range(0, len(text), size):
        found += reading.read(Token(text[at : at + size]))
    found += reading.end()
    assert all(token.text for token in found)
    return tuple(  # type: ignore[return-value]
        "".join(token.text for token in found if token.kind == kind)
        for kind in ("thinking", "text")
    )


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    ("text", "thinking", "answer"),
    [
        ("<think>a < b</think>\n\nc", "a < b", "c"),
        (" \n<think></think>c", "", "c"),
        ("<thin> air", "", "<thin> air"),
        ("a <think>b</think>", "", "a <think>b</think>"),
        ("<think>never ends </thin", "never ends </thin", ""),
        ("<thi", "", "<thi"),
        ("<think>a</think>b</think>", "a", "b</think>"),
        ("", "", ""),
    ],
)
def test_thinking_in_words_begins_an_answer(
    text: str, thinking: str, answer: str, size: int
) -> None:
    assert spoken(text, size) == (thinking, answer)


def test_thinking_in_words_may_have_begun_in_the_prompt() -> None:
    assert spoken("a</think>b", 2, begun=True) == ("a", "b")


@given(st.text(alphabet="<>/think ab", max_size=40), st.integers(1, 7))
def test_how_words_arrive_makes_no_difference(text: str, size: int) -> None:
    assert spoken(text, size) == spoken(text, 1000)


def events(most: int = 10) -> Events:
    return Events(Reading(CONTROLS, "text", str), None, most, read=7)


def an_event(**parts: Any) -> bytes:
    return b"data: " + json.dumps(parts).encode() + b"\n\n"


def a_token(text: str, id: int = 100, logprob: float | None = -0.5) -> bytes:
    known = [{"id": id, "token": text, "logprob": logprob, "top_logprobs": []}]
    return an_event(content=text, tokens=[id], stop=False, completion_probabilities=known)


END = an_event(stop_type="eos", tokens_predicted=6)


def test_an_answer_stopped_at_its_bound_says_so_last() -> None:
    stream = a_token("a") + an_event(stop_type="limit", tokens_predicted=1)
    assert events().read(stream) == [
        Token("a", id=100, logprob=-0.5),
        Token("", "count", read=7, written=1),
        Token("", "cut"),
    ]


@given(st.integers(1, 50))
def test_events_may_be_cut_anywhere(size: int) -> None:
    stream = b": ping\n\n" + a_token("é") + a_token("🐕", logprob=None) + END
    reading = events()
    found: list[Token] = []
    for at in range(0, len(stream), size):
        found += reading.read(stream[at : at + size])
    assert reading.over
    assert found == [
        Token("é", id=100, logprob=-0.5),
        Token("🐕", id=100),
        Token("", "count", read=7, written=6),
    ]


@pytest.mark.parametrize(
    "bytes_",
    [
        b"data: {not json}\n",
        b'data: {"content":7,"tokens":[1]}\n',
        b'data: {"error":{"message":"/secret/path"}}\n',
        b"error: gone\n",
        b"data: \xff\n",
        b"x" * ((1 << 20) + 1),
        END + a_token("after the end"),
        an_event(stop_type="eos", tokens_predicted=-1),
        an_event(stop_type="eos", tokens_predicted=1 << 40),
        a_token("x") * 19,  # ten were asked for, and a character may take some more
    ],
)
def test_what_no_honest_server_says_is_spoiled(bytes_: bytes) -> None:
    with pytest.raises(Spoiled):
        events().read(bytes_)
