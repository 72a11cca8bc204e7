"""Budgets: what is used of limits, counted together by every process on one database.

A process takes a lease on a share of a budget and counts within it without asking anybody; what it
used it reports every few seconds, and draws more when the lease is used up. So:

- All that was used, all leases and all reservations together never exceed a limit; only a run
  that uses more than it reserved can, by that much.
- A budget is refused too early by at most what other processes hold and do not use: 1/32 of it
  each, for a few seconds. Budgets below 32 are counted exactly.
- What a process that is killed had used and not reported, at most ``REPORT_SECONDS`` of it, is
  not counted; its leases end ``lease.LEASE_SECONDS`` after its last report.

The clocks of the machines have to agree to a few seconds.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING

from casemate.errors import CasemateError, TooMany
from casemate.gate.lease import Lease, Leases, counter
from casemate.gate.limit import PRINCIPAL, RUNS, Limit, refusal, seconds_left, window_start
from casemate.store.database import Database

if TYPE_CHECKING:
    from casemate.gate.quota import Quotas

REPORT_SECONDS = 5
_SHARE = 32  # the part of a budget that a process takes beyond what it needs now


@dataclass
class Use:
    """What a run uses: reserved before it begins, counted while it goes. Whole stored units."""

    tokens: int = 0
    written: int = 0  # of the tokens; the others were read
    gpu_seconds: int = 0  # milliseconds; an estimate
    watt_hours: int = 0  # joules; an estimate
    requests: int = 1
    runs: int = 1

    def of(self, measure: str) -> int:
        """How much of one measure."""
        return int(getattr(self, measure))

    def add(self, other: Use) -> None:
        """Count another's too."""
        for name in _MEASURED:
            setattr(self, name, getattr(self, name) + getattr(other, name))


_MEASURED = tuple(one.name for one in fields(Use))


@dataclass(frozen=True)
class Asker:
    """Whom a run counts for: ids."""

    tenant: str
    principal: str
    use_case: str


_Key = tuple[str, int]


@dataclass
class _Reservation:
    leases: list[tuple[Lease, int]] = field(default_factory=list)


_NOTHING = _Reservation([])  # where nothing limits: shared, because nothing is ever taken


class Budgets:
    """Reserves before a run, settles after it.

    concurrent: runs one principal may have open in this process, and in others as it is told of
    them (``opened``), where no limit of its own is set. holder: a name for this process that no
    other has. clock: the time of day.
    """

    def __init__(
        self,
        database: Database,
        quotas: Quotas,
        *,
        concurrent: int,
        holder: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._quotas = quotas
        self._concurrent = concurrent
        self._book = Leases(holder)
        self._clock = clock
        self._leases: dict[_Key, Lease] = {}
        self._open: dict[str, int] = {}
        self._counting = threading.Lock()
        self._drawing = threading.Lock()
        self._reporter: threading.Thread | None = None
        self._closing = threading.Event()
        self.refused: Counter[tuple[str, str, str]] = Counter()  # kind, measure, window

    def run(self, asker: Asker, estimate: Use) -> Reserved:
        """Room for one run, as a count that starts at nothing; settled when the block ends.

        ``estimate`` is reserved. Raises TooMany, naming the limit that was met.
        """
        return Reserved(self, asker, estimate)

    def opened(self, asker: Asker) -> Opened:
        """A run that another process of this server has open, as far as ``concurrent`` goes."""
        return Opened(self, asker)

    def used(self, limits: Iterable[Limit]) -> list[int]:
        """What was used of each limit in its present window, by everybody it counts for."""
        now = self._clock()
        found = []
        with self._database.read() as connection:
            for limit in limits:
                start = window_start(limit.window, now)
                total = self._book.used(connection, limit, start)
                total += self._book.held(connection, limit, start, now, here=True)
                mine = self._leases.get((counter(limit), start))
                # of a lease, what is only held is not used
                found.append(total - (max(0, mine.spare) if mine is not None else 0))
        return found

    def report(self) -> None:
        """Tell the database what was used, and give back what is not needed. Raises Unavailable."""
        with self._drawing:
            now = self._clock()
            with self._counting:
                leases = list(self._leases.values())
                told = [(one, one.used, one.reserved) for one in leases]
                for one in leases:
                    one.drawing = True
            granted: list[int] = []
            try:
                with self._database.write() as connection:
                    for lease, used, reserved in told:
                        keep = _share(lease.limit) if lease.active and _current(lease, now) else 0
                        held = min(reserved + keep, max(reserved, lease.granted - used))
                        self._book.write(connection, lease, used, held, now)
                        granted.append(held)
                    self._book.sweep(connection, now)
            except BaseException:
                self._resume(leases)
                raise
            self._take_over(told, granted, now)

    def close(self) -> None:
        """Report, and give everything back."""
        self._closing.set()
        reporter = self._reporter
        if reporter is not None:
            reporter.join()
        with self._counting:
            for lease in self._leases.values():
                lease.active = False
            left = bool(self._leases)
        if left:
            with suppress(CasemateError):  # a disk that refuses: the leases end by themselves
                self.report()

    def _enter(self, who: str) -> None:
        """Count one of the runs that a principal has open in this process."""
        with self._counting:
            self._open[who] = self._open.get(who, 0) + 1

    def _leave(self, who: str) -> None:
        with self._counting:
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]

    def _holding(self, asker: Asker) -> list[Limit]:
        """The limits on a run. Raises TooMany beyond that which holds where none is set."""
        limits = self._quotas.holding(asker.tenant, asker.principal, asker.use_case)
        if self._open.get(asker.principal, 0) > self._concurrent and not any(
            limit.kind == PRINCIPAL and limit.measure == RUNS for limit in limits
        ):
            raise TooMany(
                f"You have {self._concurrent} runs open, as many as are allowed.",
                "Wait until one has finished, then ask again.",
            )
        return limits

    def _at_hand(self, asker: Asker, estimate: Use) -> _Reservation | None:
        """A reservation out of what this process holds; None where the database is needed."""
        if self._quotas.stale:
            return None
        limits = self._holding(asker)
        if not limits:
            return _NOTHING
        with self._counting:
            return self._take(limits, estimate, self._clock())

    async def _reserved(self, asker: Asker, estimate: Use) -> _Reservation:
        """A reservation for which the database is asked; given back if the asker goes away."""
        made: list[_Reservation] = []
        gone = False

        def reserve() -> _Reservation:
            reservation = self._reserve(asker, estimate)
            with self._counting:
                made.append(reservation)
                wanted = not gone
            if not wanted:
                self._settle(reservation, Use(requests=0))
            return reservation

        try:
            return await asyncio.to_thread(reserve)
        except asyncio.CancelledError:
            with self._counting:
                gone = True
                came = list(made)
            for reservation in came:  # just before we went
                self._settle(reservation, Use(requests=0))
            raise

    def _reserve(self, asker: Asker, estimate: Use) -> _Reservation:
        limits = self._holding(asker)
        now = self._clock()
        with self._counting:
            if (taken := self._take(limits, estimate, now)) is not None:
                return taken
        with self._drawing:
            self._draw(asker.tenant, limits, estimate, now)
            with self._counting:
                self._begin_reporting()
                if (taken := self._take(limits, estimate, now)) is not None:
                    return taken
                met = [one for one in limits if self._lease(one, now).free < _need(one, estimate)]
        limit = max(met, key=lambda one: seconds_left(one.window, now))
        self.refused[limit.kind, limit.measure, limit.window] += 1
        raise refusal(limit, _need(limit, estimate), now)

    def _take(self, limits: list[Limit], estimate: Use, now: datetime) -> _Reservation | None:
        leases = [(self._lease(limit, now), _need(limit, estimate)) for limit in limits]
        if any(lease.free < need for lease, need in leases):
            return None
        for lease, need in leases:
            lease.reserved += need
            lease.active = True
        return _Reservation(leases)

    def _lease(self, limit: Limit, now: datetime) -> Lease:
        key = (counter(limit), window_start(limit.window, now))
        lease = self._leases.get(key)
        if lease is None:
            lease = self._leases[key] = Lease(limit, key[1])
        if lease.limit.amount > limit.amount:
            lease.granted = min(lease.granted, lease.reserved + lease.used)  # drawn anew
        lease.limit = limit
        return lease

    def _draw(self, tenant: str, limits: list[Limit], estimate: Use, now: datetime) -> None:
        """Ask the database for what ``estimate`` needs and a share more, where it is lacking."""
        with self._counting:
            lacking = [
                (lease, lease.used, lease.reserved)
                for limit in limits
                if (lease := self._lease(limit, now)).free < _need(limit, estimate)
            ]
            for lease, _, _ in lacking:
                lease.drawing = True
        granted: list[int] = []
        try:
            with self._database.write() as connection:
                self._book.lock(connection, tenant)
                for lease, used, reserved in lacking:
                    limit, start = lease.limit, lease.start
                    gone = self._book.used(connection, limit, start) + used
                    gone += self._book.held(connection, limit, start, now, here=False)
                    wanted = reserved + _need(limit, estimate) + _share(limit)
                    held = max(reserved, min(wanted, limit.amount - gone))
                    self._book.write(connection, lease, used, held, now)
                    granted.append(held)
        except BaseException:
            self._resume([lease for lease, _, _ in lacking])
            raise
        with self._counting:
            for (lease, used, _), held in zip(lacking, granted, strict=True):
                lease.used -= used
                lease.granted = held
                lease.drawing = False

    def _take_over(
        self, told: list[tuple[Lease, int, int]], granted: list[int], now: datetime
    ) -> None:
        with self._counting:
            for (lease, used, _), held in zip(told, granted, strict=True):
                lease.used -= used
                lease.granted = held
                lease.drawing = lease.active = False
                if not (lease.granted or lease.reserved or lease.used):
                    del self._leases[counter(lease.limit), lease.start]

    def _resume(self, leases: Iterable[Lease]) -> None:
        with self._counting:
            for lease in leases:
                lease.drawing = False

    def _settle(self, reservation: _Reservation, used: Use) -> None:
        if not reservation.leases:
            return
        with self._counting:
            for lease, reserved in reservation.leases:
                lease.reserved -= reserved
                if lease.limit.measure != RUNS:
                    lease.used += used.of(lease.limit.measure)
                lease.active = True

    def _begin_reporting(self) -> None:
        """Report every few seconds for as long as anything is held."""
        if self._reporter is not None or self._closing.is_set():
            return
        self._reporter = threading.Thread(target=self._keep_reporting, name="quota", daemon=True)
        self._reporter.start()

    def _keep_reporting(self) -> None:
        while not self._closing.wait(REPORT_SECONDS):
            try:
                self.report()
            except Exception:  # noqa: S112 - a disk that refuses now is asked again
                continue
            with self._counting:
                if not self._leases:
                    self._reporter = None
                    return


class Reserved(AbstractAsyncContextManager[Use]):
    """Room for one run, from ``async with`` to the end of the block."""

    __slots__ = ("_asker", "_budgets", "_estimate", "_reservation", "_used")

    _reservation: _Reservation

    def __init__(self, budgets: Budgets, asker: Asker, estimate: Use) -> None:
        self._budgets = budgets
        self._asker = asker
        self._estimate = estimate
        self._used = Use()

    async def __aenter__(self) -> Use:
        budgets, asker = self._budgets, self._asker
        budgets._enter(asker.principal)
        try:
            reservation = budgets._at_hand(asker, self._estimate)
            if reservation is None:
                reservation = await budgets._reserved(asker, self._estimate)
            self._reservation = reservation
        except BaseException:
            budgets._leave(asker.principal)
            raise
        return self._used

    async def __aexit__(self, *_: object) -> None:
        self._budgets._settle(self._reservation, self._used)
        self._budgets._leave(self._asker.principal)


class Opened(AbstractContextManager[None]):
    """One run of another process. Entering it raises TooMany."""

    __slots__ = ("_asker", "_budgets")

    def __init__(self, budgets: Budgets, asker: Asker) -> None:
        self._budgets = budgets
        self._asker = asker

    def __enter__(self) -> None:
        budgets, asker = self._budgets, self._asker
        budgets._enter(asker.principal)
        try:
            budgets._holding(asker)
        except BaseException:
            budgets._leave(asker.principal)
            raise

    def __exit__(self, *_: object) -> None:
        self._budgets._leave(self._asker.principal)


def _need(limit: Limit, estimate: Use) -> int:
    return estimate.of(limit.measure)


def _share(limit: Limit) -> int:
    return limit.amount // _SHARE


def _current(lease: Lease, now: datetime) -> bool:
    return lease.start == window_start(lease.limit.window, now)
