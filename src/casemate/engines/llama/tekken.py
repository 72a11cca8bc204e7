"""Tekken: text to tokens exactly as the model was trained.

llama.cpp splits words before a combining mark (Arabic vowels, Devanagari, Thai), Tekken does not;
so Tekken's tokens are made here, by the library that the models' makers use. Both sources name the
same vocabulary: ``tekken.json``, and the weights themselves.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import tiktoken

from casemate.engines.llama.template import Piece
from casemate.engines.llama.vocabulary import Vocabulary
from casemate.errors import Invalid

# Words in which a lower-case letter ends a run of capitals, single digits, punctuation, space.
_WORD = r"[^\r\n\p{L}\p{N}]?"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PATTERN = "|".join(
    (
        f"{_WORD}{_UPPER}*{_LOWER}+",
        f"{_WORD}{_UPPER}+{_LOWER}*",
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)

_ENDLESS = re.compile(r"\s{200000}")


class Tekken:
    """A Tekken tokenizer."""

    def __init__(self, tokens: Sequence[bytes], controls: Mapping[str, int], pattern: str) -> None:
        """``tokens``: in order of rank; their ids begin after those of ``controls``."""
        self.controls = dict(controls)
        self._first = len(controls)
        ranks = {token: rank for rank, token in enumerate(tokens)}
        if len(ranks) != len(tokens):
            raise Invalid("The tokenizer has one token twice.")
        if any(bytes([byte]) not in ranks for byte in range(256)):
            raise Invalid("The tokenizer lacks some of the 256 bytes.")
        try:
            self._encoding = tiktoken.Encoding(
                "tekken", pat_str=pattern, mergeable_ranks=ranks, special_tokens={}
            )
        except ValueError:
            raise Invalid("The tokenizer's pattern cannot be read.") from None

    @classmethod
    def parse(cls, text: bytes) -> Tekken:
        """From ``tekken.json``. Raises Invalid."""
        file = _file(text)
        count = file.config.default_vocab_size - file.config.default_num_special_tokens
        if not 256 <= count <= len(file.vocab):
            raise Invalid("The tokenizer file's sizes do not fit its vocabulary.")
        try:
            tokens = [
                base64.b64decode(one.token_bytes, validate=True) for one in file.vocab[:count]
            ]
        except binascii.Error:
            raise Invalid("A token of the tokenizer file is no base64.") from None
        return cls(tokens, _controls(file), file.config.pattern)

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Tekken:
        """From the vocabulary in the weights. Raises Invalid if that is not Tekken's."""
        if vocabulary.kind != "tekken":
            raise Invalid("The vocabulary in the weights is not Tekken's.")
        names, tokens = vocabulary.split()
        return cls(tokens, {name: number for number, name in enumerate(names)}, PATTERN)

    def encode(self, pieces: Iterable[Piece]) -> list[int]:
        """The tokens of a conversation. Raises Invalid for endless white space."""
        found: list[int] = []
        for piece in pieces:
            if isinstance(piece, int):
                found.append(piece)
            elif _ENDLESS.search(piece):
                # The pattern matcher has no room to go back over it, and would end the process.
                raise Invalid("The text holds an endless run of white space.", "Shorten it.")
            else:
                found += [self._first + rank for rank in self._encoding.encode_ordinary(piece)]
        return found

    def bytes_of(self, token: int) -> bytes:
        """What a token writes; nothing for a control token."""
        if token < self._first:
            return b""
        return self._encoding.decode_single_token_bytes(token - self._first)


def control_ids(tekken_json: bytes) -> dict[str, int]:
    """The control tokens in a ``tekken.json``, name → id. Raises Invalid."""
    return _controls(_file(tekken_json))


class _Token(msgspec.Struct):
    token_bytes: str


class _Control(msgspec.Struct):
    rank: int
    token_str: str


class _Config(msgspec.Struct):
    pattern: str
    default_vocab_size: int
    default_num_special_tokens: int


class _File(msgspec.Struct):
    config: _Config
    vocab: list[_Token]
    special_tokens: list[_Control] | None = None


# What files of before version 11 leave unsaid.
_EARLY = (
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] "
    "[/TOOL_RESULTS] [TOOL_CALLS] [IMG] <pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] "
    "[SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT]"
).split()


def _file(text: bytes) -> _File:
    try:
        return msgspec.json.decode(text, type=_File)
    except (msgspec.DecodeError, UnicodeError):
        raise Invalid("This is no tekken.json.") from None


def _controls(file: _File) -> dict[str, int]:
    if file.special_tokens is None:
        named = dict(enumerate(_EARLY))
    else:
        named = {one.rank: one.token_str for one in file.special_tokens}
    count = file.config.default_num_special_tokens
    if not 0 <= count <= 100_000 or any(not 0 <= rank < count for rank in named):
        raise Invalid("The tokenizer file's control tokens do not fit its sizes.")
    controls = {named.get(rank, f"<SPECIAL_{rank}>"): rank for rank in range(count)}
    if len(controls) != count:
        raise Invalid("The tokenizer file has one control token twice.")
    return controls
