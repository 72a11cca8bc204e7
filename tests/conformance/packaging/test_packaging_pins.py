"""Everything that is installed is pinned by hash, names no address, and is as light as promised."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[3]
FILES = ("base", "llama", "build", "dev", "peers", "peers-llamaindex")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_PIN = re.compile(
    r"^([a-z0-9.-]+)==(\S+)(?: ; [^\\]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)


def text(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


def pins(name: str) -> dict[str, Version]:
    return {found[1]: Version(found[2]) for found in _PIN.finditer(text(name))}


@pytest.mark.parametrize("name", FILES)
def test_every_line_is_part_of_a_pin_with_hashes(name: str) -> None:
    rest = [line for line in _PIN.sub("", text(name)).splitlines() if not line.startswith("#")]
    assert not rest
    assert pins(name)


@pytest.mark.parametrize("name", FILES)
def test_no_address_is_named(name: str) -> None:
    assert "://" not in text(name)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("base", PROJECT["project"]["dependencies"]),
        ("build", PROJECT["build-system"]["requires"]),
        ("build", PROJECT["dependency-groups"]["build"]),
        ("llama", PROJECT["project"]["optional-dependencies"]["llama"]),
        ("peers", PROJECT["dependency-groups"]["peers"]),
        ("peers-llamaindex", PROJECT["dependency-groups"]["peers-llamaindex"]),
        ("dev", [one for one in PROJECT["dependency-groups"]["dev"] if isinstance(one, str)]),
    ],
)
def test_what_the_project_states_is_pinned(name: str, wanted: list[str]) -> None:
    held = pins(name)
    for line in wanted:
        requirement = Requirement(line)
        if requirement.name == "casemate":  # an extra of our own, pinned in its own file
            continue
        assert requirement.specifier.contains(held[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("name", ["base", "llama", "build"])
def test_dev_holds_the_same_releases(name: str) -> None:
    assert pins(name).items() <= pins("dev").items()


@pytest.mark.parametrize("heavy", ["torch", "pyarrow", "numpy", "pandas", "transformers"])
def test_the_base_install_is_light(heavy: str) -> None:
    assert heavy not in pins("base")
