"""A house for each test: an installation in a folder of its own, opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from house_builders import House, a_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path / "data") as opened:
        yield opened
