"""Searching the ledger: which entries, of which time, read in a stream.

The times of entries rise, but for what waited its turn, and for a clock that was set back. So a
bound of time is found by halving, with a margin; where the entries that are looked at contradict
each other, or whoever asks wants it thorough, every entry is read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any, Protocol

import msgspec

from casemate.errors import Invalid

BLOCK = 256  # entries that lie together on disk: read at once, and the piece that results come in
MARGIN = timedelta(minutes=10)  # how far an entry's time may lie behind an earlier entry's
_STAMP = "%Y-%m-%dT%H:%M:%SZ"
_NEXT = "Write a date such as 2026-01-31, or a time such as 2026-01-31T12:00:00Z."


class Entries(Protocol):
    """What a search needs of a log."""

    @property
    def size(self) -> int:
        """How many entries there are."""

    def entries(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """The entries from ``start`` on, each with its index."""


@dataclass(frozen=True)
class Found:
    """One entry: its index, its exact bytes, and what they say."""

    index: int
    raw: bytes
    entry: dict[str, Any]


@dataclass(frozen=True)
class Period:
    """From ``since`` to ``until``, both within it, as entries write times; None: without bound."""

    since: str | None = None
    until: str | None = None

    @classmethod
    def parse(cls, since: str | None, until: str | None) -> Period:
        """Read two ISO 8601 dates or times; a day is meant whole, a time without zone is UTC.

        Raises Invalid if one cannot be understood, or nothing lies between them.
        """
        start = None if since is None else _first(since)
        end = None if until is None else _last(until)
        if start is not None and end is not None and start > end:
            raise Invalid("The period ends before it begins.", "Exchange the two times.")
        return cls(start, end)

    @property
    def bounded(self) -> bool:
        """Whether there is a bound at all."""
        return self.since is not None or self.until is not None

    def holds(self, time: object) -> bool:
        """Whether an entry of this time lies within it."""
        if not self.bounded:
            return True
        if not isinstance(time, str):
            return False
        return (self.since or "") <= time and (self.until is None or time <= self.until)


@dataclass(frozen=True)
class Query:
    """What an entry has to say to be found; None asks nothing.

    kind: a whole kind, or its first word ("run"). principal: a pseudonym, of who acted, who asked
    or whom it is about. model: an id or a digest. decision: "allow", "refuse", a decision of a
    review, or the id of a deciding policy.
    """

    kind: str | None = None
    principal: str | None = None
    use_case: str | None = None
    model: str | None = None
    decision: str | None = None
    run: str | None = None
    outcome: str | None = None
    label: str | None = None

    def fits(self, entry: dict[str, Any]) -> bool:
        """Whether ``entry`` says all of it."""
        kind = str(entry.get("kind"))
        return (
            (self.kind is None or kind == self.kind or kind.startswith(f"{self.kind}."))
            and (self.run is None or entry.get("run") == self.run)
            and (self.outcome is None or entry.get("outcome") == self.outcome)
            and (self.label is None or entry.get("label") == self.label)
            and (self.principal is None or self.principal in _people(entry))
            and (self.use_case is None or self.use_case in _use_cases(entry))
            and (self.model is None or self.model in _models(entry))
            and (self.decision is None or self.decision in decisions(entry))
        )


def search(
    log: Entries,
    query: Query,
    period: Period,
    *,
    limit: int | None = None,
    start: int = 0,
    thorough: bool = False,
) -> Iterator[list[Found]]:
    """The entries from index ``start`` on that fit, oldest first, in pieces; a piece may be empty.

    A piece is what was found in one block of entries, so that whoever waits can stop in between;
    of a log of any size no more is held in memory. ``limit``: the newest so many, at once.
    ``thorough``: read every entry instead of looking for the period. Raises Tampered if a bundle
    is damaged; Invalid if an entry is not JSON.
    """
    first, end = (0, log.size) if thorough else _between(log, period)
    first = max(first, start)
    blocks = range(first // BLOCK, -(-end // BLOCK))
    if limit is not None:
        yield from _newest(log, query, period, blocks, (first, end), limit)
        return
    for number in blocks:
        yield list(_fitting(log, query, period, number, first, end))


def decisions(entry: dict[str, Any]) -> set[str]:
    """What was decided in an entry, and by which policies."""
    found = {str(entry["decision"])} if "decision" in entry else set()
    policy = entry.get("policy")
    if isinstance(policy, dict):
        found |= {str(policy.get("decision")), *_named(policy.get("deciding"))}
    if entry.get("kind") == "refused":
        found |= {"refuse", *_named(entry.get("policies"))}
    return found


def _named(policies: object) -> list[str]:
    return list(map(str, policies)) if isinstance(policies, list) else []


def decode(index: int, raw: bytes) -> Found:
    """An entry with what it says. Raises Invalid if it is not a JSON object."""
    try:
        return Found(index, raw, msgspec.json.decode(raw, type=dict[str, Any]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Invalid(f"Entry {index:,} is not JSON.", "Run `casemate ledger check`.") from None


def _newest(
    log: Entries,
    query: Query,
    period: Period,
    blocks: range,
    bounds: tuple[int, int],
    limit: int,
) -> Iterator[list[Found]]:
    """Backward, block by block, until there are enough; then the newest last."""
    kept: list[list[Found]] = []
    missing = limit
    for number in reversed(blocks):
        found = list(_fitting(log, query, period, number, *bounds))[-missing:]
        kept.append(found)
        missing -= len(found)
        if missing <= 0:
            break
        yield []
    yield [one for found in reversed(kept) for one in found]


def _fitting(
    log: Entries, query: Query, period: Period, number: int, first: int, end: int
) -> Iterator[Found]:
    low, high = max(first, number * BLOCK), min(end, (number + 1) * BLOCK)
    for index, raw in islice(log.entries(low), max(0, high - low)):
        found = decode(index, raw)
        if period.holds(found.entry.get("time")) and query.fits(found.entry):
            yield found


def _between(log: Entries, period: Period) -> tuple[int, int]:
    """Indices that the period certainly lies between, with the margin; all, where times err."""
    size = log.size
    if not period.bounded or not size:
        return 0, size
    blocks = _Blocks(log, -(-size // BLOCK))
    low, high = 0, len(blocks)
    if period.since is not None:
        # one block earlier: the bound may lie within it, behind its first entry
        low = max(0, bisect_left(blocks, _moved(period.since, -MARGIN)) - 1)
    if period.until is not None:
        high = bisect_left(blocks, _moved(period.until, MARGIN) + "~")
    if not blocks.agree:
        return 0, size
    return low * BLOCK, min(size, high * BLOCK)


class _Blocks:
    """The time of the first entry of each block, as a list that can be halved."""

    def __init__(self, log: Entries, count: int) -> None:
        self._log = log
        self._count = count
        self._seen: dict[int, str | None] = {0: None, count - 1: None}
        for number in tuple(self._seen):
            self._seen[number] = self._time(number)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> str:
        if number not in self._seen:
            self._seen[number] = self._time(number)
        return self._seen[number] or ""

    @property
    def agree(self) -> bool:
        """Whether the times that were looked at rise, but for the margin, and all can be read."""
        latest = ""
        for _, time in sorted(self._seen.items()):
            if time is None or (latest and time < _moved(latest, -MARGIN)):
                return False
            latest = max(latest, time)
        return True

    def _time(self, number: int) -> str | None:
        index, raw = next(self._log.entries(number * BLOCK))
        time = decode(index, raw).entry.get("time")
        try:
            return datetime.strptime(str(time), _STAMP).strftime(_STAMP)
        except ValueError:
            return None


def _moved(stamp: str, by: timedelta) -> str:
    try:
        return _stamp(datetime.strptime(stamp, _STAMP) + by)
    except OverflowError:  # at the ends of what a date can be there is nothing to add
        return stamp


def _first(text: str) -> str:
    moment = _moment(text)
    stamp = _stamp(moment)
    # Entries have whole seconds: the first one that is not earlier.
    return _moved(stamp, timedelta(seconds=1)) if moment.microsecond else stamp


def _last(text: str) -> str:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return _stamp(_moment(text))
    return f"{day.isoformat()}T23:59:59Z"


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(f"“{text[:40]}” is neither a date nor a time.", _NEXT) from None


def _stamp(moment: datetime) -> str:
    # Not strftime: it writes the year 1 without its zeros.
    return moment.replace(tzinfo=None, microsecond=0).isoformat() + "Z"


def _people(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry.get("principal"), entry.get("actor"), entry.get("subject")


def _use_cases(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry.get("use_case"), _resource(entry, "UseCase:")


def _models(entry: dict[str, Any]) -> tuple[Any, ...]:
    model = entry.get("model")
    named = (model.get("id"), model.get("digest")) if isinstance(model, dict) else (model,)
    return *named, entry.get("manifest"), _resource(entry, "Model:")


def _resource(entry: dict[str, Any], kind: str) -> str | None:
    resource = entry.get("resource")
    if isinstance(resource, str) and resource.startswith(kind):
        return resource.removeprefix(kind)
    return None
