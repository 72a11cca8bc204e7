"""Gaps: how a model is shown what stands before and after the words that it is to fill in.

Mistral's code models read the end first, ``[SUFFIX] end [PREFIX] begin``, and write on from there;
others read ``begin, end`` between three marks of their own and write after the third. The marks are
control tokens, known by their ids. Source: mistral-common 1.13 (``encode_fim``), and what
llama.cpp's converters write into GGUF as ``fim_pre``, ``fim_suf`` and ``fim_mid_token_id``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casemate.engines.llama.template import sound
from casemate.errors import Unsupported

if TYPE_CHECKING:
    from casemate.engines.llama.template import Piece
    from casemate.engines.llama.vocabulary import Vocabulary

# Names of the marks before the begin, before the end, and before the middle, where the weights do
# not tell their ids: those that llama.cpp looks for.
_NAMES = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
    ("<PRE>", "<SUF>", "<MID>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
)


@dataclass(frozen=True)
class Gap:
    """The marks of one model. ``middle`` None: the end is read first, and nothing follows."""

    begin: int | None  # the token that goes before any text
    prefix: int
    suffix: int
    middle: int | None

    @classmethod
    def of(cls, vocabulary: Vocabulary, controls: Mapping[str, int]) -> Gap:
        """Those of a vocabulary; ``controls``: its control tokens. Raises Unsupported."""
        if vocabulary.kind == "tekken" and "[PREFIX]" in controls and "[SUFFIX]" in controls:
            return cls(controls.get("<s>"), controls["[PREFIX]"], controls["[SUFFIX]"], None)
        begin = vocabulary.begin if vocabulary.begins else None
        told = vocabulary.gap
        if told is not None:
            return cls(begin, *told)
        known = {**vocabulary.defined, **vocabulary.controls}
        for prefix, suffix, middle in _NAMES:
            if prefix in known and suffix in known and middle in known:
                return cls(begin, known[prefix], known[suffix], known[middle])
        raise Unsupported(
            "The vocabulary of this model has no marks for a gap, so that it cannot fill one in.",
            "Choose a model that was trained for it, such as a code model.",
        )

    def pieces(self, before: str, after: str) -> list[Piece]:
        """A gap between ``before`` and ``after``, ready for what stands in it."""
        begin: list[Piece] = [] if self.begin is None else [self.begin]
        if self.middle is None:
            marked: list[Piece] = [self.suffix, sound(after), self.prefix, sound(before)]
        else:
            marked = [self.prefix, sound(before), self.suffix, sound(after), self.middle]
        return [piece for piece in (*begin, *marked) if piece != ""]
