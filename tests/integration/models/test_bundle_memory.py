"""A bundle may be larger than the memory of who reads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bundle_builders import keys
from house_builders import House

from casemate.models.bundle.writing import Source

SIZE = 300 << 20
ROOM = 128 << 20  # bytes of address space beyond what the program itself takes
PROGRAM = """
import resource, sys
from pathlib import Path
from casemate.models.bundle.arrival import members
from casemate.models.bundle.reading import Reader

def taken():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

with open(sys.argv[1], "rb") as stream:
    reader = Reader(stream)
    manifest = reader.seal().open()
    limit = taken() + int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    *steps, found = members(reader, manifest, Path(sys.argv[2]))
print(len(found), found[0].place.stat().st_size)
"""


@pytest.fixture
def large(house: House, tmp_path: Path) -> Path:
    piece = bytes(range(256)) * 4096
    source = Source(
        "adapters/large.safetensors",
        "adapter",
        house.label("unclassified"),
        "",
        lambda: iter([piece] * (SIZE // len(piece))),
    )
    out = tmp_path / "large.bundle"
    for _ in house.installation.bundles.make(
        house.owner, out, [source], sequence=1, keys=keys(tmp_path), note="", boms={}
    ):
        pass
    return out


def test_a_bundle_of_300_mebibytes_is_read_with_less_than_half_of_that(
    large: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "quarantine"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, large, folder, str(ROOM)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", str(SIZE)]
