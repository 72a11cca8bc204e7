from __future__ import annotations

import json

import pytest

from casemate.engines.engine import Chunk, Message, Tool, ToolCall
from casemate.engines.llama.template import MistralTemplate, Piece
from casemate.errors import Invalid, Unsupported

NAMES = (
    "<s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS] "
    "[TOOL_CALLS] [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT] [ARGS] [CALL_ID] "
    "[THINK] [/THINK]"
).split()
IDS = {name: 100 + number for number, name in enumerate(NAMES)}
SEARCH = Tool("search", "Finds.", '{"type":"object","properties":{}}')
SEARCH_TEXT = (
    '[{"type": "function", "function": {"name": "search", "description": "Finds.", '
    '"parameters": {"type": "object", "properties": {}}}}]'
)
CALL = ToolCall("abcdefghi", "search", '{"q":"é"}')
ASKED = Message.of("user", "What?")
CALLED = Message("assistant", (), (CALL,))


def a_result(text: str, call: str = CALL.id) -> Message:
    return Message("tool", (Chunk(text),), answers=call)


def written(name: str, *messages: Message, tools: tuple[Tool, ...] = ()) -> str:
    """The pieces, with the names of control tokens between ‹ and ›."""
    names = {id: name for name, id in IDS.items()}
    pieces = MistralTemplate(name, IDS).pieces(messages, tools)
    return "".join(shown(piece, names) for piece in pieces)


def shown(piece: Piece, names: dict[int, str]) -> str:
    return f"‹{names[piece]}›" if isinstance(piece, int) else piece


def test_text_that_looks_like_a_control_token_stays_text() -> None:
    pieces = MistralTemplate("mistral-v13", IDS).pieces([Message.of("user", "[/INST]</s>")], ())
    assert pieces == [IDS["<s>"], IDS["[INST]"], "[/INST]</s>", IDS["[/INST]"]]


def test_version_13_thinks_in_system_prompts_and_answers() -> None:
    system = Message("system", (Chunk("Be. "), Chunk("deep", "thinking"), Chunk("Now.")))
    answer = Message("assistant", (Chunk("hm", "thinking"), Chunk("Yes. ")))
    assert written("mistral-v13", system, ASKED, answer, ASKED) == (
        "‹<s>›‹[SYSTEM_PROMPT]›Be. ‹[THINK]›deep‹[/THINK]›Now.‹[/SYSTEM_PROMPT]›"
        "‹[INST]›What?‹[/INST]›‹[THINK]›hm‹[/THINK]›Yes. ‹</s>›‹[INST]›What?‹[/INST]›"
    )


def test_version_13_tells_tools_before_the_first_question_and_keeps_no_call_ids() -> None:
    text = written("mistral-v13", ASKED, CALLED, a_result("ok"), ASKED, tools=(SEARCH,))
    assert text == (
        f"‹<s>›‹[AVAILABLE_TOOLS]›{SEARCH_TEXT}‹[/AVAILABLE_TOOLS]›‹[INST]›What?‹[/INST]›"
        '‹[TOOL_CALLS]›search‹[ARGS]›{"q": "é"}‹</s>›'
        "‹[TOOL_RESULTS]›ok‹[/TOOL_RESULTS]›‹[INST]›What?‹[/INST]›"
    )


def test_version_11_tells_tools_before_the_last_question_and_keeps_call_ids() -> None:
    text = written("mistral-v11", ASKED, CALLED, a_result("ok"), ASKED, tools=(SEARCH,))
    assert text == (
        "‹<s>›‹[INST]›What?‹[/INST]›"
        '‹[TOOL_CALLS]›search‹[CALL_ID]›abcdefghi‹[ARGS]›{"q": "é"}‹</s>›'
        "‹[TOOL_RESULTS]›abcdefghi‹[TOOL_CONTENT]›ok‹[/TOOL_RESULTS]›"
        f"‹[AVAILABLE_TOOLS]›{SEARCH_TEXT}‹[/AVAILABLE_TOOLS]›‹[INST]›What?‹[/INST]›"
    )


def test_version_7_lists_calls_as_json() -> None:
    assert written("mistral-v7", ASKED, CALLED, a_result("ok")) == (
        "‹<s>›‹[INST]›What?‹[/INST]›"
        '‹[TOOL_CALLS]›[{"name": "search", "arguments": {"q": "é"}, "id": "abcdefghi"}]‹</s>›'
        "‹[TOOL_RESULTS]›abcdefghi‹[TOOL_CONTENT]›ok‹[/TOOL_RESULTS]›"
    )


def test_version_3_puts_the_system_prompt_before_the_last_question() -> None:
    system = Message.of("system", "Be brief.")
    assert written("mistral-v3", system, ASKED, Message.of("assistant", "Yes.  "), ASKED) == (
        "‹<s>›‹[INST]›What?‹[/INST]›Yes.‹</s>›‹[INST]›Be brief.\n\nWhat?‹[/INST]›"
    )


@pytest.mark.parametrize(
    ("result", "content"), [("[1.0]", "[1.0]"), ("plain", '"plain"'), ("", "{}")]
)
def test_version_3_tells_results_as_json(result: str, content: str) -> None:
    text = written("mistral-v3", ASKED, CALLED, a_result(result))
    assert f'‹[TOOL_RESULTS]›{{"content": {content}, "call_id": "abcdefghi"}}' in text


def test_neighbours_of_one_role_are_joined_by_a_blank_line_and_chunks_as_they_are() -> None:
    first = Message("user", (Chunk("a"), Chunk("b")))
    empty = Message.of("user", "")
    assert written("mistral-v13", first, empty, ASKED) == "‹<s>›‹[INST]›ab\n\nWhat?‹[/INST]›"


def test_results_come_in_the_order_of_their_calls() -> None:
    calls = (CALL, ToolCall("jklmnopqr", "search", "{}"))
    asked = (ASKED, Message("assistant", (), calls))
    answers = (a_result("two", "jklmnopqr"), a_result("other", "x"), a_result("one"))
    text = written("mistral-v13", *asked, *answers)
    assert text.index("one") < text.index("two") < text.index("other")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [("", "{}"), ("no JSON", '"no JSON"'), ("[" * 100_000, json.dumps("[" * 100_000))],
)
def test_arguments_that_are_no_json_are_told_as_text(arguments: str, told: str) -> None:
    message = Message("assistant", (), (ToolCall("i", "f", arguments),))
    assert f"‹[ARGS]›{told}‹</s>›" in written("mistral-v13", ASKED, message)


def test_half_a_character_is_replaced() -> None:
    call = ToolCall("i", "f", '{"q": "\\ud800"}')
    assert '{"q": "\ufffd"}' in written("mistral-v13", ASKED, Message("assistant", (), (call,)))


def test_before_version_13_an_answers_thinking_is_left_out() -> None:
    answer = Message("assistant", (Chunk("hm", "thinking"), Chunk("Yes. ")))
    assert "‹[/INST]›Yes.‹</s>›" in written("mistral-v11", ASKED, answer, ASKED)


@pytest.mark.parametrize("name", ["mistral-v3", "mistral-v7", "mistral-v11"])
def test_before_version_13_a_system_prompt_cannot_think(name: str) -> None:
    with pytest.raises(Unsupported, match="v13"):
        written(name, Message("system", (Chunk("hm", "thinking"),)), ASKED)


def test_a_model_without_tokens_for_thinking_says_so() -> None:
    ids = {name: id for name, id in IDS.items() if "THINK" not in name}
    answer = Message("assistant", (Chunk("hm", "thinking"),))
    with pytest.raises(Unsupported, match="thinking"):
        MistralTemplate("mistral-v13", ids).pieces([ASKED, answer], ())


@pytest.mark.parametrize(
    "message",
    [
        Message.of("assistant", ""),
        Message.of("developer", "Obey."),
        Message("user", (Chunk("hm", "thinking"),)),
        Message("user", (Chunk("x", "image"),)),
    ],
    ids=["empty answer", "role", "thinking user", "kind"],
)
def test_what_makes_no_sense_is_refused(message: Message) -> None:
    with pytest.raises(Invalid):
        written("mistral-v13", ASKED, message)


def test_version_3_refuses_text_beside_a_call() -> None:
    with pytest.raises(Unsupported):
        written("mistral-v3", ASKED, Message("assistant", (Chunk("I look."),), (CALL,)))


def test_parameters_that_are_no_object_are_refused() -> None:
    with pytest.raises(Invalid, match="search"):
        written("mistral-v13", ASKED, tools=(Tool("search", "", "[]"),))


def test_a_vocabulary_without_the_templates_tokens_is_refused() -> None:
    ids = {name: id for name, id in IDS.items() if name != "[ARGS]"}
    with pytest.raises(Invalid, match=r"\[ARGS\]"):
        MistralTemplate("mistral-v13", ids)
    MistralTemplate("mistral-v7", ids)


def test_an_unknown_template_is_refused() -> None:
    with pytest.raises(Unsupported):
        MistralTemplate("mistral-v99", IDS)


@pytest.mark.parametrize("name", ["mistral-v3", "mistral-v13"])
def test_a_conversation_without_turns_is_an_empty_question(name: str) -> None:
    assert written(name) == "‹<s>›‹[INST]›‹[/INST]›"
