"""The campaign of failing model servers in small: nothing is left, and every answer is proper."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "campaigns"))

import upstream_faults


def test_random_faults_and_cancelled_streams_leave_nothing() -> None:
    report = upstream_faults.run("engine", requests=1200, cancelled=300, askers=16, seed=3)
    assert report.findings == []
    assert sum(report.outcomes.values()) == 1500
    assert {"whole", "cancelled", "502"} <= set(report.outcomes)
