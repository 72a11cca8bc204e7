from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from casemate.errors import Invalid

pytest.importorskip("tiktoken", reason="tiktoken is not installed: pip install 'casemate[llama]'")

from casemate.engines.llama.tekken import PATTERN, Tekken, control_ids
from casemate.engines.llama.vocabulary import Vocabulary

CONTROLS = ("<unk>", "<s>", "</s>")
WORDS = (b"he", b"hel", b"lo", b"hello", "é".encode(), b"e\xcc\x81")


def a_file() -> dict[str, Any]:
    tokens = [bytes([byte]) for byte in range(256)] + list(WORDS)
    return {
        "config": {
            "pattern": PATTERN,
            "default_vocab_size": len(tokens) + 4,
            "default_num_special_tokens": 4,
        },
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
            for rank, token in enumerate(tokens)
        ],
        "special_tokens": [
            {"rank": rank, "token_str": name, "is_control": True}
            for rank, name in enumerate(CONTROLS)
        ],
    }


def tekken(**changes: Any) -> Tekken:
    return Tekken.parse(json.dumps(a_file() | changes).encode())


def test_text_becomes_the_longest_words_and_numbers_stay() -> None:
    assert tekken().encode([1, "hello</s>", 2]) == [1, 263, *(4 + b for b in b"</s>"), 2]


def test_a_combining_mark_belongs_to_its_word() -> None:
    assert tekken().encode(["e\u0301"]) == [265]


def test_a_token_says_its_bytes_and_a_control_token_none() -> None:
    assert tekken().bytes_of(263) == b"hello"
    assert tekken().bytes_of(2) == b""


def test_control_tokens_without_a_name_get_one() -> None:
    expected = {"<unk>": 0, "<s>": 1, "</s>": 2, "<SPECIAL_3>": 3}
    assert control_ids(json.dumps(a_file()).encode()) == expected


def test_early_files_leave_the_control_tokens_unsaid() -> None:
    file = a_file()
    del file["special_tokens"]
    file["config"] |= {"default_num_special_tokens": 40, "default_vocab_size": 262 + 40}
    ids = control_ids(json.dumps(file).encode())
    assert (ids["[INST]"], ids["[TOOL_CONTENT]"], ids["<SPECIAL_20>"]) == (3, 19, 20)


def test_endless_white_space_is_refused() -> None:
    assert tekken().encode([" " * 100_000])
    with pytest.raises(Invalid, match="white space"):
        tekken().encode(["x" + " " * 1_000_000])


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab": []},
        {"vocab": [{"token_bytes": "%"}] * 262},
        {"vocab": [{"token_bytes": "AA=="}] * 262},
        {"special_tokens": [{"rank": 9, "token_str": "<s>"}]},
        {"special_tokens": [{"rank": 0, "token_str": "<SPECIAL_1>"}]},
        {"config": a_file()["config"] | {"pattern": "("}},
        {"config": a_file()["config"] | {"default_num_special_tokens": -1}},
        {"config": {}},
    ],
)
def test_a_file_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        tekken(**changes)


def test_bytes_that_are_no_file_are_refused() -> None:
    with pytest.raises(Invalid):
        control_ids(b"\xff{")


@pytest.mark.parametrize(
    ("kind", "types"), [("qwen2", (3, 1)), ("tekken", (1, 3)), ("tekken", (4, 1))]
)
def test_another_vocabulary_is_not_tekkens(kind: str, types: tuple[int, ...]) -> None:
    with pytest.raises(Invalid):
        Tekken.of(Vocabulary(kind, ("<s>", "a"), types))


def test_letters_that_stand_for_no_byte_are_refused() -> None:
    with pytest.raises(Invalid, match="byte by byte"):
        Tekken.of(Vocabulary("tekken", ("<s>", "Ā", "家"), (3, 1, 1)))
