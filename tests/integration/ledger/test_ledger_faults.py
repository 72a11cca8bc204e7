"""kill -9 and failing system calls while the ledger writes: a few rounds of the campaign."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3] / "campaigns"))

import ledger_faults

from casemate.ledger.log import Log


def test_nothing_released_is_missing_after_kills_under_load(tmp_path: Path) -> None:
    rounds = [ledger_faults.kill_round(tmp_path / "log", f"tests/{one}") for one in range(6)]
    assert [problem for one in rounds for problem in one.problems] == []
    assert sum(one.released for one in rounds) > 0


@pytest.mark.parametrize("failure", ledger_faults.FAILURES)
@pytest.mark.parametrize("call", ledger_faults.CALLS)
def test_nothing_released_is_missing_after_a_system_call_failed(
    tmp_path: Path, call: str, failure: str
) -> None:
    if shutil.which("strace") is None:
        assert not os.environ.get("REQUIRE_PEERS"), "strace is not installed"
        pytest.skip("strace, which makes system calls fail, is not installed")
    found = ledger_faults.fault_round(
        tmp_path / "log", call, failure, 3 if call == "unlink" else 12, "tests"
    )
    assert found.problems == []
    assert found.released or found.refused or failure == "signal=KILL"


def test_these_tests_see_what_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with Log.open(folder, ledger_faults.SIGNER) as log:
        log.append(b"one").result()
        old = log.checkpoint()
        log.append(b"two").result()
        checkpoint = log.checkpoint()
    seen = ledger_faults.Seen({0: "0" * 64, 9: "0" * 64}, [checkpoint])
    (folder / "checkpoint").write_bytes(old)
    problems = ledger_faults.look(folder, seen).problems
    assert any("entry 0 is not what was released" in one for one in problems)
    assert any("entry 9 was released and is gone" in one for one in problems)
    assert any("of a fork" in one for one in problems)
