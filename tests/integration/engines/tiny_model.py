"""Builders of models small enough to be written for a test: random weights, genuine formats.

The weights are GGUF of the llama architecture; the tokenizer is Tekken, once in the weights and
once as the ``tekken.json`` that mistral-common reads.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf
import numpy as np

NAMED = (
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] "
    "[/TOOL_RESULTS] [TOOL_CALLS] [IMG] <pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] "
    "[SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT]"
).split()
LATER = {32: "[ARGS]", 33: "[CALL_ID]", 34: "[THINK]", 35: "[/THINK]"}

PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# What the few merged tokens are learned from: several scripts, JSON, and the shape of markers.
LESSON = (
    "The house keeps the keys and the letters that the people of the town write. "
    "Das Haus der Stadt und die Straße; la maison de la ville, où l’été est là. "
    "D'Haus an der Stad. Στην πόλη και στη χώρα. В городе и в доме на улице. "
    "في المدينة وفي البيت. בעיר ובבית. नगर में घर है। 家の中の町、城市的房子。ในเมืองและในบ้าน "
    '{"name": "find", "arguments": {"query": "keys"}} [{"type": "function"}] '
    "[INST] [/INST] </s> [/THINK] [TOOL_CALLS] \n\n \n\n    {\n    }\n\n"
)


def make(
    folder: Path,
    *,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int = 2,
    feed_forward: int = 128,
    context: int = 1024,
    seed: int = 0,
    chat_template: str | None = None,
) -> Path:
    """Write ``tiny.gguf`` and ``tekken.json`` into ``folder``; the path of the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tekken = tekken_of(learned(LESSON, 96), specials=64)
    (folder / "tekken.json").write_text(json.dumps(tekken, ensure_ascii=False), "utf-8")
    path = folder / "tiny.gguf"
    write_gguf(
        path,
        tekken,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        feed_forward=feed_forward,
        context=context,
        seed=seed,
        chat_template=chat_template,
    )
    return path


def special_tokens(count: int) -> list[dict[str, Any]]:
    """Control tokens at the ranks that Mistral's reasoning models give them."""
    names = {**dict(enumerate(NAMED)), **LATER}
    return [
        {"rank": rank, "token_str": names.get(rank, f"<SPECIAL_{rank}>"), "is_control": True}
        for rank in range(count)
    ]


def learned(text: str, count: int) -> list[bytes]:
    """The ``count`` first merges of byte-pair encoding, learned from ``text``."""
    pieces = re.findall(r" ?[^\W\d_]+| ?[^\w\s]+|\d|\s+|_", text)
    words = [[bytes([byte]) for byte in piece.encode()] for piece in pieces]
    tokens: list[bytes] = []
    while len(tokens) < count:
        pairs = Counter(pair for word in words for pair in pairwise(word))
        left, right = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if left + right not in tokens:
            tokens.append(left + right)
        words = [_joined(word, left, right) for word in words]
    return tokens


def tekken_of(merged: Iterable[bytes], *, specials: int, version: str = "v13") -> dict[str, Any]:
    """A Tekken tokenizer file: all bytes, then ``merged`` in order of rank."""
    tokens = [bytes([byte]) for byte in range(256)] + list(merged)
    return {
        "config": {
            "pattern": PATTERN,
            "num_vocab_tokens": len(tokens),
            "default_vocab_size": len(tokens) + specials,
            "default_num_special_tokens": specials,
            "version": version,
        },
        "vocab": [
            {
                "rank": rank,
                "token_bytes": base64.b64encode(token).decode("ascii"),
                "token_str": _text(token),
            }
            for rank, token in enumerate(tokens)
        ],
        "special_tokens": special_tokens(specials),
    }


def write_gguf(
    path: Path,
    tekken: dict[str, Any],
    *,
    hidden: int,
    layers: int,
    heads: int,
    kv_heads: int,
    feed_forward: int,
    context: int,
    seed: int,
    half: bool = False,
    chat_template: str | None = None,
) -> None:
    """Write random weights with this tokenizer: float32, or float16 matrices if ``half``."""
    specials, tokens = [token["token_str"] for token in tekken["special_tokens"]], _tokens(tekken)
    vocabulary = len(specials) + len(tokens)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(context)
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(hidden // heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(vocabulary)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("tekken")
    writer.add_token_list(specials + [_letters(token) for token in tokens])
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control] * len(specials) + [normal] * len(tokens))
    writer.add_token_merges(merges(tokens))
    writer.add_unk_token_id(specials.index("<unk>"))
    writer.add_bos_token_id(specials.index("<s>"))
    writer.add_eos_token_id(specials.index("</s>"))
    writer.add_pad_token_id(specials.index("<pad>"))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    weights = _weights(vocabulary, hidden, layers, heads, kv_heads, feed_forward, seed)
    for name, values in weights.items():
        kind = np.float16 if half and values.ndim == 2 else np.float32
        writer.add_tensor(name, values.astype(kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def merges(tokens: Sequence[bytes]) -> list[str]:
    """Every way to merge two tokens into one, lowest rank first: what ranks alone mean."""
    rank = {token: number for number, token in enumerate(tokens)}
    lines = []
    for token in tokens:
        cuts = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        known = [(left, right) for left, right in cuts if left in rank and right in rank]
        known.sort(key=lambda pair: (rank[pair[0]], rank[pair[1]]))
        lines += [f"{_letters(left)} {_letters(right)}" for left, right in known]
    return lines


def _tokens(tekken: dict[str, Any]) -> list[bytes]:
    config = tekken["config"]
    count = config["default_vocab_size"] - config["default_num_special_tokens"]
    return [base64.b64decode(token["token_bytes"]) for token in tekken["vocab"][:count]]


def _weights(
    vocabulary: int, hidden: int, layers: int, heads: int, kv_heads: int, feed: int, seed: int
) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    random = np.random.default_rng(seed)
    narrow = hidden // heads * kv_heads

    def matrix(rows: int, columns: int, scale: float = 1.0) -> Any:
        values = random.standard_normal((rows, columns), dtype=np.float32)
        return values * np.float32(scale / np.sqrt(columns))

    ones = np.ones(hidden, np.float32)
    weights = {"token_embd.weight": random.standard_normal((vocabulary, hidden), np.float32)}
    for layer in range(layers):
        weights |= {
            f"blk.{layer}.{name}.weight": values
            for name, values in {
                "attn_norm": ones,
                "attn_q": matrix(hidden, hidden, 2.0),
                "attn_k": matrix(narrow, hidden, 2.0),
                "attn_v": matrix(narrow, hidden),
                "attn_output": matrix(hidden, hidden),
                "ffn_norm": ones,
                "ffn_gate": matrix(feed, hidden),
                "ffn_up": matrix(feed, hidden),
                "ffn_down": matrix(hidden, feed),
            }.items()
        }
    return weights | {"output_norm.weight": ones, "output.weight": matrix(vocabulary, hidden, 1.5)}


def _joined(word: list[bytes], left: bytes, right: bytes) -> list[bytes]:
    result: list[bytes] = []
    for part in word:
        if part == right and result and result[-1] == left:
            result[-1] = left + right
        else:
            result.append(part)
    return result


def _text(token: bytes) -> str | None:
    try:
        return token.decode()
    except UnicodeDecodeError:
        return None


def _alphabet() -> dict[int, str]:
    """The letter that byte-level BPE writes for each byte."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    shifted = {byte: chr(0x100 + number) for number, byte in enumerate(others)}
    return {byte: chr(byte) for byte in plain} | shifted


_ALPHABET = _alphabet()


def _letters(token: bytes) -> str:
    return "".join(_ALPHABET[byte] for byte in token)
