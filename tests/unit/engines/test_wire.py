"""What model servers are told, and what is read of their events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from casemate.engines.engine import Chunk, Message, Prompt, Sampling, Token, Tool, ToolCall
from casemate.engines.wire import Reading, chat, drawing
from casemate.errors import Invalid, Unavailable
from casemate.gate.country import Country

LOWEST = Country.load("lu").policy.lowest()
SEARCH = Tool("search", "Finds passages.", '{"type":"object"}')
CALL = ToolCall("c1", "search", '{"query":"tax"}')


def a_prompt(*messages: Message, **more: Any) -> Prompt:
    return Prompt("?", "en", LOWEST, (), (), messages, **more)


def test_tools_are_told_with_their_schemas() -> None:
    told = chat(a_prompt(Message.of("user", "?"), tools=(SEARCH,)))
    function = {
        "name": "search",
        "description": "Finds passages.",
        "parameters": {"type": "object"},
    }
    assert told["tools"] == [{"type": "function", "function": function}]
    assert "tool_choice" not in told


def test_a_prompt_without_tools_names_none() -> None:
    assert chat(a_prompt(Message.of("user", "?"))).keys() == {"messages"}


def test_calls_and_their_results_go_back_to_the_model() -> None:
    told = chat(
        a_prompt(
            Message("assistant", (Chunk("Let me look.", "thinking"),), calls=(CALL,)),
            Message("tool", (Chunk("40 euros."),), answers="c1"),
        )
    )
    called, answered = told["messages"]
    assert called["content"] is None
    assert called["reasoning"] == called["reasoning_content"] == "Let me look."
    assert called["tool_calls"] == [
        {
            "id": "c1",
            "type": "function",
            "function": {"name": "search", "arguments": '{"query":"tax"}'},
        }
    ]
    assert answered == {"role": "tool", "content": "40 euros.", "tool_call_id": "c1"}


def test_thinking_is_never_part_of_the_text() -> None:
    said = Message("assistant", (Chunk("Hm.", "thinking"), Chunk("40.")))
    assert chat(a_prompt(said))["messages"][0]["content"] == "40."


def test_a_schema_becomes_a_format_of_the_answer() -> None:
    told = drawing(Sampling(seed=7, schema='{"type":"integer"}'))
    assert told == {
        "seed": 7,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "integer"}, "strict": True},
        },
    }


def test_a_schema_that_is_not_json_is_refused() -> None:
    with pytest.raises(Invalid, match="schema of the answer"):
        drawing(Sampling(schema="{"))
    with pytest.raises(Invalid, match="“search”"):
        chat(a_prompt(tools=(Tool("search", "", "{"),)))


def part(index: int | None, id: str | None = None, **function: str | None) -> dict[str, Any]:
    told: dict[str, Any] = {"function": function}
    return told | {k: v for k, v in (("index", index), ("id", id)) if v is not None}


def read(*deltas: dict[str, Any], last: str | None = "tool_calls") -> list[Token]:
    reading = Reading()
    found = []
    for delta in deltas:
        found += reading.read(json.dumps({"choices": [{"delta": delta}]}).encode())
    if last is not None:
        event = {"choices": [{"delta": {}, "finish_reason": last}]}
        found += reading.read(json.dumps(event).encode())
    return found + reading.end()


def calls(*parts: dict[str, Any], last: str | None = "tool_calls") -> list[ToolCall]:
    found = read(*({"tool_calls": [one]} for one in parts), last=last)
    assert all(token.kind == "call" and token.text == "" for token in found)
    return [token.call for token in found if token.call is not None]


def test_an_answer_stopped_at_its_bound_says_so_and_half_a_call_is_none() -> None:
    begun = {"tool_calls": [part(0, "c1", name="search", arguments='{"que')]}
    assert read({"content": "a"}, begun, last="length") == [Token("a"), Token("", kind="cut")]


@pytest.mark.parametrize("last", ["tool_calls", "stop", None])
def test_a_call_is_told_once_it_is_whole(last: str | None) -> None:
    parts = [
        part(0, "c1", name="search", arguments=""),
        part(0, arguments='{"query":'),
        part(0, name=None, arguments='"tax"}'),
    ]
    assert calls(*parts, last=last) == [CALL]


@pytest.mark.parametrize(
    "parts",
    [
        [part(0, "c1", name="f", arguments="{}"), part(1, "c2", name="g", arguments="[]")],
        [part(0, "c1", name="f", arguments="{}"), part(0, "c2", name="g", arguments="[]")],
        [
            part(0, "c1", name="f"),
            part(0, "c1", arguments="{}"),
            part(1, "c2", name="g"),
            part(1, arguments="[]"),
        ],
        [part(None, "c1", name="f", arguments="{}"), part(None, "c2", name="g", arguments="[]")],
    ],
)
def test_several_calls_are_told_apart_as_servers_number_them(parts: list[dict[str, Any]]) -> None:
    assert calls(*parts) == [ToolCall("c1", "f", "{}"), ToolCall("c2", "g", "[]")]


def test_calls_that_are_written_side_by_side_are_told_in_their_order() -> None:
    parts = [
        part(0, "c1", name="f", arguments=""),
        part(1, "c2", name="g", arguments=""),
        part(1, arguments='{"b":'),
        part(0, arguments='{"a":'),
        part(1, arguments="2}"),
        part(0, arguments="1}"),
    ]
    assert calls(*parts) == [ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "g", '{"b":2}')]


def test_a_call_that_is_whole_does_not_wait_for_the_next() -> None:
    whole = {"tool_calls": [part(0, "c1", name="f", arguments="{}")]}
    begun = {"tool_calls": [part(1, "c2", name="g", arguments='{"b')]}
    first, cut = read(whole, begun, last="length")
    assert (first.call, cut.kind) == (ToolCall("c1", "f", "{}"), "cut")


def test_what_a_server_leaves_out_of_a_call_is_made_up() -> None:
    assert calls(part(0, name="f"), part(1, name="g", arguments="{}")) == [
        ToolCall("call-1", "f", "{}"),
        ToolCall("call-2", "g", "{}"),
    ]


def test_the_order_of_text_thinking_and_calls_is_kept() -> None:
    call = part(0, "c1", name="search", arguments=CALL.arguments)
    found = read({"reasoning": "Hm."}, {"tool_calls": [call]}, {"content": "So."}, last="stop")
    assert [(one.kind, one.text) for one in found] == [
        ("thinking", "Hm."),
        ("call", ""),
        ("text", "So."),
    ]


@pytest.mark.parametrize(
    "parts",
    [
        [part(0, "c1", arguments="{}")],
        [{"index": 0, "function": 7}],
        [part(0, "c1", name="f", arguments="x" * (1 << 20)), part(0, arguments="x")],
    ],
)
def test_a_call_that_makes_no_sense_ends_the_answer(parts: list[dict[str, Any]]) -> None:
    with pytest.raises(Unavailable):
        calls(*parts)
