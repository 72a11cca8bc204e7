from __future__ import annotations

import struct
from pathlib import Path

import pytest

from casemate.engines.llama.vocabulary import Vocabulary
from casemate.errors import Invalid

STRING, ARRAY, NUMBER, TRUTH = 8, 9, 4, 7


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def texts(values: tuple[str, ...]) -> bytes:
    return struct.pack("<IQ", STRING, len(values)) + b"".join(map(text, values))


def numbers(values: tuple[int, ...]) -> bytes:
    return struct.pack(f"<IQ{len(values)}i", 5, len(values), *values)


def a_gguf(*keys: tuple[str, int, bytes], magic: bytes = b"GGUF", version: int = 3) -> bytes:
    head = magic + struct.pack("<IQQ", version, 0, len(keys))
    return head + b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in keys)


TOKENS = ("tokenizer.ggml.tokens", ARRAY, texts(("<s>", "<think>", "ab")))
TYPES = ("tokenizer.ggml.token_type", ARRAY, numbers((3, 4, 1)))


def read(folder: Path, content: bytes) -> Vocabulary:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return Vocabulary.read(path)


def test_what_weights_say_of_their_tokens_is_read(tmp_path: Path) -> None:
    vocabulary = read(
        tmp_path,
        a_gguf(
            ("general.name", STRING, text("é")),
            ("tokenizer.ggml.merges", ARRAY, texts(("a b", "c d"))),
            ("tokenizer.ggml.scores", ARRAY, struct.pack("<IQ2f", 6, 2, 0.5, 1.5)),
            ("tokenizer.ggml.pre", STRING, text("qwen2")),
            TOKENS,
            TYPES,
            ("tokenizer.ggml.bos_token_id", NUMBER, struct.pack("<I", 0)),
            ("tokenizer.ggml.eos_token_id", NUMBER, struct.pack("<I", 77)),
            ("tokenizer.ggml.add_bos_token", TRUTH, b"\x01"),
            ("tokenizer.chat_template", STRING, text("{{ messages }}")),
        ),
    )
    assert (vocabulary.kind, vocabulary.begin, vocabulary.end) == ("qwen2", 0, None)
    assert vocabulary.begins
    assert vocabulary.chat_template == "{{ messages }}"
    assert (vocabulary.controls, vocabulary.defined) == ({"<s>": 0}, {"<think>": 1})


def test_every_shorter_file_is_refused(tmp_path: Path) -> None:
    whole = a_gguf(TOKENS, TYPES)
    for size in range(len(whole)):
        with pytest.raises(Invalid):
            read(tmp_path, whole[:size])


@pytest.mark.parametrize(
    "content",
    [
        a_gguf(TOKENS, TYPES, magic=b"GGML"),
        a_gguf(TOKENS, TYPES, version=1),
        a_gguf(TOKENS),
        a_gguf(TOKENS, ("tokenizer.ggml.token_type", ARRAY, numbers((3,)))),
        a_gguf(("tokenizer.ggml.tokens", STRING, text("abc")), TYPES),
        a_gguf(TOKENS, ("tokenizer.ggml.token_type", NUMBER, struct.pack("<I", 3))),
        a_gguf(("k", ARRAY, struct.pack("<IQ", STRING, 1 << 60))),
        a_gguf(("k", ARRAY, struct.pack("<IQ", ARRAY, 1))),
        a_gguf(("k", STRING, struct.pack("<Q", 1 << 63))),
        a_gguf(("k", 99, b"")),
        a_gguf(("tokenizer.ggml.pre", STRING, struct.pack("<Q", 1) + b"\xff")),
        b"",
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Invalid):
        read(tmp_path, content)
