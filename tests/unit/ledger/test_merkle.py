import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.ledger import merkle
from casemate.ledger.merkle import MerkleError

LEAVES = [merkle.leaf_hash(b"entry %d" % number) for number in range(70)]


def naive_root(leaves):
    """RFC 6962, 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m, leaves):
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_consistency(m, leaves, whole=True):
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*naive_consistency(m, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_consistency(m - k, leaves[k:], False), naive_root(leaves[:k])]


def read(height, index):
    return naive_root(LEAVES[index << height : (index + 1) << height])


@pytest.mark.parametrize("size", range(71))
def test_the_root_is_the_one_the_specification_defines(size):
    assert merkle.root_hash(LEAVES[:size]) == naive_root(LEAVES[:size])
    assert merkle.tree_hash(size, read) == naive_root(LEAVES[:size])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 70])
def test_every_leaf_has_a_proof_that_verifies_only_at_its_place(size):
    root = naive_root(LEAVES[:size])
    for index in range(size):
        proof = merkle.inclusion_proof(index, size, read)
        assert proof == naive_path(index, LEAVES[:size])
        merkle.verify_inclusion(index, size, LEAVES[index], proof, root)
        for other in range(-1, size + 2):
            if other != index:
                with pytest.raises(MerkleError):
                    merkle.verify_inclusion(other, size, LEAVES[index], proof, root)


@pytest.mark.parametrize("new", [1, 2, 3, 5, 8, 13, 16, 21, 32, 33])
def test_every_older_tree_is_shown_to_be_a_beginning_of_the_newer(new):
    new_root = naive_root(LEAVES[:new])
    for old in range(new + 1):
        old_root = naive_root(LEAVES[:old])
        proof = merkle.consistency_proof(old, new, read)
        if old:
            assert proof == naive_consistency(old, LEAVES[:new])
        merkle.verify_consistency(old, new, proof, old_root, new_root)
        with pytest.raises(MerkleError):
            merkle.verify_consistency(old, new, [*proof, LEAVES[0]], old_root, new_root)
        for place in range(len(proof)):
            with pytest.raises(MerkleError):
                merkle.verify_consistency(
                    old, new, proof[:place] + proof[place + 1 :], old_root, new_root
                )
            wrong = [*proof[:place], LEAVES[-1], *proof[place + 1 :]]
            with pytest.raises(MerkleError):
                merkle.verify_consistency(old, new, wrong, old_root, new_root)
        if old not in (0, new):
            with pytest.raises(MerkleError):
                merkle.verify_consistency(old, new, proof, LEAVES[-1], new_root)
            with pytest.raises(MerkleError):
                merkle.verify_consistency(old, new, proof, old_root, LEAVES[-1])


@given(st.data())
def test_no_changed_proof_verifies(data):
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, read)
    root = naive_root(LEAVES[:size])
    changed = list(proof)
    how = data.draw(st.sampled_from(["drop", "add", "flip", "leaf"]))
    leaf = LEAVES[index]
    if how == "add" or not proof:
        changed.insert(data.draw(st.integers(0, len(proof))), LEAVES[0])
    elif how == "drop":
        changed.pop(data.draw(st.integers(0, len(proof) - 1)))
    elif how == "flip":
        place = data.draw(st.integers(0, len(proof) - 1))
        changed[place] = bytes([changed[place][0] ^ 1]) + changed[place][1:]
    else:
        leaf = merkle.leaf_hash(b"another entry")
    with pytest.raises(MerkleError):
        merkle.verify_inclusion(index, size, leaf, changed, root)


def test_what_does_not_exist_has_no_proof():
    for index, size in ((0, 0), (3, 3), (-1, 3)):
        with pytest.raises(MerkleError):
            merkle.inclusion_proof(index, size, read)
    for old, new in ((4, 3), (-1, 3)):
        with pytest.raises(MerkleError):
            merkle.consistency_proof(old, new, read)
        with pytest.raises(MerkleError):
            merkle.verify_consistency(old, new, [], LEAVES[0], LEAVES[0])
    with pytest.raises(MerkleError):
        merkle.range_hash(3, 3, read)


def test_hashes_of_another_length_are_refused():
    with pytest.raises(MerkleError, match="32 bytes"):
        merkle.verify_inclusion(0, 2, LEAVES[0], [b"short"], naive_root(LEAVES[:2]))


def test_trees_of_one_size_are_consistent_only_if_they_are_equal():
    with pytest.raises(MerkleError, match="different roots"):
        merkle.verify_consistency(3, 3, [], LEAVES[0], LEAVES[1])
    with pytest.raises(MerkleError, match="empty tree"):
        merkle.verify_consistency(0, 3, [], LEAVES[0], LEAVES[1])
