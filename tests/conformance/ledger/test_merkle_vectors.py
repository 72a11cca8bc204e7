"""The Merkle tree against published vectors: which proofs hold and which do not.

Sources: transparency-dev/merkle at 417fb0c (see ``merkle_vectors``); the accumulated subtree
hashes of draft-ietf-plants-merkle-tree-certs, as the same repository gives them in
testonly/vectors_test.go.
"""

from __future__ import annotations

import functools
import hashlib

import merkle_vectors as vectors
import pytest
from merkle_vectors import EMPTY

from casemate.ledger.merkle import (
    HASH_SIZE,
    MerkleError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    range_hash,
    root_hash,
    verify_consistency,
    verify_inclusion,
)

LARGEST = 130
SUBTREES = "b82806ad4265bb151c1119c0f4db437bb4d1a1f887b3a7fba1cd4ebf552e3e81"
SUBTREE_PATHS = "ac2a8f989e44d99e399db448050ff5f19757df53cfb716aa81015d3955d8163f"


def named(claims):
    return [pytest.param(claim, id=claim.name) for claim in claims]


def verify(claim):
    if isinstance(claim, vectors.Inclusion):
        verify_inclusion(claim.index, claim.size, claim.leaf, claim.proof, claim.root)
    else:
        verify_consistency(claim.old, claim.new, claim.proof, claim.old_root, claim.new_root)


def is_of_hashes(claim):
    """The published code compares two roots of one size whatever they are; ours must be hashes."""
    return claim.name != "words: 1 in 1, equal"


@pytest.mark.parametrize("make", [vectors.inclusions, vectors.consistencies])
def test_there_are_as_many_claims_as_published_and_each_is_another(make):
    claims = make()
    assert len(claims) == 98
    assert sum(claim.holds for claim in claims) == 6
    assert len({claim.name for claim in claims}) == 98


@pytest.mark.parametrize("claim", named([*vectors.inclusions(), *vectors.consistencies()]))
def test_a_claim_is_accepted_exactly_if_it_holds(claim):
    if claim.holds and is_of_hashes(claim):
        verify(claim)
    else:
        with pytest.raises(MerkleError):
            verify(claim)


def test_we_refuse_one_published_claim_because_its_roots_are_no_hashes():
    (lax,) = [claim for claim in vectors.consistencies() if not is_of_hashes(claim)]
    assert lax.holds
    assert len(lax.old_root) != HASH_SIZE
    root = hashlib.sha256(lax.old_root).digest()
    verify_consistency(lax.old, lax.new, lax.proof, root, root)


def test_we_accept_growth_from_nothing_without_a_proof_as_witnesses_do():
    """C2SP tlog-witness, add-checkpoint: from size 0 the proof is empty.

    The published code refuses size 0 as meaningless; its vectors for it have no valid new root.
    """
    verify_consistency(0, 3, [], EMPTY, vectors.tree_hash(vectors.LEAVES[:3]))


@pytest.mark.parametrize(("index", "size"), vectors.PLACES)
def test_our_inclusion_proofs_are_the_ones_of_the_specification(index, size):
    leaves = vectors.LEAVES[:size]
    assert inclusion_proof(index, size, reader(tuple(leaves))) == vectors.path(index, leaves)


@pytest.mark.parametrize(("old", "new"), vectors.GROWTHS)
def test_our_consistency_proofs_are_the_ones_of_the_specification(old, new):
    leaves = vectors.LEAVES[:new]
    assert consistency_proof(old, new, reader(tuple(leaves))) == vectors.proof(old, leaves)


def test_every_subtree_up_to_130_leaves_has_the_published_hash():
    read = reader(tuple(bytes([number]) for number in range(LARGEST)))
    said = hashlib.sha256()
    for start, end in subtrees():
        found = range_hash(start, end, read) if start < end else root_hash(())
        said.update(f"[{start}, {end}) {found.hex()}\n".encode())
    assert said.hexdigest() == SUBTREES


def test_every_path_in_every_subtree_up_to_130_leaves_is_the_published_one():
    read = reader(tuple(bytes([number]) for number in range(LARGEST)))
    said = hashlib.sha256()
    for start, end in subtrees():
        within = functools.partial(_read_from, read, start)
        for index in range(start, end):
            path = inclusion_proof(index - start, end - start, within)
            words = [f"{index} [{start}, {end})", *(value.hex() for value in path)]
            said.update((" ".join(words) + "\n").encode())
    assert said.hexdigest() == SUBTREE_PATHS


def subtrees():
    """Ranges that are subtrees: they begin at a multiple of their length, rounded up to 2^n."""
    for end in range(LARGEST + 1):
        for start in range(end + 1):
            if start in (0, end) or start % (1 << (end - start - 1).bit_length()) == 0:
                yield start, end


def reader(leaves):
    @functools.cache
    def read(height, index):
        if height == 0:
            return leaf_hash(leaves[index])
        return node_hash(read(height - 1, 2 * index), read(height - 1, 2 * index + 1))

    return read


def _read_from(read, start, height, index):
    return read(height, (start >> height) + index)
