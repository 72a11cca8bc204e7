"""Proofs that hold and proofs that do not, made anew from the facts of published test vectors.

Source of the facts: github.com/transparency-dev/merkle at 417fb0c, testdata/inclusion and
testdata/consistency: the eight leaves, which places and pairs of sizes are asked about, how each
proof is spoilt, and the verdict on each: 98 inclusion and 98 consistency proofs, 6 of each hold.
Nothing is copied: trees and proofs come from the definitions below, which follow RFC 6962, 2.1,
word for word and share nothing with ``casemate.ledger.merkle``.

When these were made, all 196 published files were read beside them: with the constants below
replaced by the ones used there, both sets are the same, value for value and verdict for verdict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
        "606162636465666768696a6b6c6d6e6f",
    )
]
PLACES = [(0, 1), (0, 8), (5, 8), (2, 3), (1, 5)]  # (index, size)
GROWTHS = [(1, 1), (1, 8), (6, 8), (2, 5), (6, 7)]  # (old size, new size)

EMPTY = hashlib.sha256(b"").digest()
ELSEWHERE = hashlib.sha256(b"a hash that stands nowhere in these trees").digest()
ALONE = hashlib.sha256(b"the only leaf of a tree").digest()
SHORT_LEAF = b"no leaf"
SHORT_ROOT = b"no root"
WORDS = (b"not a hash", b"nor is this")
WRAPPED = 2**64  # sizes and indices are unsigned there: one below zero is very large


@dataclass(frozen=True)
class Inclusion:
    """A claim that a leaf stands in a tree, and whether it ``holds``."""

    name: str
    index: int
    size: int
    leaf: bytes
    proof: tuple[bytes, ...]
    root: bytes
    holds: bool = False


@dataclass(frozen=True)
class Consistency:
    """A claim that one tree begins another, and whether it ``holds``."""

    name: str
    old: int
    new: int
    proof: tuple[bytes, ...]
    old_root: bytes
    new_root: bytes
    holds: bool = False


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), tree_hash(leaves[k:])]
    return [*path(m - k, leaves[k:]), tree_hash(leaves[:k])]


def proof(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PROOF of RFC 6962, 2.1.2, for 0 < m <= n."""
    return subproof(m, leaves, known=True)


def subproof(m: int, leaves: Sequence[bytes], *, known: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2."""
    if m == len(leaves):
        return [] if known else [tree_hash(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], known=known), tree_hash(leaves[k:])]
    return [*subproof(m - k, leaves[k:], known=False), tree_hash(leaves[:k])]


def split(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def inclusions() -> list[Inclusion]:
    """The 98 claims of inclusion."""
    claims: list[Inclusion] = []
    for index, size in PLACES:
        leaves = LEAVES[:size]
        right = Inclusion(
            f"leaf {index} of {size}",
            index,
            size,
            tree_hash([LEAVES[index]]),
            tuple(path(index, leaves)),
            tree_hash(leaves),
            holds=True,
        )
        claims += [right, *_spoilt_inclusions(right)]
    for index, size in ((0, 0), (0, 1), (1, 0), (2, 1)):
        where = f"leaf {index} of {size}, nothing there"
        claims += [
            Inclusion(f"{where}: empty tree's root", index, size, b"", (), EMPTY),
            Inclusion(f"{where}: no root", index, size, ELSEWHERE, (), b""),
            Inclusion(f"{where}: empty tree's root, some leaf", index, size, ELSEWHERE, (), EMPTY),
        ]
    return [
        *claims,
        Inclusion("only leaf: it is the root", 0, 1, ALONE, (), ALONE, holds=True),
        Inclusion("only leaf: no root", 0, 1, ALONE, (), b""),
        Inclusion("only leaf: no leaf", 0, 1, b"", (), ALONE),
        Inclusion("only leaf: neither", 0, 1, b"", (), b""),
    ]


def _spoilt_inclusions(right: Inclusion) -> Iterator[Inclusion]:
    def spoilt(how: str, **changes: object) -> Inclusion:
        return replace(right, name=f"{right.name}: {how}", holds=False, **changes)  # type: ignore[arg-type]

    hashes = right.proof
    yield spoilt("one leaf before", index=(right.index - 1) % WRAPPED)
    yield spoilt("one leaf behind", index=right.index + 1)
    yield spoilt("a bit of the index flipped", index=right.index ^ 2)
    yield spoilt("twice the size", size=right.size * 2)
    yield spoilt("half the size", size=right.size // 2)
    yield spoilt("a leaf that is no hash", leaf=SHORT_LEAF)
    yield spoilt("the root of an empty tree", root=EMPTY)
    yield spoilt("another root", root=ELSEWHERE)
    yield from _longer(spoilt, hashes, {"the root": right.root})
    yield from _flipped(spoilt, hashes, bit=3)
    if hashes:
        yield spoilt("its last hash missing", proof=hashes[:-1])
    if len(hashes) > 1:
        yield spoilt("a hash put in", proof=(hashes[0], ELSEWHERE, *hashes[1:]))


def consistencies() -> list[Consistency]:
    """The 98 claims of consistency."""
    claims: list[Consistency] = []
    for old, new in GROWTHS:
        right = Consistency(
            f"{old} in {new}",
            old,
            new,
            tuple(proof(old, LEAVES[:new])),
            tree_hash(LEAVES[:old]),
            tree_hash(LEAVES[:new]),
            holds=True,
        )
        claims.append(right)
        if old != new:
            claims += _spoilt_consistencies(right)
    one, two = WORDS
    return [
        *claims,
        Consistency("words: 1 in 1, equal", 1, 1, (), two, two, holds=True),
        Consistency("words: 1 in 1", 1, 1, (), one, two),
        Consistency("words: 0 in 0, equal", 0, 0, (), one, one),
        Consistency("words: 0 in 0", 0, 0, (), one, two),
        Consistency("words: 0 in 1", 0, 1, (), one, two),
        Consistency("words: 1 in 0", 1, 0, (), one, two),
        Consistency("words: 2 in 1", 2, 1, (), one, two),
        Consistency("words: 1 in 2, without a proof", 1, 2, (), one, two),
        Consistency("empty tree in words of 0", 0, 0, (), EMPTY, two),
        Consistency("empty tree in words of 1", 0, 1, (), EMPTY, two),
        Consistency("empty tree as one leaf in words", 1, 1, (), EMPTY, two),
        Consistency("empty trees, with a proof", 0, 0, (EMPTY,), EMPTY, EMPTY),
        Consistency("empty trees as one leaf, with a proof", 1, 1, (EMPTY,), EMPTY, EMPTY),
        Consistency("empty tree in one leaf, with a proof", 0, 1, (EMPTY,), EMPTY, EMPTY),
    ]


def _spoilt_consistencies(right: Consistency) -> Iterator[Consistency]:
    def spoilt(how: str, **changes: object) -> Consistency:
        return replace(right, name=f"{right.name}: {how}", holds=False, **changes)  # type: ignore[arg-type]

    hashes = right.proof
    yield spoilt("one leaf less in the old", old=right.old - 1)
    yield spoilt("one leaf more in the old", old=right.old + 1)
    yield spoilt("a bit of the old size flipped", old=right.old ^ 2)
    yield spoilt("twice the new size", new=right.new * 2)
    yield spoilt("half the new size", new=right.new // 2)
    yield spoilt("an old root that is no hash", old_root=SHORT_ROOT)
    yield spoilt("a new root that is no hash", new_root=SHORT_ROOT)
    yield spoilt("roots swapped", old_root=right.new_root, new_root=right.old_root)
    yield spoilt("no proof", proof=())
    yield spoilt("its first hash twice", proof=(hashes[0], *hashes))
    yield spoilt("its last hash missing", proof=hashes[:-1])
    yield from _longer(
        spoilt, hashes, {"the old root": right.old_root, "the new root": right.new_root}
    )
    yield from _flipped(spoilt, hashes, bit=4)


def _longer(spoilt, hashes, roots):
    for what, extra in {"nothing": b"", **roots}.items():
        yield spoilt(f"{what} in front", proof=(extra, *hashes))
        yield spoilt(f"{what} behind", proof=(*hashes, extra))


def _flipped(spoilt, hashes, *, bit):
    for place, value in enumerate(hashes):
        wrong = bytes([value[0] ^ (1 << bit)]) + value[1:]
        yield spoilt(
            f"a bit of hash {place} flipped", proof=(*hashes[:place], wrong, *hashes[place + 1 :])
        )
