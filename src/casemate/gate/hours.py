"""Opening hours: when a use case may be used, in the local time of its place.

Text form, canonical: ``mon-fri 07:30-19:00; sat 09:00-12:00 Europe/Luxembourg``. Days are three
letters, one, a range or a list; a span that ends before it begins goes on past midnight. The time
zone is an IANA name, whose rules (summer time too) come from the machine's own data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo

from casemate.errors import Invalid, Unavailable

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60  # minutes
_MOST = 32  # spans
_SPAN = re.compile(r"([a-z,-]+) (\d\d):(\d\d)-(\d\d):(\d\d)")
_ZONE = re.compile(r"[A-Z][A-Za-z_]+(?:/[A-Z][A-Za-z0-9_+-]+)*")
_FORM = (
    "Write, for instance, “mon-fri 08:00-18:00; sat 09:00-12:00”, and a time zone if it differs."
)


@dataclass(frozen=True, order=True)
class Span:
    """From one minute to another on one day (0: Monday); past midnight if it ends before it."""

    day: int
    begin: int  # minutes since midnight
    end: int  # up to 24:00


@dataclass(frozen=True)
class Hours:
    """When something is open: spans of a week, and where the clock hangs."""

    spans: tuple[Span, ...]
    zone: str

    @classmethod
    def parse(cls, text: str, zone: str) -> Self:
        """The hours that ``text`` spells; ``zone`` is used where it names none.

        Raises Invalid naming the part that is wrong, also for a time zone that this machine does
        not know.
        """
        parts = [part.strip() for part in text.strip().split(";")]
        last, _, named = parts[-1].rpartition(" ")
        if _ZONE.fullmatch(named):
            parts[-1], zone = last.strip(), named
        spans: set[Span] = set()
        for part in parts:
            spans.update(_spans(part))
        if len(spans) > _MOST:
            raise Invalid(f"Opening hours have more than {_MOST} spans.", "Give fewer.")
        try:
            ZoneInfo(zone)
        except (KeyError, OSError, ValueError):  # zoneinfo raises each of them
            raise Invalid(
                f"There is no time zone {zone[:40]!r} here.",
                "Give an IANA name, for instance Europe/Luxembourg.",
            ) from None
        return cls(tuple(sorted(spans)), zone)

    def __str__(self) -> str:
        times: dict[tuple[int, int], list[int]] = {}
        for span in self.spans:
            times.setdefault((span.begin, span.end), []).append(span.day)
        shown = [
            f"{_days(days)} {_time(begin)}-{_time(end)}" for (begin, end), days in times.items()
        ]
        return f"{'; '.join(shown)} {self.zone}"

    def open_at(self, moment: datetime) -> bool:
        """Whether it is open at ``moment``. Raises Unavailable without time zone data."""
        local = moment.astimezone(self._zone())
        minute, today = local.hour * 60 + local.minute, local.weekday()
        for span in self.spans:
            past_midnight = span.end <= span.begin
            if span.day == today and span.begin <= minute < (_DAY if past_midnight else span.end):
                return True
            if past_midnight and (span.day + 1) % 7 == today and minute < span.end:
                return True
        return False

    def next_opening(self, moment: datetime) -> datetime:
        """The first moment after ``moment`` at which a span begins, in local time."""
        zone = self._zone()
        local = moment.astimezone(zone)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        begins = (
            (midnight + timedelta(days=ahead, minutes=span.begin)).replace(tzinfo=zone)
            for ahead in range(8)
            for span in self.spans
            if span.day == (local.weekday() + ahead) % 7
        )
        return min(begin for begin in begins if begin > local)

    def _zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.zone)
        except (KeyError, OSError, ValueError):  # zoneinfo raises each of them
            raise Unavailable(
                f"This machine has no data of time zone {self.zone}.",
                "Install time zone data (Debian: tzdata).",
            ) from None


def _spans(part: str) -> list[Span]:
    form = _SPAN.fullmatch(part)
    if form is None:
        raise Invalid(f"{part[:60]!r} are not opening hours.", _FORM)
    days, *numbers = form.groups()
    begin_hour, begin_minute, end_hour, end_minute = map(int, numbers)
    begin, end = begin_hour * 60 + begin_minute, end_hour * 60 + end_minute
    if max(begin_minute, end_minute) > 59 or begin >= _DAY or end > _DAY or begin == end:
        raise Invalid(f"{part[:60]!r} has no time from 00:00 to 24:00.", _FORM)
    return [Span(day, begin, end) for day in _named(days)]


def _named(days: str) -> list[int]:
    found: list[int] = []
    for piece in days.split(","):
        first, dash, last = piece.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise Invalid(f"{piece[:20]!r} is not a day.", f"Days: {', '.join(DAYS)}.")
        begin = DAYS.index(first)
        end = DAYS.index(last) if dash else begin
        found += [(begin + step) % 7 for step in range((end - begin) % 7 + 1)]
    return found


def _days(days: list[int]) -> str:
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and day == runs[-1][-1] + 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ",".join(
        DAYS[run[0]] if len(run) == 1 else f"{DAYS[run[0]]}-{DAYS[run[-1]]}" for run in runs
    )


def _time(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
