"""Two checkpoints of one log: it only grew, or it has shown two histories."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_builders import ORIGIN, a_signer, entries, fill

from casemate.errors import Invalid, NotFound, Tampered
from casemate.ledger.consistency import (
    Copy,
    Held,
    TwoHistories,
    compare,
    compare_with_copy,
    format_proof,
    open_checkpoint,
    parse_proof,
)
from casemate.ledger.edge import Edge
from casemate.ledger.log import Log
from casemate.ledger.proof import Checkpoint

VERIFIER = a_signer().verifier
OTHER = [b"another %d" % number for number in range(2_000)]


class Shown:
    """A log in memory, as one person is shown it: ``shared`` entries, then others."""

    def __init__(self, size: int, *, shared: int | None = None) -> None:
        shared = size if shared is None else shared
        self.entries = entries(shared) + OTHER[: size - shared]
        self.files: dict[str, bytes] = {}
        edge = Edge()
        for start in range(0, size, 256):
            edge, tiles = edge.extend(self.entries[start : start + 256])
            self.files |= {tile.path: content for tile, content in tiles.items()}
        self.files["checkpoint"] = self.signed(size)

    def signed(self, size: int) -> bytes:
        edge, _ = Edge().extend(self.entries[:size])
        return Checkpoint(ORIGIN, size, edge.root).sign([a_signer()])

    def held(self, size: int, name: str = "old") -> Held:
        return open_checkpoint(name, self.signed(size), VERIFIER)

    @property
    def copy(self) -> Copy:
        return Copy(self.files.get, VERIFIER)


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 1_300), min_size=3, max_size=3).map(sorted))
def test_a_log_that_only_grew_is_found_to(sizes: list[int]) -> None:
    old, new, now = sizes
    log = Shown(now)
    proof = compare_with_copy(log.held(old), log.held(new, "new"), log.copy)
    compare(log.held(old), log.held(new, "new"), parse_proof(format_proof(proof).encode()))


@settings(max_examples=100, deadline=None)
@given(
    shared=st.integers(0, 700),
    old=st.integers(1, 600),
    new=st.integers(1, 600),
    now=st.integers(0, 300),
    seen=st.sampled_from(["first", "second"]),
)
def test_two_histories_are_found_whichever_of_them_is_asked(
    shared: int, old: int, new: int, now: int, seen: str
) -> None:
    old, new = sorted((shared + old, shared + new))
    first, second = Shown(new + now), Shown(new + now, shared=shared)
    copy = first.copy if seen == "first" else second.copy
    for before, after in ((first, second), (second, first)):
        with pytest.raises(TwoHistories, match=r"two histories: (old|new) .* and (new|the log's)"):
            compare_with_copy(before.held(old), after.held(new, "new"), copy)


def test_one_size_and_two_roots_need_no_log() -> None:
    first, second = Shown(10), Shown(10, shared=9)
    with pytest.raises(TwoHistories) as found:
        compare(first.held(10), second.held(10, "new"), [])
    for held in (first.held(10), second.held(10, "new")):
        assert held.root in found.value.what
    assert "old (10 entries" in found.value.what
    assert "new (10 entries" in found.value.what


def test_both_are_named_even_where_the_log_denies_both() -> None:
    log, stranger = Shown(600), Shown(500, shared=100)
    with pytest.raises(TwoHistories, match=r"new .* and the log's own checkpoint"):
        compare_with_copy(stranger.held(300), stranger.held(400, "new"), log.copy)


def test_a_checkpoint_within_what_both_share_convicts_nobody() -> None:
    first, second = Shown(600), Shown(600, shared=300)
    assert compare_with_copy(first.held(200), second.held(600, "new"), second.copy)


# Proof files


def test_a_proof_of_other_sizes_proves_nothing() -> None:
    log = Shown(600)
    proof = compare_with_copy(log.held(100), log.held(500), log.copy)
    with pytest.raises(Invalid, match="does not show"):
        compare(log.held(101), log.held(500, "new"), proof)
    with pytest.raises(Invalid, match="does not show"):
        compare(log.held(100), log.held(500, "new"), proof[:-1])


def test_a_proof_cannot_join_two_histories() -> None:
    first, second = Shown(600), Shown(600, shared=300)
    for log in (first, second):
        proof = compare_with_copy(log.held(400), log.held(500), log.copy)
        with pytest.raises(Invalid, match="does not show"):
            compare(first.held(400), second.held(500, "new"), proof)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"AAAA", "newline"),
        (b"AAAA\n", "Line 1 of the proof is no hash"),
        (b"\n", "Line 1 of the proof is no hash"),
        (b"A" * 43 + b"=\n" + b"!\n", "Line 2 of the proof: malformed base64"),
        (b"A" * 42 + b"B=\n", "not canonical"),
        (b"\xff\n", "Line 1 of the proof: malformed base64"),
        ((b"A" * 43 + b"=\n") * 64, "more than 63 lines"),
    ],
)
def test_a_proof_that_is_none_is_refused_with_its_line(text: bytes, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        parse_proof(text)


def test_an_empty_proof_is_one_of_no_hashes() -> None:
    assert parse_proof(b"") == []


# Checkpoints


def test_a_checkpoint_of_another_key_or_log_is_refused_by_name() -> None:
    signed = Shown(5).signed(5)
    for wrong in (a_signer(seed=2), a_signer(name="casemate.example/other")):
        with pytest.raises(Invalid, match="mine is no checkpoint of"):
            open_checkpoint("mine", signed, wrong.verifier)
    for cut in (b"", signed[:-2], signed.replace(b"\n5\n", b"\n6\n")):
        with pytest.raises(Invalid, match="mine is no checkpoint of"):
            open_checkpoint("mine", cut, VERIFIER)


def test_the_larger_one_first_is_said_to_be() -> None:
    log = Shown(9)
    with pytest.raises(Invalid, match="old counts more entries than new: 9 and 5"):
        compare_with_copy(log.held(9), log.held(5, "new"), log.copy)


# Copies


def test_a_copy_that_ends_too_early_is_said_to() -> None:
    log, copy = Shown(600), Shown(500)
    with pytest.raises(NotFound, match="ends at 500 entries, before new, which counts 600"):
        compare_with_copy(log.held(10), log.held(600, "new"), copy.copy)


def test_a_copy_without_a_tile_names_it() -> None:
    log = Shown(600)
    del log.files["tile/0/000"]
    with pytest.raises(NotFound, match="lacks tile/0/000"):
        compare_with_copy(log.held(100), log.held(500, "new"), log.copy)


def test_a_copy_that_is_damaged_convicts_nobody() -> None:
    log = Shown(600)
    good = log.files["tile/0/000"]
    log.files["tile/0/000"] = good[:-32] + bytes(32)
    with pytest.raises(Tampered, match="do not lead to"):
        compare_with_copy(log.held(100), log.held(500, "new"), log.copy)
    log.files["tile/0/000"] = good[:-1]
    with pytest.raises(Tampered, match="tile/0/000 is damaged"):
        compare_with_copy(log.held(100), log.held(500, "new"), log.copy)


def test_a_place_without_a_log_is_said_to_have_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no checkpoint"):
        Copy.folder(tmp_path, VERIFIER)


def test_a_real_log_and_its_copy_in_a_folder_serve_alike(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with Log.open(folder, a_signer()) as log:
        fill(log, 300)
        old = open_checkpoint("old", log.checkpoint(), VERIFIER)
        fill(log, 300)
        new = open_checkpoint("new", log.checkpoint(), VERIFIER)
    shutil.copytree(folder, tmp_path / "copy")
    with Log.open(folder, a_signer()) as log:
        fill(log, 500)
        proof = log.consistency(300, 600)
        assert compare_with_copy(old, new, Copy(log.resource, VERIFIER)) == proof
        assert compare_with_copy(old, new, Copy.folder(tmp_path / "copy", VERIFIER)) == proof
