"""The Merkle tree: one hash that stands for a whole list, and short proofs about it.

Source: RFC 6962, section 2.1 (SHA-256; 0x00 before a leaf, 0x01 before two child hashes).
Standard library only, so that the verifier can travel alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

HASH_SIZE = 32

HashReader: TypeAlias = Callable[[int, int], bytes]
"""``read(height, index)``: the hash over leaves ``[index << height, (index + 1) << height)``."""


class MerkleError(ValueError):
    """A proof does not prove what it claims, or is asked for something that does not exist."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256 of one entry as a leaf: 32 bytes. Source: RFC 6962, 2.1."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of two child hashes as an inner node: 32 bytes. Source: RFC 6962, 2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_hash(leaves: Sequence[bytes]) -> bytes:
    """Hash of the tree over these leaf hashes: 32 bytes; of no leaves, SHA-256 of nothing.

    Source: RFC 6962, 2.1. Pairing level by level and carrying an odd last hash up unchanged
    builds the same tree as the specification's recursive split.
    """
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return level[0]


def range_hash(start: int, end: int, read: HashReader) -> bytes:
    """Hash of the subtree over leaves ``[start, end)``, from complete subtrees given by ``read``.

    ``start`` must be a multiple of the largest power of two that is not above ``end - start``,
    as it is for every subtree of RFC 6962. Raises MerkleError if the range is empty.
    """
    if end <= start:
        raise MerkleError("an empty range has no subtree")
    parts: list[bytes] = []
    while start < end:
        height = (end - start).bit_length() - 1
        parts.append(read(height, start >> height))
        start += 1 << height
    return _join(parts)


def tree_hash(size: int, read: HashReader) -> bytes:
    """Root hash of the first ``size`` leaves: 32 bytes. Source: RFC 6962, 2.1."""
    return range_hash(0, size, read) if size else root_hash(())


def inclusion_proof(index: int, size: int, read: HashReader) -> list[bytes]:
    """Audit path of leaf ``index`` in the tree of ``size`` leaves, from its sibling upward.

    Raises MerkleError if there is no such leaf. Source: RFC 6962, 2.1.1.
    """
    if not 0 <= index < size:
        raise MerkleError(f"leaf {index} does not lie in a tree of {size} leaves")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_hash(middle, end, read))
            end = middle
        else:
            path.append(range_hash(start, middle, read))
            start = middle
    return path[::-1]


def verify_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that ``leaf`` (a leaf hash) stands at ``index`` in the tree with this ``root``.

    Returns nothing; raises MerkleError if the proof does not show it. Source: RFC 6962, 2.1.1.
    """
    if not 0 <= index < size:
        raise MerkleError(f"leaf {index} does not lie in a tree of {size} leaves")
    _check_hashes([leaf, root, *proof])
    # Up to the height where the leaf's way and the last leaf's way join, the bits of the index
    # say on which side the sibling stands; above it every sibling stands on the left.
    inner = (index ^ (size - 1)).bit_length()
    if len(proof) != inner + (index >> inner).bit_count():
        raise MerkleError("the inclusion proof has the wrong length")
    sides = index | (-1 << inner)
    result = leaf
    for sibling in proof:
        result = node_hash(sibling, result) if sides & 1 else node_hash(result, sibling)
        sides >>= 1
    if result != root:
        raise MerkleError("the inclusion proof does not lead to the root")


def consistency_proof(old: int, new: int, read: HashReader) -> list[bytes]:
    """Proof that the tree of ``new`` leaves only appends to the tree of ``old`` leaves.

    Empty if ``old`` is 0 or equals ``new``. Raises MerkleError if ``old`` is above ``new``.
    Source: RFC 6962, 2.1.2.
    """
    if not 0 <= old <= new:
        raise MerkleError(f"no tree of {new} leaves can extend one of {old}")
    if old in (0, new):
        return []
    path: list[bytes] = []
    start, end = 0, new
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(range_hash(middle, end, read))
            end = middle
        else:
            path.append(range_hash(start, middle, read))
            start = middle
    if start:  # a subtree that begins the old tree is known to whoever holds the old root
        path.append(range_hash(start, end, read))
    return path[::-1]


def verify_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Check that the tree ``(new, new_root)`` only appends to the tree ``(old, old_root)``.

    Returns nothing; raises MerkleError if the proof does not show it. Source: RFC 6962, 2.1.2.
    """
    if not 0 <= old <= new:
        raise MerkleError(f"no tree of {new} leaves can extend one of {old}")
    _check_hashes([old_root, new_root, *proof])
    if old == 0 and old_root != root_hash(()):
        raise MerkleError("the root of an empty tree is fixed")
    if old == new and old_root != new_root:
        raise MerkleError("two trees of one size have different roots")
    if old in (0, new):
        if proof:
            raise MerkleError("the consistency proof has the wrong length")
        return
    # Follow the last leaf of the old tree upward, from the largest complete subtree that ends
    # there; when that subtree is the whole old tree, the proof leaves its hash out.
    last_old, last_new = old - 1, new - 1
    skip = (~last_old & old).bit_length() - 1
    index, last = last_old >> skip, last_new >> skip
    hashes = list(proof)
    if index:
        if not hashes:
            raise MerkleError("the consistency proof has the wrong length")
        start = hashes.pop(0)
    else:
        start = old_root
    old_result = new_result = start
    inner = (index ^ last).bit_length()
    if len(hashes) != inner + (index >> inner).bit_count():
        raise MerkleError("the consistency proof has the wrong length")
    for height, sibling in enumerate(hashes):
        if height >= inner or (index >> height) & 1:
            old_result = node_hash(sibling, old_result)
            new_result = node_hash(sibling, new_result)
        else:
            new_result = node_hash(new_result, sibling)
    if old_result != old_root:
        raise MerkleError("the consistency proof does not lead to the old root")
    if new_result != new_root:
        raise MerkleError("the consistency proof does not lead to the new root")


def _split(count: int) -> int:
    return 1 << ((count - 1).bit_length() - 1)


def _join(parts: list[bytes]) -> bytes:
    result = parts[-1]
    for left in reversed(parts[:-1]):
        result = node_hash(left, result)
    return result


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if not set(map(len, hashes)) <= {HASH_SIZE}:
        raise MerkleError(f"every hash has {HASH_SIZE} bytes")
