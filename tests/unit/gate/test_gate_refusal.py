"""Refusals are counted and told, and however many they are they make no flood."""

from __future__ import annotations

from typing import Any

from casemate.errors import Unavailable
from casemate.gate.refusal import Refusal, Refusals, Telling

ABROAD = Refusal("TCP", "global", 443, "somelibrary")


class Acts:
    """Keeps what is recorded; ``full`` times it cannot."""

    def __init__(self, full: int = 0) -> None:
        self.entries: list[dict[str, Any]] = []
        self.full = full

    def record(self, kind: str, actor: None, **facts: Any) -> int:
        if self.full:
            self.full -= 1
            raise Unavailable("No room.")
        self.entries.append({"kind": kind, "actor": actor, **facts})
        return len(self.entries)


def told(acts: Acts, refusals: Refusals, attempts: int, refusal: Refusal = ABROAD) -> None:
    telling = Telling(acts, refusals, pause_seconds=3600)  # type: ignore[arg-type]
    for _ in range(attempts):
        refusals.count(refusal)
    telling.close()


def test_a_thousand_attempts_make_two_entries_at_most_and_none_is_lost() -> None:
    acts = Acts()
    told(acts, Refusals(), 1000)
    assert 1 <= len(acts.entries) <= 2
    assert sum(entry["attempts"] for entry in acts.entries) == 1000
    (kind, *_) = acts.entries[0]["kinds"]
    assert {**kind, "attempts": 0} == {
        "way": "TCP",
        "reach": "global",
        "port": 443,
        "by": "somelibrary",
        "attempts": 0,
    }


def test_without_an_attempt_nothing_is_recorded() -> None:
    acts = Acts()
    told(acts, Refusals(), 0)
    assert acts.entries == []


def test_an_entry_stays_small_whatever_is_attempted() -> None:
    refusals, acts = Refusals(), Acts()
    for port in range(10_000):
        refusals.count(Refusal("TCP", "global", port, "somelibrary"))
    told(acts, refusals, 0)
    (entry,) = acts.entries
    assert entry["attempts"] == 10_000
    assert len(entry["kinds"]) <= 33


def test_what_the_ledger_could_not_take_is_told_later() -> None:
    acts = Acts(full=1)
    refusals = Refusals()
    refusals.count(ABROAD)
    told(acts, refusals, 0)
    told(acts, refusals, 0)
    assert sum(entry["attempts"] for entry in acts.entries) == 1
