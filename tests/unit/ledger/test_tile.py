import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.ledger.tile import (
    MAX_INDEX,
    Tile,
    TileError,
    encode_bundle,
    encode_hashes,
    last_tile,
    parse_bundle,
    parse_hashes,
)


@given(st.one_of(st.none(), st.integers(0, 63)), st.integers(0, MAX_INDEX), st.integers(1, 256))
def test_an_address_survives_being_written_and_read(level, index, width):
    tile = Tile(level, index, width)
    assert Tile.parse(tile.path) == tile


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(None, 999, 7), "tile/entries/999.p/7"),
        (Tile(1, 1000), "tile/1/x001/000"),
        (Tile(63, 123_456_789, 255), "tile/63/x123/x456/789.p/255"),
    ],
)
def test_addresses_are_spelled_as_the_specification_says(tile, path):
    assert tile.path == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/x000/001",
        "tile/0/x001",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/+1",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000\n",
        "tile/0/٠٠٠",
        "tile/entries/../checkpoint",
        "tile/data/000",
        "tile/Entries/000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    ],
)
def test_any_other_address_is_refused(path):
    with pytest.raises(TileError):
        Tile.parse(path)


@pytest.mark.parametrize(
    "numbers", [(64, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 2**63, 1), (0, 0, 0), (0, 0, 257)]
)
def test_a_tile_cannot_exist_out_of_bounds(numbers):
    with pytest.raises(TileError):
        Tile(*numbers)


def test_the_last_tile_is_as_wide_as_the_log_reaches():
    assert last_tile(0, 0, 300) == Tile(0, 0)
    assert last_tile(0, 1, 300) == Tile(0, 1, 44)
    assert last_tile(1, 0, 300) == Tile(1, 0, 1)
    with pytest.raises(TileError):
        last_tile(0, 2, 300)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=30))
def test_a_bundle_survives_being_written_and_read(entries):
    assert list(parse_bundle(encode_bundle(entries), len(entries))) == entries


def test_entries_of_any_allowed_length_fit_and_no_longer_ones():
    assert parse_bundle(encode_bundle([b"x" * 65_535, b""]), 2) == (b"x" * 65_535, b"")
    with pytest.raises(TileError):
        encode_bundle([b"x" * 65_536])


@pytest.mark.parametrize(
    ("raw", "width"),
    [(b"", 1), (b"\0", 1), (b"\0\1", 1), (b"\0\1ab", 1), (b"\0\1a", 2), (b"\0\1a\0\1b", 1)],
)
def test_a_malformed_bundle_is_refused(raw, width):
    with pytest.raises(TileError):
        parse_bundle(raw, width)


def test_hashes_survive_being_written_and_read():
    hashes = (b"a" * 32, b"b" * 32)
    assert parse_hashes(encode_hashes(hashes), 2) == hashes
    for raw, width in ((b"a" * 63, 2), (b"a" * 64, 1), (b"", 1)):
        with pytest.raises(TileError):
            parse_hashes(raw, width)
