"""Programs that we did not write, from Debian's packages."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str) -> str:
    """Where it is. Where it is not the test is skipped, or fails with REQUIRE_PEERS=1."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("REQUIRE_PEERS") == "1":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found
