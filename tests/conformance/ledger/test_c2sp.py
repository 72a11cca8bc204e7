"""The ledger against published examples: C2SP, the Go implementation of signed notes, RFC 6962.

Sources: C2SP/C2SP at 5ba5ee8 (signed-note.md, tlog-checkpoint.md, tlog-tiles.md, tlog-proof.md);
golang.org/x/mod/sumdb/note (documentation examples); the eight leaves with which
implementations of Certificate Transparency are tested.
"""

import base64

import pytest

from casemate.ledger.checkpoint import Checkpoint
from casemate.ledger.edge import Edge
from casemate.ledger.merkle import leaf_hash, root_hash
from casemate.ledger.note import Note, NoteError, Signer, Verifier, open_note, sign
from casemate.ledger.proof import Proof
from casemate.ledger.tile import Tile

C2SP_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONnc"
    "AlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
VERSES = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU"
    "0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
).encode()
CHECKPOINT = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q"
    "1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
).encode()
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_NOTE = (
    GO_TEXT
    + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqf"
    "qdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
PROOF_HASHES = (
    "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=",
    "B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=",
    "EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=",
    "RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=",
    "AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=",
)
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
LEAVES.append("606162636465666768696a6b6c6d6e6f")
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_the_example_note_of_the_specification_opens_with_its_key():
    note = open_note(C2SP_NOTE, [Verifier.parse(C2SP_VKEY)])
    assert note.text == "This is an example message.\n"
    assert Verifier.parse(C2SP_VKEY).vkey == C2SP_VKEY


def test_the_first_example_splits_at_its_last_blank_line():
    note = Note.parse(VERSES)
    assert note.text.endswith(":\n\ned è subito sera.\n")
    assert [one.name for one in note.signatures] == ["quasimodo.example/salvatore"]
    assert note.encode() == VERSES


def test_the_note_of_the_go_documentation_opens_and_is_made_again_byte_for_byte():
    assert open_note(GO_NOTE, [Verifier.parse(GO_VKEY)]).text == GO_TEXT
    signer = Signer.from_seed("PeterNeumann", GO_SEED)
    assert signer.vkey == GO_VKEY
    assert sign(GO_TEXT, [signer]) == GO_NOTE


@pytest.mark.parametrize(
    "vkey",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_keys_that_the_go_implementation_refuses_are_refused(vkey):
    with pytest.raises(NoteError):
        Verifier.parse(vkey)


def test_the_example_checkpoint_is_read_and_written_again():
    note = Note.parse(CHECKPOINT)
    checkpoint = Checkpoint.parse(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.root.hex().startswith("0ac5186a91863e8e")
    assert checkpoint.format() == note.text


def test_the_example_proof_is_read_and_written_again():
    text = "\n".join(["c2sp.org/tlog-proof@v1", "extra AAEC", "index 73894", *PROOF_HASHES, ""])
    proof = Proof.parse(text + "\n" + CHECKPOINT.decode())
    assert (proof.index, proof.extra, len(proof.hashes)) == (73894, b"\0\1\2", 5)
    assert proof.checkpoint == CHECKPOINT
    assert proof.format() == text + "\n" + CHECKPOINT.decode()


def test_the_example_addresses_of_tiles_are_ours():
    assert Tile(0, 1234067).path == "tile/0/x001/x234/067"
    assert Tile.parse("tile/0/x001/x234/067") == Tile(0, 1234067)


def test_a_full_tile_has_8192_bytes():
    _, files = Edge().extend([b""] * 256)
    assert len(files[Tile(0, 0)]) == 8192


def test_the_eight_known_leaves_give_the_eight_known_roots():
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES]
    for size, root in enumerate(ROOTS, 1):
        assert root_hash(leaves[:size]).hex() == root
        assert Edge().extend([bytes.fromhex(leaf) for leaf in LEAVES[:size]])[0].root.hex() == root
    assert root_hash(()).hex().startswith("e3b0c44298fc1c14")
