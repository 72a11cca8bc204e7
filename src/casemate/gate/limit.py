"""Limits: how much may be used, of what, by whom, in which time.

A window is a minute, a day or a month of the calendar, in UTC; what counts runs that are open at
one time has none. GPU-seconds and energy are estimates everywhere: see ``gate.capacity``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from casemate.errors import Invalid, NotFound, TooMany

if TYPE_CHECKING:
    from casemate.gate.caller import Caller

PRINCIPAL, USE_CASE, TENANT = "principal", "use_case", "tenant"
KINDS = (PRINCIPAL, USE_CASE, TENANT)
EVERY = "*"  # the target of a limit that each principal, or each use case, has for itself
RUNS = "runs"
WINDOWS = ("minute", "day", "month")
# What is counted → how a limit is told in a sentence. Stored in whole units of ``_STORED``.
MEASURES = {
    "tokens": "tokens",
    "requests": "requests",
    RUNS: "runs open at one time",
    "gpu_seconds": "estimated GPU-seconds",
    "watt_hours": "estimated watt-hours",
}
_STORED = {"gpu_seconds": 1000, "watt_hours": 3600}  # milliseconds, joules
_LARGEST = 10**12


@dataclass(frozen=True)
class Limit:
    """At most ``amount`` of ``measure`` for ``target`` in one ``window``; "" for open runs.

    ``target`` is an id, or ``EVERY``. ``amount`` is in whole units as they are stored: tokens,
    requests, runs, milliseconds or joules.
    """

    tenant: str
    kind: str
    target: str
    measure: str
    window: str
    amount: int

    @classmethod
    def parse(
        cls, tenant: str, kind: str, target: str, measure: str, window: str, amount: float
    ) -> Limit:
        """A limit as people give it: GPU-seconds and watt-hours, may be fractions. Or Invalid."""
        for wrong, what, advice in (
            (kind not in KINDS, f"There is no limit of a {kind[:40]!r}.", ", ".join(KINDS)),
            (
                measure not in MEASURES,
                f"There is no measure {measure[:40]!r}.",
                ", ".join(MEASURES),
            ),
        ):
            if wrong:
                raise Invalid(what, f"There are: {advice}.")
        if measure == RUNS and window:
            raise Invalid("Open runs are counted at one time, in no window.", "Leave it out.")
        if measure != RUNS and window not in WINDOWS:
            raise Invalid(
                f"A limit of {measure} needs a window.", f"There are: {', '.join(WINDOWS)}."
            )
        if not 0 <= amount <= _LARGEST:  # what is no number is not, either
            raise Invalid("That is no amount.", "Give a number from 0 on.")
        stored = round(amount * _STORED.get(measure, 1))
        if measure not in _STORED and stored != amount:
            raise Invalid(f"{measure} are whole.", "Give a whole number.")
        return cls(tenant, kind, target, measure, window, stored)

    @property
    def shown(self) -> float:
        """The amount as people give it."""
        return shown(self.measure, self.amount)

    def words(self) -> str:
        """The limit as it stands in a sentence."""
        amount = f"{self.shown:,.6g}" if self.shown < 1e6 else f"{self.shown:,.0f}"
        return f"{amount} {MEASURES[self.measure]}" + (f" a {self.window}" if self.window else "")


def shown(measure: str, stored: int) -> float:
    """A stored amount as people give it."""
    unit = _STORED.get(measure)
    return stored if unit is None else stored / unit


def check_home(actor: Caller, tenant: str, kind: str) -> None:
    """Refuse to set anything in another tenant, but for the owner what that tenant as a whole has.

    Whoever calls has looked ids up in the actor's own tenant; this holds if one day they have not.
    Raises NotFound: what is another tenant's is not there.
    """
    whole = kind == TENANT and "owner" in actor.principal.roles
    if tenant != actor.principal.tenant and not whole:
        raise NotFound("There is nothing of that name.", "Look at what your own tenant has.")


def window_start(window: str, now: datetime) -> int:
    """When the window that ``now`` lies in began, in seconds since 1970; 0 without a window."""
    return int(_start(window, now).timestamp()) if window else 0


def seconds_left(window: str, now: datetime) -> int:
    """Whole seconds until the next window begins, at least 1; 1 without a window."""
    if not window:
        return 1  # a place among the open runs is soon free
    start = _start(window, now)
    if window == "month":
        following = (start + timedelta(days=32)).replace(day=1)
    else:
        following = start + (timedelta(minutes=1) if window == "minute" else timedelta(days=1))
    left = (following - now).total_seconds()
    return max(1, int(left) + (left % 1 > 0))


def refusal(limit: Limit, need: int, now: datetime) -> TooMany:
    """What is told when a limit is met: which one, never how much of it others used."""
    whose = {
        PRINCIPAL: "Your limit",
        TENANT: "The limit of your organisation",
    }.get(limit.kind, f"The limit of the use case {limit.target}")
    wait = seconds_left(limit.window, now)
    if not limit.amount:
        return TooMany(f"{whose} is {limit.words()}.", "Ask an administrator for more.", wait)
    if need > limit.amount:
        return TooMany(
            f"{whose}, {limit.words()}, is less than this question may need.",
            "Ask a shorter one, allow a shorter answer, or ask an administrator for more.",
            wait,
        )
    if not limit.window:
        return TooMany(
            f"{whose}, {limit.words()}, is reached.",
            "Wait until one has finished, then ask again.",
            wait,
        )
    return TooMany(
        f"{whose}, {limit.words()}, is used up or too little is left for this question.",
        f"It begins anew in {_words(wait)}; an administrator can raise it.",
        wait,
    )


def _start(window: str, now: datetime) -> datetime:
    now = now.astimezone(UTC).replace(second=0, microsecond=0)
    if window == "minute":
        return now
    now = now.replace(hour=0, minute=0)
    return now if window == "day" else now.replace(day=1)


def _words(seconds: int) -> str:
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = -(-seconds // size)
            return f"{count} {unit}" + ("s" if count > 1 else "")
    return f"{seconds} second" + ("s" if seconds > 1 else "")
