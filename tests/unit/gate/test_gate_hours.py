from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.errors import Invalid, Unavailable
from casemate.gate.hours import DAYS, Hours, Span

ZONE = "Europe/Luxembourg"
OFFICE = Hours.parse("mon-fri 08:00-18:00", ZONE)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("mon-fri 08:00-18:00", "mon-fri 08:00-18:00 Europe/Luxembourg"),
        ("sat 09:00-12:00 ; mon 08:00-24:00", "mon 08:00-24:00; sat 09:00-12:00 Europe/Luxembourg"),
        ("mon,wed 08:00-12:00 UTC", "mon,wed 08:00-12:00 UTC"),
        ("sat-mon 22:00-06:00", "mon,sat-sun 22:00-06:00 Europe/Luxembourg"),
        ("mon 08:00-09:00; mon 08:00-09:00", "mon 08:00-09:00 Europe/Luxembourg"),
    ],
)
def test_hours_are_read_and_written_in_one_form(text: str, canonical: str) -> None:
    assert str(Hours.parse(text, ZONE)) == canonical
    assert str(Hours.parse(canonical, "UTC")) == canonical


@pytest.mark.parametrize(
    "text",
    ["", "always", "mon 8:00-18:00", "mon 08:00", "mon 24:00-25:00", "mon 08:60-09:00",
     "moon 08:00-18:00", "mon-fry 08:00-18:00", "mon 08:00-08:00", "mon 08:00-18:00;",
     "mon 08:00-18:00 Europe/Nowhere", "mon 08:00-18:00 ../etc/passwd", "mon, 08:00-18:00"],
)  # fmt: skip
def test_what_are_no_hours_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Hours.parse(text, ZONE)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-03-02T06:59:59", False),  # Monday, in winter one hour ahead of UTC
        ("2026-03-02T07:00:00", True),
        ("2026-03-02T16:59:59", True),
        ("2026-03-02T17:00:00", False),
        ("2026-03-30T06:00:00", True),  # Monday, the day after summer time began
        ("2026-03-30T16:00:00", False),
        ("2026-03-07T10:00:00", False),  # Saturday
    ],
)
def test_hours_are_those_of_the_clock_on_the_wall(moment: str, is_open: bool) -> None:
    assert OFFICE.open_at(at(moment)) is is_open


def test_a_span_past_midnight_goes_on_into_the_next_day() -> None:
    night = Hours.parse("sun 22:00-06:00", "UTC")
    shown = {text: night.open_at(at(text)) for text in (
        "2026-03-01T21:59:00", "2026-03-01T22:00:00", "2026-03-02T05:59:00", "2026-03-02T06:00:00"
    )}  # fmt: skip
    assert list(shown.values()) == [False, True, True, False]


def test_the_next_opening_skips_the_weekend_and_is_told_in_local_time() -> None:
    friday_evening = at("2026-03-06T18:00:00")
    assert OFFICE.next_opening(friday_evening).isoformat() == "2026-03-09T08:00:00+01:00"


spans = st.builds(Span, st.integers(0, 6), st.integers(0, 1439), st.integers(0, 1440)).filter(
    lambda span: span.begin != span.end
)
weeks = st.builds(
    Hours,
    st.sets(spans, min_size=1, max_size=5).map(lambda found: tuple(sorted(found))),
    st.sampled_from([ZONE, "UTC", "America/St_Johns"]),
)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))


@given(weeks)
def test_whatever_the_hours_their_text_means_the_same(hours: Hours) -> None:
    assert Hours.parse(str(hours), "Asia/Tokyo") == hours


@given(weeks, moments)
def test_it_is_open_at_its_next_opening_and_that_lies_within_a_week(
    hours: Hours, moment: datetime
) -> None:
    opens = hours.next_opening(moment)
    assert moment < opens <= moment + timedelta(days=8)
    # An hour that the change to summer time leaves out does not exist on the wall.
    exists = opens.astimezone(UTC).astimezone(opens.tzinfo).time() == opens.time()
    assert not exists or hours.open_at(opens)


def test_a_machine_without_time_zone_data_says_so() -> None:
    with pytest.raises(Unavailable, match="tzdata"):
        Hours((Span(0, 0, 1440),), "Europe/Nowhere").open_at(at("2026-03-02T08:00:00"))


def test_every_day_has_a_name_once() -> None:
    assert len(set(DAYS)) == 7
