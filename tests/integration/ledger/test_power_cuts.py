"""Power cuts under a writing ledger, whatever they leave: a few rounds of the campaign."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3] / "campaigns"))

import power_cuts

from casemate.ledger import durable, journal


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("faulty", [False, True], ids=["as it should", "with calls that fail"])
def test_nothing_released_is_missing_after_the_power_was_cut(scratch: Path, faulty: bool) -> None:
    found = power_cuts.power_round(scratch, "tests", faulty=faulty, points=4)
    assert found.problems == []
    assert found.states >= 8
    assert bool(found.failed) == faulty


def test_these_tests_see_a_journal_that_is_not_synced(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NeverSynced(journal.Journal):
        def append(self, record: bytes) -> None:
            os.pwrite(self._descriptor, record, self._end)
            self._end += len(record)

    monkeypatch.setattr("casemate.ledger.journal_shelf.Journal", NeverSynced)
    found = power_cuts.power_round(scratch, "tests", faulty=False, points=4)
    assert any("was released and is gone" in one for one in found.problems)


def test_these_tests_see_a_folder_that_is_not_synced(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "sync_folder", lambda path: None)
    found = power_cuts.power_round(scratch, "tests", faulty=False, points=4)
    assert any("is missing from the ledger" in one for one in found.problems)
