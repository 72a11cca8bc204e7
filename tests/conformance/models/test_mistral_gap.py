"""A gap as our tokens and as mistral-common's, with the vocabulary of Mistral's models."""

from __future__ import annotations

from pathlib import Path

import pytest

mistral_common = pytest.importorskip("mistral_common", reason="mistral-common is not installed")
pytest.importorskip("tiktoken", reason="tiktoken is not installed: pip install 'casemate[llama]'")

from mistral_common.protocol.fim.request import FIMRequest  # noqa: E402
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer  # noqa: E402

from casemate.engines.llama.gap import Gap  # noqa: E402
from casemate.engines.llama.tekken import Tekken  # noqa: E402
from casemate.engines.llama.vocabulary import Vocabulary  # noqa: E402

# mistral-common puts two tokens of a sign of its own before the end and cuts them off again, which
# comes out right with a vocabulary that has just these two.
SHIPPED = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"


@pytest.fixture(scope="module")
def theirs() -> MistralTokenizer:
    return MistralTokenizer.from_file(str(SHIPPED))


@pytest.fixture(scope="module")
def ours() -> Tekken:
    return Tekken.parse(SHIPPED.read_bytes())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def add(a, b):\n    ", "\n    return total\n"),
        ("", "the end"),
        ("the begin", ""),
        ("[SUFFIX] as letters </s>", "é [PREFIX] 城"),
        ("1 + ", " 2"),
    ],
)
def test_a_gap_is_the_same_tokens(
    theirs: MistralTokenizer, ours: Tekken, before: str, after: str
) -> None:
    gap = Gap.of(Vocabulary("tekken", ("<s>",), (3,)), ours.controls)
    wanted = theirs.encode_fim(FIMRequest(prompt=before, suffix=after)).tokens
    assert ours.encode(gap.pieces(before, after)) == wanted
