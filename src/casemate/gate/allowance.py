"""Allowances: what one caller may still use, and how much of it they themselves used.

Of a limit that is shared, with everybody of a use case or a tenant, only the limit is told: what
is left of it would tell how much others used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from casemate.gate.limit import PRINCIPAL, Limit, seconds_left

if TYPE_CHECKING:
    from casemate.gate.admission import Gate
    from casemate.gate.caller import Caller


@dataclass(frozen=True)
class Allowance:
    """One limit. ``used`` in stored units, None where it is not the caller's alone to know.

    ``renews``: seconds until its window is over; None of what has no window.
    """

    limit: Limit
    used: int | None
    renews: int | None


def allowances(gate: Gate, caller: Caller) -> list[Allowance]:
    """The limits that hold for ``caller``: their own, their use cases', their tenant's.

    Raises Refused.
    """
    principal = caller.principal
    found: dict[tuple[str, str, str, str], Limit] = {}
    for use_case in gate.use_cases.list(caller):
        for limit in gate.quotas.holding(principal.tenant, principal.id, use_case.id):
            found[limit.kind, limit.target, limit.measure, limit.window] = limit
    limits = list(found.values())
    own = [limit for limit in limits if limit.kind == PRINCIPAL]
    used = dict(zip(own, gate.budgets.used(own), strict=True))
    now = gate.acts.clock()
    return [
        Allowance(limit, used.get(limit), seconds_left(limit.window, now) if limit.window else None)
        for limit in limits
    ]
