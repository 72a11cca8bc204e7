from __future__ import annotations

from pathlib import Path

import pytest
from house_builders import House
from model_builders import Maker, a_key


@pytest.fixture
def maker(house: House, tmp_path: Path) -> Maker:
    """Somebody whose signatures count in the house."""
    private, public = a_key(tmp_path / "keys")
    house.installation.models.signers.trust(house.owner, "maker", public.read_bytes())
    return Maker(private, public)
