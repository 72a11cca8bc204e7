"""kill -9 at random moments: six rounds of the campaign, at shares of a command's own progress."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3] / "campaigns"))

import kill


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[kill.Measure, kill.Measure]:
    return kill.undisturbed(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("number", range(6))
def test_nothing_is_lost_when_a_process_is_killed(
    tmp_path: Path, whole: tuple[kill.Measure, kill.Measure], number: int
) -> None:
    found = kill.one_round(tmp_path, f"tests/{number}", ("disk", "output"), *whole)
    assert found.lost == []
    assert found.orphans == 0


def test_the_check_of_these_tests_sees_what_is_lost(tmp_path: Path) -> None:
    kill.undisturbed(tmp_path)
    data, new = tmp_path / "data", kill.papers(tmp_path / "papers", 2026)
    assert kill.check(data, new, new, whole=True).lost == []
    import sqlite3

    with sqlite3.connect(data / "casemate.sqlite") as connection:
        connection.execute("DELETE FROM passages WHERE id = 3")
    connection.close()
    assert any("passages are not all there" in one for one in kill.check(data, new, new).lost)
    told = "Recorded as entry 1 of somewhere"
    assert "an answer was called recorded and is not" in kill.check(data, new, new, told).lost
