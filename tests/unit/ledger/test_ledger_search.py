"""Searching the ledger: what is found, in which order, and how little is read for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.errors import Invalid
from casemate.ledger.receipt import canonical
from casemate.ledger.search import BLOCK, Found, Period, Query, search

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: int) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Entries:
    """A log in memory that counts what is read of it."""

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        self._raw = [canonical(one) for one in entries]
        self.read: set[int] = set()

    @property
    def size(self) -> int:
        return len(self._raw)

    def entries(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        for index in range(start, len(self._raw)):
            self.read.add(index)
            yield index, self._raw[index]


def timed(*seconds: int) -> Entries:
    return Entries([{"v": 1, "kind": "x.y", "time": at(one)} for one in seconds])


def indices(pieces: Iterator[list[Found]]) -> list[int]:
    return [one.index for piece in pieces for one in piece]


def found(
    log: Entries, query: Query | None = None, since: Any = None, until: Any = None, **how: Any
) -> list[int]:
    return indices(search(log, query or Query(), Period.parse(since, until), **how))


RUN = {
    "kind": "run.finished",
    "principal": "pasker",
    "use_case": "documents",
    "model": {"id": "quote", "digest": "sha256:aa"},
    "policy": {"decision": "allow", "deciding": ["users-ask"], "digest": "sha256:bb"},
    "run": "r_1",
    "outcome": "answered",
    "label": "lu:unclassified",
}
REFUSED = {
    "kind": "refused",
    "actor": "pother",
    "action": "ask",
    "resource": "UseCase:secret",
    "policies": ["nobody-asks"],
    "policy_set": "sha256:bb",
}
APPROVED = {"kind": "model.approved", "actor": "padmin", "model": "nano", "manifest": "sha256:cc"}
REVIEWED = {"kind": "run.reviewed", "actor": "pauditor", "run": "r_1", "decision": "rejected"}
CHANGED = {"kind": "principal.changed", "actor": "padmin", "subject": "pasker"}
ALL = (RUN, REFUSED, APPROVED, REVIEWED, CHANGED)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"kind": "run.finished"}, [0]),
        ({"kind": "run"}, [0, 3]),
        ({"kind": "ru"}, []),
        ({"principal": "pasker"}, [0, 4]),
        ({"principal": "padmin"}, [2, 4]),
        ({"use_case": "documents"}, [0]),
        ({"use_case": "secret"}, [1]),
        ({"model": "quote"}, [0]),
        ({"model": "sha256:aa"}, [0]),
        ({"model": "nano"}, [2]),
        ({"model": "sha256:cc"}, [2]),
        ({"decision": "allow"}, [0]),
        ({"decision": "users-ask"}, [0]),
        ({"decision": "refuse"}, [1]),
        ({"decision": "nobody-asks"}, [1]),
        ({"decision": "rejected"}, [3]),
        ({"run": "r_1"}, [0, 3]),
        ({"outcome": "answered"}, [0]),
        ({"outcome": "failed"}, []),
        ({"label": "lu:unclassified"}, [0]),
        ({"kind": "run", "principal": "pauditor"}, [3]),
        ({"kind": "run", "principal": "padmin"}, []),
    ],
)
def test_an_entry_is_found_by_what_it_says(asked: dict[str, str], expected: list[int]) -> None:
    log = Entries([{"v": 1, "time": at(0), **one} for one in ALL])
    assert found(log, Query(**asked)) == expected


# Time


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("2026-01-02", None, ("2026-01-02T00:00:00Z", None)),
        (None, "2026-01-02", (None, "2026-01-02T23:59:59Z")),
        ("2026-01-02T03:04", None, ("2026-01-02T03:04:00Z", None)),
        ("2026-01-02T03:04:05+02:00", None, ("2026-01-02T01:04:05Z", None)),
        ("2026-01-02T03:04:05.1Z", None, ("2026-01-02T03:04:06Z", None)),
        (None, "2026-01-02T03:04:05.9Z", (None, "2026-01-02T03:04:05Z")),
        ("0001-01-01", "9999-12-31", ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z")),
        ("2026-01-02", "2026-01-02", ("2026-01-02T00:00:00Z", "2026-01-02T23:59:59Z")),
    ],
)
def test_a_day_is_meant_whole_and_a_time_without_zone_is_utc(
    since: str | None, until: str | None, expected: tuple[str | None, str | None]
) -> None:
    period = Period.parse(since, until)
    assert (period.since, period.until) == expected


@pytest.mark.parametrize(
    "wrong", ["", "yesterday", "2026-13-01", "2026-02-30", "12:00", "0001-01-01T00:00+23:00", "٣"]
)
def test_what_is_no_date_is_said_to_be_none(wrong: str) -> None:
    for bounds in ((wrong, None), (None, wrong)):
        with pytest.raises(Invalid, match="neither a date nor a time"):
            Period.parse(*bounds)


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(Invalid, match="ends before it begins"):
        Period.parse("2026-01-02", "2026-01-01")


@given(
    gaps=st.lists(st.integers(0, 500), min_size=1, max_size=3 * BLOCK),
    low=st.integers(-100, 80_000),
    length=st.integers(0, 40_000),
    sides=st.sampled_from([(True, True), (True, False), (False, True)]),
)
def test_a_period_found_by_halving_holds_what_reading_everything_finds(
    gaps: list[int], low: int, length: int, sides: tuple[bool, bool]
) -> None:
    seconds, now = [], 0
    for gap in gaps:
        seconds.append(now := now + gap)
    bounds = (at(low) if sides[0] else None, at(low + length) if sides[1] else None)
    expected = [
        index
        for index, one in enumerate(seconds)
        if (not sides[0] or low <= one) and (not sides[1] or one <= low + length)
    ]
    assert found(timed(*seconds), None, *bounds) == expected


@given(
    jitter=st.lists(st.integers(0, 599), min_size=2, max_size=4 * BLOCK),
    low=st.integers(0, 2_000),
)
def test_times_that_are_out_of_order_by_less_than_the_margin_lose_nothing(
    jitter: list[int], low: int
) -> None:
    seconds = [5 * place + late for place, late in enumerate(jitter)]
    expected = [index for index, one in enumerate(seconds) if low <= one <= low + 100]
    assert found(timed(*seconds), None, at(low), at(low + 100)) == expected


def test_of_a_long_log_only_the_period_is_read() -> None:
    log = timed(*range(0, 100 * BLOCK * 60, 60))  # an entry a minute
    middle = 50 * BLOCK * 60
    assert found(log, None, at(middle), at(middle + 600)) == list(
        range(50 * BLOCK, 50 * BLOCK + 11)
    )
    assert len(log.read) < 4 * BLOCK


def test_a_clock_that_was_set_back_makes_everything_be_read() -> None:
    year = 365 * 86_400
    wrong = [year] * (60 * BLOCK)  # a year ahead, until somebody noticed
    log = timed(*range(40 * BLOCK), *wrong, *range(40 * BLOCK, 80 * BLOCK))
    expected = list(range(10, 20))
    assert found(log, None, at(10), at(19)) == expected
    late = list(range(110 * BLOCK, 110 * BLOCK + 5))
    assert found(log, None, at(50 * BLOCK), at(50 * BLOCK + 4)) == late


def test_thorough_reads_every_entry() -> None:
    log = timed(*range(0, 20 * BLOCK * 60, 60))
    assert found(log, None, at(0), at(59), thorough=True) == [0]
    assert len(log.read) == log.size


def test_an_entry_without_a_time_lies_in_no_period_but_is_found_without_one() -> None:
    log = Entries([{"v": 1, "kind": "a.b"}, {"v": 1, "kind": "a.b", "time": at(0)}])
    assert found(log) == [0, 1]
    assert found(log, None, "2025-01-01") == [1]


# Order, limit, and going on


def test_a_limit_gives_the_newest_with_the_newest_last() -> None:
    log = timed(*range(3 * BLOCK))
    assert found(log, limit=3) == [3 * BLOCK - 3, 3 * BLOCK - 2, 3 * BLOCK - 1]
    assert len(log.read) <= BLOCK


def test_a_limit_reaches_back_over_blocks_until_there_are_enough() -> None:
    kinds = ["rare.one" if one % 200 == 0 else "x.y" for one in range(4 * BLOCK)]
    log = Entries([{"v": 1, "kind": kind, "time": at(0)} for kind in kinds])
    assert found(log, Query(kind="rare"), limit=4) == [400, 600, 800, 1000]
    assert found(log, Query(kind="rare"), limit=99) == [0, 200, 400, 600, 800, 1000]
    assert found(log, Query(kind="none"), limit=1) == []


def test_a_limit_holds_within_a_period() -> None:
    log = timed(*range(0, 10 * BLOCK * 60, 60))
    until = at(5 * BLOCK * 60)
    assert found(log, None, None, until, limit=2) == [5 * BLOCK - 1, 5 * BLOCK]


@given(start=st.integers(0, 3 * BLOCK + 5))
def test_a_search_goes_on_at_an_index(start: int) -> None:
    assert found(timed(*range(3 * BLOCK)), start=start) == list(range(start, 3 * BLOCK))


def test_no_piece_holds_more_than_a_block() -> None:
    pieces = search(timed(*range(5 * BLOCK + 7)), Query(), Period())
    assert [len(piece) for piece in pieces] == [*[BLOCK] * 5, 7]


def test_an_empty_log_holds_nothing() -> None:
    for how in ({}, {"limit": 5}, {"thorough": True}):
        assert found(timed(), None, "2026-01-01", **how) == []


def test_an_entry_that_is_not_json_is_named() -> None:
    log = timed(1, 2)
    log._raw[1] = b"nonsense"
    with pytest.raises(Invalid, match="Entry 1 is not JSON"):
        found(log)
