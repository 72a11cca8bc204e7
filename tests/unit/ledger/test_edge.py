from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.ledger.edge import Edge
from casemate.ledger.merkle import leaf_hash, root_hash
from casemate.ledger.tile import Tile, encode_bundle, encode_hashes

ENTRIES = [b"entry %d" % number for number in range(1500)]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 400), max_size=6))
def test_the_edge_is_the_same_however_entries_are_batched(steps):
    edge, files = Edge(), {}
    for step in steps:
        edge, new = edge.extend(ENTRIES[edge.size : edge.size + step])
        assert not files.keys() & new.keys()  # a file, once made, is never made again
        files |= new
    leaves = [leaf_hash(entry) for entry in ENTRIES[: edge.size]]
    assert edge.root == root_hash(leaves)
    assert edge == Edge().extend(ENTRIES[: edge.size])[0] or not edge.size
    for tile, content in files.items():
        first = tile.index * 256
        if tile.level is None:
            assert content == encode_bundle(ENTRIES[first : first + tile.width])
        elif tile.level == 0:
            assert content == encode_hashes(leaves[first : first + tile.width])


def test_the_files_of_a_tree_of_70_000_are_those_of_the_specification():
    _, files = Edge().extend([b""] * 70_000)
    wide = [tile for tile in files if tile.width == 256 and tile.level == 0]
    assert len(wide) == 273
    partial = sorted(tile.path for tile in files if tile.width < 256)
    assert partial == [
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
        "tile/entries/273.p/112",
    ]
    assert Tile(1, 0) in files


def test_a_tree_of_256_has_one_full_tile_and_one_hash_above_it():
    _, files = Edge().extend([b""] * 256)
    assert {tile.path for tile in files} == {"tile/0/000", "tile/entries/000", "tile/1/000.p/1"}
