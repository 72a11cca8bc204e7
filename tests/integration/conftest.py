"""What any of these tests may ask for: an opened installation, and a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from house_builders import House, a_house
from moto_bucket import Bucket, a_bucket


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    with a_bucket() as made:
        yield made
