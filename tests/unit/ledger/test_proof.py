import base64

import pytest
from ledger_builders import ORIGIN, a_signer

from casemate.ledger.checkpoint import Checkpoint, CheckpointError
from casemate.ledger.merkle import MerkleError, leaf_hash, node_hash
from casemate.ledger.note import NoteError, sign
from casemate.ledger.proof import Proof, ProofError

ROOT = bytes(range(32))
ROOT64 = base64.b64encode(ROOT).decode()


def test_a_checkpoint_survives_being_written_and_read():
    for size in (0, 1, 256, 2**63 - 1):
        checkpoint = Checkpoint(ORIGIN, size, ROOT)
        assert Checkpoint.parse(checkpoint.format()) == checkpoint
        assert Checkpoint.open(checkpoint.sign([a_signer()]), a_signer().verifier) == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{ORIGIN}\n7\n{ROOT64}",
        f"{ORIGIN}\n7\n",
        f"\n7\n{ROOT64}\n",
        f"{ORIGIN}\n\n{ROOT64}\n",
        f"{ORIGIN}\n07\n{ROOT64}\n",
        f"{ORIGIN}\n+7\n{ROOT64}\n",
        f"{ORIGIN}\n-7\n{ROOT64}\n",
        f"{ORIGIN}\n 7\n{ROOT64}\n",
        f"{ORIGIN}\n1_000\n{ROOT64}\n",
        f"{ORIGIN}\n٧\n{ROOT64}\n",
        f"{ORIGIN}\n{2**63}\n{ROOT64}\n",
        f"{ORIGIN}\n7\n{ROOT64[:-1]}\n",
        f"{ORIGIN}\n7\n{ROOT64[:-4]}\n",
        f"{ORIGIN}\n7\n{ROOT64} \n",
        f"{ORIGIN}\n7\n{ROOT64[:-2]}9=\n",
        f"{ORIGIN}\n7\n{ROOT64}\nextension\n",
        f"{ORIGIN}\n7\n{ROOT64}\n\n",
    ],
)
def test_a_checkpoint_in_any_other_spelling_is_refused(text):
    with pytest.raises(CheckpointError):
        Checkpoint.parse(text)


def test_a_checkpoint_cannot_exist_in_a_wrong_state():
    for origin, size, root in (("", 1, ROOT), ("a\nb", 1, ROOT), ("a", -1, ROOT), ("a", 1, b"")):
        with pytest.raises(CheckpointError):
            Checkpoint(origin, size, root)


def test_a_checkpoint_of_another_origin_or_key_is_refused():
    signer = a_signer()
    other = Checkpoint("other.example", 7, ROOT)
    with pytest.raises(CheckpointError, match="another log"):
        Checkpoint.open(sign(other.format(), [signer]), signer.verifier)
    with pytest.raises(NoteError):
        Checkpoint.open(Checkpoint(ORIGIN, 7, ROOT).sign([signer]), a_signer(seed=2).verifier)


def a_proof(**changes):
    checkpoint = Checkpoint(ORIGIN, 2, node_hash(leaf_hash(b"left"), leaf_hash(b"right")))
    fields = {
        "index": 1,
        "hashes": (leaf_hash(b"left"),),
        "checkpoint": checkpoint.sign([a_signer()]),
    }
    return Proof(**(fields | changes)), checkpoint


def test_a_proof_survives_being_written_and_read():
    for changes in ({}, {"extra": b"opaque"}, {"extra": b""}, {"hashes": (), "index": 0}):
        proof, _ = a_proof(**changes)
        assert Proof.parse(proof.format()) == proof


def test_a_proof_proves_its_entry_and_no_other():
    proof, checkpoint = a_proof()
    proof.verify(b"right", checkpoint)
    with pytest.raises(MerkleError):
        proof.verify(b"left", checkpoint)


TEXT = a_proof()[0].format()


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT.split("\n\n")[0],
        TEXT.split("\n\n")[0] + "\n\n",
        TEXT.replace("@v1", "@v2"),
        TEXT.replace("index 1", "index 01"),
        TEXT.replace("index 1", "index +1"),
        TEXT.replace("index 1", "index  1"),
        TEXT.replace("index 1", "index 1\r"),
        TEXT.replace("index 1", "Index 1"),
        TEXT.replace("index 1\n", ""),
        TEXT.replace("index 1", "index 1\nextra AAAA"),
        TEXT.replace("index 1", "extra A\nindex 1"),
        TEXT.replace("index 1", "extra AAAA\nextra AAAA\nindex 1"),
        TEXT.replace("index 1", "index 1\nAAAA"),
        TEXT.replace("index 1", "index 1" + ("\n" + ROOT64) * 64),
        "\n" + TEXT,
        TEXT.replace("index", "index\ud800"),
        TEXT + "\ud800",
    ],
)
def test_a_malformed_proof_is_refused(text):
    with pytest.raises(ProofError):
        Proof.parse(text)
