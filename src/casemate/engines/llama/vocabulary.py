"""Vocabularies: what weights say of their own tokens and of how to speak to them.

Format: GGUF, versions 2 and 3 (little-endian). Only the metadata is read, never a tensor.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from casemate.errors import Invalid

_NORMAL, _UNKNOWN, _CONTROL, _DEFINED = 1, 2, 3, 4
_MOST_VALUES = 1 << 24  # of one array
_MOST_KEYS = 1 << 16
_MOST_TEXT = 1 << 24  # bytes of one string


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a model. ``tokens``: as the weights write them, by id; ``types``: GGUF's.

    ``kind``: how text is split before it is merged ("tekken", "qwen2", …).
    ``begins``: a conversation begins with the token ``begin`` whatever the template says. ``gap``:
    tokens before the begin, the end and the middle of what is to be filled in, if they are told.
    """

    kind: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    begin: int | None = None
    end: int | None = None
    begins: bool = False
    chat_template: str | None = None
    gap: tuple[int, int, int] | None = None

    @classmethod
    def read(cls, weights: Path) -> Vocabulary:
        """The vocabulary of a GGUF file. Raises Invalid."""
        try:
            with (
                weights.open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as bytes_,
            ):
                said = msgspec.convert(_Reader(bytes_).metadata(), _Said)
        except (struct.error, UnicodeDecodeError, ValueError, msgspec.ValidationError):
            raise Invalid("The weights are no GGUF file that can be read.") from None
        if not said.tokens or len(said.token_type) != len(said.tokens):
            raise Invalid("The weights hold no vocabulary.")
        count = len(said.tokens)
        return cls(
            kind=said.pre,
            tokens=said.tokens,
            types=said.token_type,
            begin=said.bos_token_id if 0 <= said.bos_token_id < count else None,
            end=said.eos_token_id if 0 <= said.eos_token_id < count else None,
            begins=said.add_bos_token,
            chat_template=said.chat_template,
            gap=said.gap if all(0 <= id < count for id in said.gap) else None,
        )

    @property
    def controls(self) -> dict[str, int]:
        """Control tokens, name → id. llama.cpp never finds them in text unless told to."""
        return self._of(_CONTROL, _UNKNOWN)

    @property
    def defined(self) -> dict[str, int]:
        """Tokens that llama.cpp finds in text whatever it is told, name → id."""
        return self._of(_DEFINED)

    def split(self) -> tuple[list[str], list[bytes]]:
        """Control tokens, and the bytes of the others, which begin with byte 0. Raises Invalid.

        Converters disagree on the types of control tokens, so their place decides; and some fill
        the vocabulary up at its end.
        """
        try:
            first = self.tokens.index(_FIRST)
            last = max(id for id, kind in enumerate(self.types) if kind == _NORMAL)
            words = self.tokens[first : last + 1]
            tokens = [bytes(map(_BYTES.__getitem__, word)) for word in words]
        except (ValueError, KeyError):
            raise Invalid("The vocabulary's tokens are not written byte by byte.") from None
        return list(self.tokens[:first]), tokens

    def _of(self, *kinds: int) -> dict[str, int]:
        pairs = zip(self.tokens, self.types, strict=True)
        return {token: number for number, (token, kind) in enumerate(pairs) if kind in kinds}


class _Said(msgspec.Struct):
    """The metadata that matter here, by the last part of their keys."""

    tokens: tuple[str, ...] = ()
    token_type: tuple[int, ...] = ()
    pre: str = "default"
    bos_token_id: int = -1
    eos_token_id: int = -1
    add_bos_token: bool = False
    chat_template: str | None = None
    fim_pre_token_id: int = -1
    fim_suf_token_id: int = -1
    fim_mid_token_id: int = -1

    @property
    def gap(self) -> tuple[int, int, int]:
        """The three marks of a gap; negative where they are not told."""
        return self.fim_pre_token_id, self.fim_suf_token_id, self.fim_mid_token_id


def _alphabet() -> dict[str, int]:
    """The byte that each letter of byte-level vocabularies stands for.

    Bytes that print stand for themselves, the others follow each other from U+0100.
    """
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(0x100 + number): byte for number, byte in enumerate(others)
    }


_BYTES = _alphabet()
_FIRST = "\u0100"  # the letter of byte 0

# GGUF's number for a type of value → its layout.
_LAYOUTS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?"}
_LAYOUTS |= {10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_NUMBERS = {kind: struct.Struct(layout) for kind, layout in _LAYOUTS.items()}


class _Reader:
    """Reads values one after the other; raises ValueError or struct.error where they end."""

    def __init__(self, file: mmap.mmap) -> None:
        self._file = file
        self._at = 0

    def metadata(self) -> dict[str, Any]:
        """The values that matter here."""
        if self._taken(4) != b"GGUF" or self._number(4) not in (2, 3):
            raise ValueError
        self._number(10)  # tensors
        wanted = {f"tokenizer.ggml.{name}": name for name in _Said.__struct_fields__}
        wanted["tokenizer.chat_template"] = "chat_template"
        found: dict[str, Any] = {}
        for _ in range(_bounded(self._number(10), _MOST_KEYS)):
            key = self._text()
            value = self._value(self._number(4), keep=key in wanted)
            if key in wanted:
                found[wanted[key]] = value
        return found

    def _value(self, kind: int, *, keep: bool) -> Any:
        if kind == _STRING:
            return self._text() if keep else self._skip_text()
        if kind != _ARRAY:
            return self._number(kind)
        kind = self._number(4)
        count = _bounded(self._number(10), _MOST_VALUES)
        if kind == _STRING:
            read: Callable[[], Any] = self._text if keep else self._skip_text
            return [read() for _ in range(count)]
        layout = _NUMBERS.get(kind)
        if layout is None:
            raise ValueError
        values = self._taken(layout.size * count)
        return [value for (value,) in layout.iter_unpack(values)] if keep else None

    def _number(self, kind: int) -> Any:
        if kind not in _NUMBERS:
            raise ValueError
        (value,) = _NUMBERS[kind].unpack_from(self._file, self._at)
        self._at += _NUMBERS[kind].size
        return value

    def _text(self) -> str:
        return self._taken(_bounded(self._number(10), _MOST_TEXT)).decode()

    def _skip_text(self) -> None:
        size = _bounded(self._number(10), _MOST_TEXT)
        self._at += size

    def _taken(self, size: int) -> bytes:
        taken = self._file[self._at : self._at + size]
        if len(taken) != size:
            raise ValueError
        self._at += size
        return taken


def _bounded(number: int, most: int) -> int:
    if number > most:
        raise ValueError
    return number
