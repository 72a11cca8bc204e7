"""What the security documents name as shown by a test or a file is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docs" / "security"
PAGES = sorted(FOLDER.glob("*.md"))
_SHOWN = re.compile(r"`([\w./-]+\.(?:py|md|toml|cedar|html))(?:::(\w+))?`")
_ROW = re.compile(r"^\| (\d+\.\d+\.\d+) \| ([12]) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$")


@cache
def names_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    )


def rows(name: str) -> list[str]:
    text = (FOLDER / name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [line for line in lines if not line.startswith(("| ---", "| number", "| threat"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_test_and_file_that_is_named_exists(page: Path) -> None:
    named = _SHOWN.findall(page.read_text(encoding="utf-8"))
    assert len(named) > 20
    missing = [
        f"{path}::{test}".removesuffix("::")
        for path, test in named
        if not (ROOT / path).is_file() or (test and test not in names_in(ROOT / path))
    ]
    assert not missing


def test_each_requirement_of_asvs_stands_once_with_what_shows_it() -> None:
    found = [_ROW.fullmatch(line) for line in rows("asvs.md")]
    assert all(found)
    whole = [row.groups() for row in found if row]
    numbers = [tuple(map(int, number.split("."))) for number, *_ in whole]
    assert numbers == sorted(set(numbers))
    for number, _, status, how, shown in whole:
        assert status in ("met", "partly", "**not met**", "n/a"), number
        assert how.strip().endswith("."), number
        assert status == "n/a" or _SHOWN.search(shown), number


def test_the_numbers_that_asvs_begins_with_are_those_of_its_rows() -> None:
    statuses = [line.split(" | ")[2] for line in rows("asvs.md")]
    text = (FOLDER / "asvs.md").read_text(encoding="utf-8")
    said = re.search(
        r"Of (\d+) requirements, (\d+) are met, (\d+) partly, (\d+) are not, and (\d+) do not", text
    )
    assert said
    counted = [statuses.count(one) for one in ("met", "partly", "**not met**", "n/a")]
    assert list(map(int, said.groups())) == [len(statuses), *counted]


def test_each_threat_has_what_stands_against_it_and_what_shows_that() -> None:
    found = [line.strip("| ").split(" | ") for line in rows("threat-model.md")]
    assert len(found) > 30
    for threat, kind, control, shown, left in found:
        assert kind in "STRIDE", threat
        assert control.strip(), threat
        assert _SHOWN.search(shown), threat
        assert left.strip(), threat


def test_what_closes_the_perimeter_is_shown_by_tests_that_exist() -> None:
    text = (ROOT / "docs" / "explanation" / "perimeter.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    assert len(named) >= 10
    there = set().union(*(names_in(path) for path in (ROOT / "tests").rglob("test_*.py")))
    assert not named - there
