"""What holds for every tree up to 10,000 leaves, and for every file that somebody changed.

The reference is RFC 6962, 2.1, as it is written there: recursive, on ranges of leaves.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ledger_builders import ORIGIN, a_receipt, a_signer

from casemate.ledger.checkpoint import Checkpoint, CheckpointError
from casemate.ledger.edge import Edge
from casemate.ledger.merkle import (
    MerkleError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    tree_hash,
    verify_consistency,
    verify_inclusion,
)
from casemate.ledger.note import Note, NoteError, Signature, Verifier, open_note, sign
from casemate.ledger.proof import MAX_SIZE, Proof, ProofError
from casemate.ledger.receipt import Receipt, ReceiptError, canonical, parse_canonical
from casemate.ledger.tile import (
    FULL,
    MAX_INDEX,
    Tile,
    TileError,
    encode_bundle,
    encode_hashes,
    parse_bundle,
    parse_hashes,
)
from casemate.ledger.verify import Unproven, verify

LARGEST = 10_000
ENTRIES = [b"entry %d" % number for number in range(LARGEST)]
sizes = st.integers(1, LARGEST) | st.integers(0, 13).map(lambda height: 1 << height)


def _levels():
    level = [leaf_hash(entry) for entry in ENTRIES]
    while level:
        yield level
        level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]


LEVELS = list(_levels())


def read(height, index):
    return LEVELS[height][index]


@functools.cache
def mth(start, end):
    """MTH(D[start:end])."""
    if start == end:
        return hashlib.sha256(b"").digest()
    if end - start == 1:
        return hashlib.sha256(b"\x00" + ENTRIES[start]).digest()
    k = largest_power_below(end - start)
    return hashlib.sha256(b"\x01" + mth(start, start + k) + mth(start + k, end)).digest()


def path(m, start, end):
    """PATH(m, D[start:end])."""
    if end - start == 1:
        return []
    k = largest_power_below(end - start)
    if m < k:
        return [*path(m, start, start + k), mth(start + k, end)]
    return [*path(m - k, start + k, end), mth(start, start + k)]


def subproof(m, start, end, known):
    """SUBPROOF(m, D[start:end], known)."""
    if m == end - start:
        return [] if known else [mth(start, end)]
    k = largest_power_below(end - start)
    if m <= k:
        return [*subproof(m, start, start + k, known), mth(start + k, end)]
    return [*subproof(m - k, start + k, end, False), mth(start, start + k)]


def largest_power_below(n):
    k = 1
    while 2 * k < n:
        k *= 2
    return k


@st.composite
def spoilt(draw, proof):
    """Another list of hashes than ``proof``."""
    how = draw(st.sampled_from(["drop", "add", "flip", "twice", "swap", "elsewhere"]))
    changed = list(proof)
    if not proof or how == "add":
        changed.insert(draw(st.integers(0, len(proof))), draw(st.binary(min_size=32, max_size=32)))
        return changed
    place = draw(st.integers(0, len(proof) - 1))
    if how == "drop":
        del changed[place]
    elif how == "flip":
        raw = bytearray(changed[place])
        raw[draw(st.integers(0, 31))] ^= 1 << draw(st.integers(0, 7))
        changed[place] = bytes(raw)
    elif how == "twice":
        changed.insert(place, changed[place])
    elif how == "swap":
        other = draw(st.integers(0, len(proof) - 1))
        changed[place], changed[other] = changed[other], changed[place]
    else:
        changed[place] = mth(0, draw(sizes))
    assume(changed != proof)
    return changed


@given(st.integers(0, LARGEST))
def test_the_root_of_every_tree_is_the_one_of_the_specification(size):
    assert tree_hash(size, read) == mth(0, size)


@settings(max_examples=15)
@given(st.lists(st.integers(0, LARGEST), max_size=6).map(sorted))
def test_the_edge_has_the_same_root_however_the_log_grew(stops):
    edge, start = Edge(), 0
    for stop in stops:
        edge, _ = edge.extend(ENTRIES[start:stop])
        start = stop
        assert (edge.size, edge.root) == (stop, mth(0, stop))


@given(st.data())
def test_every_leaf_of_every_tree_is_proven_and_nothing_else_is(data):
    size = data.draw(sizes)
    index = data.draw(st.integers(0, size - 1))
    leaf, root = leaf_hash(ENTRIES[index]), mth(0, size)
    proof = inclusion_proof(index, size, read)
    assert proof == path(index, 0, size)
    verify_inclusion(index, size, leaf, proof, root)
    other = data.draw(st.integers(0, LARGEST - 1).filter(lambda other: other != index))
    wrong = [
        (other, size, leaf, proof, root),
        (index, size, leaf_hash(ENTRIES[other]), proof, root),
        (index, size, leaf, data.draw(spoilt(proof)), root),
        (index, size, mth(0, size), proof, root) if size > 1 else (1, 1, leaf, proof, root),
    ]
    larger = data.draw(sizes)
    if larger != size:
        wrong += [
            (index, larger, leaf, proof, mth(0, larger)),
            (index, size, leaf, proof, mth(0, larger)),
        ]
    if index < larger and len(path(index, 0, larger)) != len(proof):
        wrong.append((index, larger, leaf, proof, root))
    for claim in wrong:
        with pytest.raises(MerkleError):
            verify_inclusion(*claim)


@given(st.data())
def test_every_tree_is_shown_to_begin_every_larger_one_and_no_other_does(data):
    new = data.draw(sizes)
    old = data.draw(st.integers(1, new))
    proof = consistency_proof(old, new, read)
    assert proof == subproof(old, 0, new, True)
    verify_consistency(old, new, proof, mth(0, old), mth(0, new))
    other = data.draw(sizes)
    wrong = [(old, new, data.draw(spoilt(proof)), mth(0, old), mth(0, new))]
    if other != old:
        wrong.append((old, new, proof, mth(0, other), mth(0, new)))
    if other != new:
        wrong.append((old, new, proof, mth(0, old), mth(0, other)))
    if other != old and not (other <= new and subproof(other, 0, new, True) == proof):
        wrong.append((other, new, proof, mth(0, other), mth(0, new)))
    if old != new:
        wrong.append((new, old, proof, mth(0, new), mth(0, old)))
    for claim in wrong:
        with pytest.raises(MerkleError):
            verify_consistency(*claim)


@given(st.integers(0, 2**64), st.integers(0, 2**64), st.lists(st.binary(max_size=40), max_size=70))
def test_claims_from_nowhere_are_refused_with_the_error_that_is_documented(one, two, proof):
    leaf, root = mth(0, 1), mth(0, 2)
    with pytest.raises(MerkleError):
        verify_inclusion(one, two, leaf, proof, root)
    with pytest.raises(MerkleError):
        verify_consistency(one, two, proof, leaf, root)


# What somebody changed: every parser refuses it in its own words, or gives back the same bytes.

TOKENS = [
    *("\n", "\n\n", "\r\n", " ", "\t", "\0", "0", "00", "+", "-", "=", "==", "/", "x", ".p/", "—"),
    *(
        "— ",
        "\u2028",
        "٣",
        "é",
        "e\u0301",
        "\ufeff",
        "1e1",
        "0x1",
        "_",
        '"',
        ",",
        "{}",
        "[]",
        "null",
    ),
    *("index ", "extra AA==\n", "tile/", "entries", "18446744073709551616", "\\u0041", "\x7f"),
]


@st.composite
def changed(draw, raw):
    """Other bytes than ``raw``, but not by much."""
    now = bytearray(raw)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(now)))
        end = min(len(now), start + draw(st.integers(0, 40)))
        piece = bytes(now[start:end])
        how = draw(st.sampled_from(["flip", "cut", "put", "token", "twice", "case", "end"]))
        if how == "flip" and start < len(now):
            now[start] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del now[start:end]
        elif how == "put":
            now[start:start] = draw(st.binary(min_size=1, max_size=6))
        elif how == "token":
            now[start : draw(st.sampled_from([start, end]))] = draw(
                st.sampled_from(TOKENS)
            ).encode()
        elif how == "twice":
            now[start:start] = piece
        elif how == "case":
            now[start:end] = piece.swapcase()
        elif how == "end":
            del now[end:]
    assume(bytes(now) != raw)
    return bytes(now)


def as_text(raw):
    return raw.decode("utf-8", "surrogateescape")


lines = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
names = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], exclude_characters="+"),
    min_size=1,
    max_size=20,
)
signatures = st.builds(
    Signature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=100)
)
notes = st.builds(
    Note,
    st.lists(lines, min_size=1, max_size=5).map(lambda parts: "\n".join(parts) + "\n"),
    st.lists(signatures, min_size=1, max_size=5).map(tuple),
)


@given(notes)
def test_every_note_is_read_as_it_was_written(note):
    assert Note.parse(note.encode()) == note


@given(st.data())
def test_a_changed_note_is_refused_or_says_and_proves_the_same(data):
    signer, text = a_signer(), "casemate.example\n\nlast line\n"
    raw = sign(text, [signer])
    other = data.draw(changed(raw))
    try:
        assert Note.parse(other).encode() == other
        opened = open_note(other, [signer.verifier])
    except NoteError:
        return
    assert (opened.text, opened.signatures) == (text, Note.parse(raw).signatures)


@given(st.data())
def test_a_changed_key_is_refused_or_is_another_key_in_its_one_spelling(data):
    vkey = a_signer().vkey
    other = as_text(data.draw(changed(vkey.encode())))
    with contextlib.suppress(NoteError):
        assert Verifier.parse(other).vkey == other


checkpoints = st.builds(
    Checkpoint,
    lines.filter(bool),
    st.integers(0, MAX_SIZE),
    st.binary(min_size=32, max_size=32),
)


@given(checkpoints, st.data())
def test_every_checkpoint_is_read_as_it_was_written_and_has_one_spelling(checkpoint, data):
    text = checkpoint.format()
    assert Checkpoint.parse(text) == checkpoint
    other = as_text(data.draw(changed(text.encode())))
    try:
        found = Checkpoint.parse(other)
    except CheckpointError:
        return
    assert found != checkpoint
    assert found.format() == other


proofs = st.builds(
    Proof,
    st.integers(0, MAX_SIZE),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63).map(tuple),
    notes.map(Note.encode),
    st.none() | st.binary(max_size=40),
)


@given(proofs, st.data())
def test_every_proof_is_read_as_it_was_written_and_has_one_spelling(proof, data):
    text = proof.format()
    assert Proof.parse(text) == proof
    other = as_text(data.draw(changed(text.encode())))
    try:
        found = Proof.parse(other)
    except ProofError:
        return
    assert found != proof
    assert found.format() == other


tiles = st.builds(
    Tile,
    st.none() | st.integers(0, 63),
    st.integers(0, MAX_INDEX) | st.integers(0, 1_000_000),
    st.integers(1, FULL),
)


@given(tiles, st.data())
def test_every_tile_has_one_address(tile, data):
    assert Tile.parse(tile.path) == tile
    other = as_text(data.draw(changed(tile.path.encode())))
    try:
        found = Tile.parse(other)
    except TileError:
        return
    assert found != tile
    assert found.path == other


@given(checkpoints, proofs, st.sampled_from(["0", "00", "+", "-", " ", "_", "٠", "0x"]))
def test_a_number_has_one_spelling(checkpoint, proof, before):
    with pytest.raises(CheckpointError):
        Checkpoint.parse(checkpoint.format().replace("\n", f"\n{before}", 1))
    with pytest.raises(ProofError):
        Proof.parse(proof.format().replace("\nindex ", f"\nindex {before}", 1))


@given(st.none() | st.integers(0, 63), st.integers(0, 999_999))
def test_a_tile_is_not_found_by_another_address(level, index):
    path = Tile(level, index).path
    start = path.rindex("/x" if "/x" in path else "/")
    for other in (f"{path[:start]}/x000{path[start:]}", f"{path}.p/256", f"{path}.p/0", f"/{path}"):
        with pytest.raises(TileError):
            Tile.parse(other)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=40), st.data())
def test_every_bundle_is_read_as_it_was_written_and_no_other_way(entries, data):
    raw = encode_bundle(entries)
    assert parse_bundle(raw, len(entries)) == tuple(entries)
    other, width = data.draw(changed(raw) | st.binary(max_size=300)), len(entries)
    with contextlib.suppress(TileError):
        assert encode_bundle(parse_bundle(other, width)) == other
    with pytest.raises(TileError):
        parse_bundle(raw, width + 1)


@given(st.binary(max_size=400), st.integers(1, FULL))
def test_hashes_are_read_as_they_were_written_or_refused(raw, width):
    try:
        assert encode_hashes(parse_hashes(raw, width)) == raw
    except TileError:
        assert len(raw) != 32 * width


@pytest.fixture(scope="module")
def receipt(tmp_path_factory):
    return a_receipt(tmp_path_factory.mktemp("properties") / "log")


@settings(max_examples=300)
@given(st.data())
def test_a_changed_receipt_proves_nothing_more(receipt, data):
    verdict = verify(receipt, a_signer().vkey)
    assert verdict.facts["origin"] == ORIGIN
    other = data.draw(changed(receipt))
    try:
        found = Receipt.parse(other)
    except ReceiptError:
        with pytest.raises(Unproven):
            verify(other, a_signer().vkey)
        return
    assert found.encode() == other
    try:
        verify(other, a_signer().vkey)
    except Unproven:
        return
    whole = Receipt.parse(receipt)  # all that may change unnoticed is what nobody relies on
    assert (found.admitted.entry, found.finished.entry) == (
        whole.admitted.entry,
        whole.finished.entry,
    )
    assert set(map(repr, found.openings)) <= set(map(repr, whole.openings))


@given(st.data())
def test_a_receipt_proves_nothing_under_a_changed_key(receipt, data):
    vkey = a_signer().vkey
    other = as_text(data.draw(changed(vkey.encode())))
    assume(other != vkey + "\n")
    with pytest.raises(Unproven):
        verify(receipt, other)


@given(st.permutations(range(3)))
def test_the_openings_of_a_receipt_have_one_order(receipt, order):
    content = parse_canonical(receipt)
    content["openings"] = [content["openings"][place] for place in order]
    if order == [0, 1, 2]:
        assert Receipt.parse(canonical(content)).encode() == receipt
    else:
        with pytest.raises(ReceiptError):
            Receipt.parse(canonical(content))


@given(st.binary(max_size=400), st.text(max_size=80))
def test_nothing_from_nowhere_is_a_receipt(raw, key):
    with pytest.raises(Unproven):
        verify(raw, key)
    with pytest.raises(Unproven):
        verify(raw, a_signer().vkey)
