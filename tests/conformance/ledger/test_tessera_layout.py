"""The log on disk against Tessera, the implementation that others serve such logs with.

Source of the facts: github.com/transparency-dev/tessera at 1811ae1: testdata/build_log.sh (the
key and the fifteen entries), testdata/log (digests of what it made of them) and
api/layout/paths_test.go (addresses); C2SP tlog-tiles v0.1.0, "Partial Tiles" (sizes).
"""

from __future__ import annotations

import base64
import hashlib

import pytest

from casemate.errors import Tampered
from casemate.ledger import shelf
from casemate.ledger.audit import audit
from casemate.ledger.checkpoint import Checkpoint
from casemate.ledger.edge import Edge
from casemate.ledger.folder_shelf import FolderShelf
from casemate.ledger.log import Log
from casemate.ledger.note import Signer, Verifier
from casemate.ledger.tile import Tile, last_tile

VKEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
SEED = base64.b64decode("AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg")[1:]
WORDS = (
    "one two three four five six seven eit nain ten ileven twelf threeten fourten fivten"
).split()
ROOT = "rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs="
# SHA-256 over "name length sha256" of the 30 files below tile/, in order, a line each; and over
# the 16 checkpoints from empty to full, one behind the other
FILES = "84fd22b741cfb588dd4c85e7718cc4e36862c7bf40df680cb6952b447bcda0e7"
CHECKPOINTS = "c366c82fdd7c77311b8141fbd3769670884dba48445f343867c348455de269fd"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A log of Tessera's fifteen entries, one at a time, and its checkpoint after each."""
    folder = tmp_path_factory.mktemp("tessera") / "log"
    # Without a journal, which would leave out the partial tiles that nobody could have asked for.
    shelf = FolderShelf(folder)
    with Log.open(shelf, Signer.from_seed("example.com/log/testdata", SEED)) as log:
        checkpoints = [log.checkpoint()]
        for word in WORDS:
            log.append(word.encode()).result()
            checkpoints.append(log.checkpoint())
        assert log.vkey == VKEY
    return folder, checkpoints


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / "tile").rglob("*"))
        if path.is_file()
    }


def test_our_writer_lays_out_the_files_that_tessera_does(made):
    lengths = {name: len(content) for name, content in files_of(made[0]).items()}
    expected = {}
    for size in range(1, 16):
        expected[f"tile/0/000.p/{size}"] = 32 * size
        expected[f"tile/entries/000.p/{size}"] = sum(2 + len(word) for word in WORDS[:size])
    assert lengths == expected


def test_our_writer_makes_the_tiles_of_tessera_byte_for_byte(made):
    said = hashlib.sha256()
    for name, content in sorted(files_of(made[0]).items()):
        said.update(f"{name} {len(content)} {hashlib.sha256(content).hexdigest()}\n".encode())
    assert said.hexdigest() == FILES


def test_our_writer_makes_the_checkpoints_of_tessera_byte_for_byte(made):
    folder, checkpoints = made
    assert hashlib.sha256(b"".join(checkpoints)).hexdigest() == CHECKPOINTS
    assert (folder / "checkpoint").read_bytes() == checkpoints[-1]


def test_our_reader_needs_only_the_verifying_key(made):
    folder, _ = made
    verifier = Verifier.parse(VKEY)
    checkpoint = Checkpoint.open((folder / "checkpoint").read_bytes(), verifier)
    assert (checkpoint.size, checkpoint.root) == (15, base64.b64decode(ROOT))
    edge = shelf.read_edge(FolderShelf(folder), checkpoint.size)
    assert edge.root == checkpoint.root
    assert edge.bundle == tuple(word.encode() for word in WORDS)
    steps = []
    audit(FolderShelf(folder), edge, lambda done, total: steps.append((done, total)))
    assert steps[-1] == (15, 15)


@pytest.mark.parametrize("size", range(16))
def test_the_log_is_still_there_as_it_was_at_every_size(made, size):
    folder, checkpoints = made
    checkpoint = Checkpoint.open(checkpoints[size], Verifier.parse(VKEY))
    assert checkpoint.size == size
    assert shelf.read_edge(FolderShelf(folder), size).root == checkpoint.root


def test_our_audit_names_the_file_that_was_changed(made, tmp_path):
    folder, _ = made
    edge = shelf.read_edge(FolderShelf(folder), 15)
    for name, content in files_of(folder).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    wrong = bytearray((tmp_path / "tile/entries/000.p/7").read_bytes())
    wrong[-1] ^= 1
    (tmp_path / "tile/entries/000.p/7").write_bytes(wrong)
    with pytest.raises(Tampered, match=r"tile/entries/000\.p/7"):
        audit(FolderShelf(tmp_path), edge, lambda done, total: None)


@pytest.mark.parametrize(
    ("level", "index", "size", "path"),
    [
        (None, 0, 256, "tile/entries/000"),
        (None, 0, 255, "tile/entries/000.p/255"),
        (None, 1, 512, "tile/entries/001"),
        (None, 0, 257, "tile/entries/000"),
        (None, 1, 257, "tile/entries/001.p/1"),
        (None, 123456789, 123456790 * 256, "tile/entries/x123/x456/789"),
        (None, 255, 255 * 256 + 253, "tile/entries/255.p/253"),
        (0, 0, 255, "tile/0/000.p/255"),
        (1, 0, 256 * 256, "tile/1/000"),
        (0, 455667, 455668 * 256, "tile/0/x455/667"),
        (0, 123456789, 123456789 * 256 + 41, "tile/0/x123/x456/789.p/41"),
    ],
)
def test_an_address_is_the_one_that_tessera_gives(level, index, size, path):
    assert last_tile(level, index, size).path == path
    assert Tile.parse(path) == last_tile(level, index, size)


@pytest.mark.parametrize(
    ("level", "index", "width", "path"),
    [
        (15, 455667, 256, "tile/15/x455/667"),
        (15, 123456789, 41, "tile/15/x123/x456/789.p/41"),
    ],
)
def test_an_address_of_a_high_level_is_the_one_that_tessera_gives(level, index, width, path):
    assert Tile(level, index, width).path == path
    assert Tile.parse(path) == Tile(level, index, width)


def test_the_log_of_256_entries_of_the_specification_has_its_tiles():
    _, files = Edge().extend([b""] * 256)
    assert {tile.path for tile in files} == {"tile/entries/000", "tile/0/000", "tile/1/000.p/1"}


def test_the_log_of_70000_entries_of_the_specification_has_its_tiles():
    _, files = Edge().extend([b""] * 70_000)
    hashes = [tile for tile in files if tile.level is not None]
    assert sorted((tile.level, tile.index, tile.width) for tile in hashes) == [
        *((0, index, 256) for index in range(273)),
        (0, 273, 112),
        (1, 0, 256),
        (1, 1, 17),
        (2, 0, 1),
    ]
    bundles = [tile for tile in files if tile.level is None]
    assert sorted((tile.index, tile.width) for tile in bundles) == [
        *((index, 256) for index in range(273)),
        (273, 112),
    ]
