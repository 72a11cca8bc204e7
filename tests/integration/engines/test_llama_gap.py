"""The llama engine fills in between a begin and an end, as its vocabulary marks them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llama_builders import Tiny, a_prompt, said, text_of

from casemate.engines.engine import Prompt, Token
from casemate.engines.llama.gap import Gap
from casemate.engines.llama.vocabulary import Vocabulary
from casemate.errors import Tampered, Unsupported

CONTROLS = {"<s>": 1, "[PREFIX]": 14, "[SUFFIX]": 16}
QWEN = ("a", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")


def a_gap(before: str, after: str) -> Prompt:
    return replace(a_prompt(before), suffix=after)


def filled(tiny: Tiny, prompt: Prompt, **manifest: Any) -> list[Token]:
    async def run() -> list[Token]:
        engine = tiny.engine(**manifest)
        try:
            return await said(engine, prompt)
        finally:
            await engine.close()

    return asyncio.run(run())


@pytest.fixture(scope="module")
def filler(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Goes on from "a" with "bc", whatever stood before that."""
    return Tiny.make(tmp_path_factory.mktemp("filler"), ["a", "bc", "</s>"])


def test_what_stands_in_a_gap_is_text_and_is_counted(filler: Tiny) -> None:
    tokens = filled(filler, a_gap("xa", "d"), fills=True)
    assert text_of(tokens) == "bc"
    (count,) = [token for token in tokens if token.kind == "count"]
    # <s> [SUFFIX] d [PREFIX] x a, and: b c </s>
    assert (count.read, count.written) == (6, 3)


def test_a_model_that_is_not_said_to_fill_in_refuses(filler: Tiny) -> None:
    with pytest.raises(Unsupported, match="no gaps"):
        filled(filler, a_gap("xa", "d"))
    assert "fim" not in filler.engine().capabilities
    assert "fim" in filler.engine(fills=True).capabilities


def test_marks_come_from_the_weights_or_by_their_names() -> None:
    told = Vocabulary("qwen2", QWEN, (1, 3, 3, 3), begin=0, gap=(3, 2, 1))
    assert Gap.of(told, {}) == Gap(None, 3, 2, 1)
    named = Vocabulary("qwen2", QWEN, (1, 4, 4, 3), begin=0, begins=True)
    assert Gap.of(named, named.controls) == Gap(0, 1, 2, 3)
    with pytest.raises(Unsupported, match="no marks"):
        Gap.of(Vocabulary("qwen2", QWEN[:3], (1, 3, 3)), {})


def test_the_end_comes_first_for_mistrals_models_and_second_for_others() -> None:
    tekken = Gap.of(Vocabulary("tekken", ("<s>",), (3,)), CONTROLS)
    assert tekken.pieces("begin", "end") == [1, 16, "end", 14, "begin"]
    assert tekken.pieces("", "end") == [1, 16, "end", 14]
    assert Gap(None, 1, 2, 3).pieces("begin", "end") == [1, "begin", 2, "end", 3]


def test_a_model_without_marks_that_is_said_to_fill_in_does_not_start(tmp_path: Path) -> None:
    tiny = Tiny.make(tmp_path / "tiny")
    content = tiny.path.read_bytes()
    tiny.path.write_bytes(content.replace(b"[PREFIX]", b"[PREFAX]"))
    tekken = tiny.folder / "tekken.json"
    tekken.write_text(tekken.read_text().replace("[PREFIX]", "[PREFAX]"))
    with pytest.raises((Unsupported, Tampered), match="no marks"):
        filled(tiny, a_gap("a", "b"), fills=True)
