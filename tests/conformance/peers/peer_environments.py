"""Environments of clients that others wrote, each with what one file of pins holds.

Their needs and ours have nothing to do with each other, and not even theirs agree. An environment
is made where REQUIRE_CLIENTS=1 asks for it, and again when its pins change.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PLACE = Path(os.environ.get("PEERS_VENV", ROOT / ".venv-peers"))


def programs_of(name: str) -> Path:
    """The folder of programs of the environment that requirements/``name``.txt pins."""
    venv = PLACE.with_name(PLACE.name + name.removeprefix("peers"))
    python = venv / "bin" / "python"
    pins = ROOT / "requirements" / f"{name}.txt"
    made = venv / "made"  # of which pins; written last
    if not made.exists() or made.read_bytes() != pins.read_bytes():
        if os.environ.get("REQUIRE_CLIENTS") != "1":
            pytest.skip(
                f"needs others' clients: REQUIRE_CLIENTS=1 installs requirements/{name}.txt"
            )
        shutil.rmtree(venv, ignore_errors=True)
        if uv := shutil.which("uv"):
            subprocess.run([uv, "venv", "--quiet", "--no-project", venv], check=True)
            install = [uv, "pip", "install", "--quiet", "--python", python]
        else:
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            install = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, "--require-hashes", "-r", pins], check=True)
        made.write_bytes(pins.read_bytes())
    return venv / "bin"


def folder_of_npm(name: str, *packages: str) -> Path:
    """A folder with packages for Node, each with its release; their programs are below it."""
    folder = PLACE.with_name(f"{PLACE.name}-{name}")
    made = folder / "made"
    wanted = "\n".join(packages)
    if not made.exists() or made.read_text() != wanted:
        if os.environ.get("REQUIRE_CLIENTS") != "1":
            pytest.skip(f"needs others' clients: REQUIRE_CLIENTS=1 installs {packages[0]}")
        if shutil.which("npm") is None:
            pytest.fail("npm is missing: apt-get install npm")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        npm = ["npm", "install", "--silent", "--no-audit", "--prefix", folder]
        subprocess.run([*npm, *packages], check=True)
        made.write_text(wanted)
    return folder
