"""The nano model's tokenizer: byte-pair merges in Mistral's tekken format, version 13.

Tekken is tiktoken's scheme: the 256 bytes, then merged tokens by rank; text is first cut by a
pattern in which every digit stands alone. Control tokens come before all of them, at the ranks
of Magistral's own list, so that ``mistral-common`` renders its template unchanged.
"""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import regex
import tiktoken

from nano.language import LANGUAGES, SYSTEM, Task, Writer, names

CONTROL = {
    0: "<unk>",
    1: "<s>",
    2: "</s>",
    3: "[INST]",
    4: "[/INST]",
    5: "[AVAILABLE_TOOLS]",
    6: "[/AVAILABLE_TOOLS]",
    7: "[TOOL_RESULTS]",
    8: "[/TOOL_RESULTS]",
    9: "[TOOL_CALLS]",
    10: "[IMG]",
    11: "<pad>",
    12: "[IMG_BREAK]",
    13: "[IMG_END]",
    14: "[PREFIX]",
    15: "[MIDDLE]",
    16: "[SUFFIX]",
    17: "[SYSTEM_PROMPT]",
    18: "[/SYSTEM_PROMPT]",
    19: "[TOOL_CONTENT]",
    32: "[ARGS]",
    33: "[CALL_ID]",
    34: "[THINK]",
    35: "[/THINK]",
}
CONTROLS = 40  # the first ids; those without a name are fillers
BOS, EOS, PAD = 1, 2, 11
# A word with the sign before it, a digit, signs with the line ends after them, white space.
_WORD_SIGNS, _UPPER, _LOWER = (
    r"[^\r\n\p{L}\p{N}]?",
    r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}",
    (r"\p{Ll}\p{Lm}\p{Lo}\p{M}"),
)
PATTERN = "|".join(
    (
        f"{_WORD_SIGNS}[{_UPPER}]*[{_LOWER}]+",
        f"{_WORD_SIGNS}[{_UPPER}]+[{_LOWER}]*",
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
_NAME_SHARE = 6  # a family name counts this many times less, so that names stay in pieces


class Tokenizer:
    """Text to ids and back, with the prompt of one task."""

    def __init__(self, ranks: dict[bytes, int]) -> None:
        self.ranks = ranks
        self._encoding = tiktoken.Encoding(
            "nano", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={}
        )

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """From a tekken.json."""
        vocab = json.loads(path.read_text("utf-8"))["vocab"]
        return cls({base64.b64decode(one["token_bytes"]): one["rank"] for one in vocab})

    @property
    def size(self) -> int:
        """How many ids there are, control tokens included."""
        return CONTROLS + len(self.ranks)

    @cached_property
    def pieces(self) -> list[bytes]:
        """The bytes of each id; of a control token its name."""
        controls = [CONTROL.get(id, f"<SPECIAL_{id}>").encode() for id in range(CONTROLS)]
        return controls + sorted(self.ranks, key=self.ranks.__getitem__)

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; what looks like a control token is text."""
        return [CONTROLS + rank for rank in self._encoding.encode_ordinary(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids, control tokens by their names."""
        return b"".join(self.pieces[id] for id in ids).decode("utf-8", "replace")

    @cached_property
    def _system(self) -> list[int]:
        return [BOS, 17, *self.encode(SYSTEM), 18]

    def prompt(self, user: str) -> list[int]:
        """<s>[SYSTEM_PROMPT]…[/SYSTEM_PROMPT][INST]…[/INST]."""
        return [*self._system, 3, *self.encode(user), 4]

    def continuation(self, task: Task) -> list[int]:
        """[THINK]…[/THINK]…</s>."""
        return [34, *self.encode(task.thinking), 35, *self.encode(task.answer), EOS]

    def merges(self) -> list[tuple[bytes, bytes]]:
        """Every pair that joins to a known token, by the rank of what it makes."""
        found = []
        for piece in self.pieces[CONTROLS:]:
            for cut in range(1, len(piece)):
                left, right = piece[:cut], piece[cut:]
                if left in self.ranks and right in self.ranks:
                    found.append((left, right))
        return found

    def save(self, path: Path) -> None:
        """As tekken.json."""
        vocab = [
            {
                "rank": rank,
                "token_bytes": base64.b64encode(piece).decode(),
                "token_str": _text(piece),
            }
            for piece, rank in sorted(self.ranks.items(), key=lambda one: one[1])
        ]
        special = [
            {"rank": id, "token_str": CONTROL.get(id, f"<SPECIAL_{id}>"), "is_control": True}
            for id in range(CONTROLS)
        ]
        config = {
            "pattern": PATTERN,
            "num_vocab_tokens": len(vocab),
            "default_vocab_size": self.size,
            "default_num_special_tokens": CONTROLS,
            "version": "v13",
        }
        whole = {"config": config, "vocab": vocab, "special_tokens": special}
        path.write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n", "utf-8")


def learn(size: int, *, seed: int, tasks: int = 12_000) -> Tokenizer:
    """Merges learnt from generated text, up to ``size`` ids."""
    writer = Writer(seed)
    counts: Counter[str] = Counter()
    for _ in range(tasks):
        task = writer.task(LANGUAGES, [3], [4])
        text = "\n".join((SYSTEM, task.user, task.thinking, task.answer))
        counts.update(regex.findall(PATTERN, text))
    family = set(names(False))
    weights = {
        tuple(bytes([byte]) for byte in word.encode()): (
            max(1, count // _NAME_SHARE) if word.strip() in family else count
        )
        for word, count in counts.items()
    }
    return Tokenizer(_merged(weights, size - CONTROLS))


def _merged(weights: dict[tuple[bytes, ...], int], size: int) -> dict[bytes, int]:
    """Ranks after joining the most frequent pair again and again."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    texts = [list(word) for word in weights]
    counts = list(weights.values())
    pairs: Counter[tuple[bytes, bytes]] = Counter()
    places: defaultdict[tuple[bytes, bytes], set[int]] = defaultdict(set)

    def tell(index: int, sign: int) -> None:
        word = texts[index]
        for pair in pairwise(word):
            pairs[pair] += sign * counts[index]
            if sign > 0:
                places[pair].add(index)

    for index in range(len(texts)):
        tell(index, 1)
    while len(ranks) < size:
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        if pairs[best] < 2:
            break
        ranks.setdefault(best[0] + best[1], len(ranks))
        for index in places.pop(best):
            tell(index, -1)
            texts[index] = _joined(texts[index], best)
            tell(index, 1)
        del pairs[best]
    return ranks


def _joined(word: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    done: list[bytes] = []
    for piece in word:
        if done and (done[-1], piece) == pair:
            done[-1] += piece
        else:
            done.append(piece)
    return done


def _text(piece: bytes) -> str | None:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return None
