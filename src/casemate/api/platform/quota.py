"""What the asker may still use, under ``/api``."""

from __future__ import annotations

import asyncio

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.caller import bearer_or_session
from casemate.api.platform.shapes import encode
from casemate.api.resource import Face, json_response
from casemate.gate.allowance import Allowance, allowances
from casemate.gate.limit import USE_CASE, shown


class AllowanceShape(Struct, frozen=True, kw_only=True):
    """One limit. ``used`` and ``left`` only of what is the asker's own.

    ``gpu_seconds`` and ``watt_hours`` are estimates.
    """

    of: str  # principal | use_case | tenant
    use_case: str | None
    measure: str
    window: str | None
    limit: float
    used: float | None
    left: float | None
    renews_seconds: int | None

    @classmethod
    def of_allowance(cls, one: Allowance) -> AllowanceShape:
        """How an allowance is shown."""
        limit, used = one.limit, one.used
        return cls(
            of=limit.kind,
            use_case=limit.target if limit.kind == USE_CASE else None,
            measure=limit.measure,
            window=limit.window or None,
            limit=limit.shown,
            used=None if used is None else shown(limit.measure, used),
            left=None if used is None else shown(limit.measure, max(0, limit.amount - used)),
            renews_seconds=one.renews,
        )


class QuotaShape(Struct, frozen=True):
    """The limits that hold for the asker; none: nothing is limited but runs open at one time."""

    limits: list[AllowanceShape]
    open_runs: int  # that the asker may have at one time in any case


async def quota(face: Face, request: Request) -> Response:
    """The asker's limits, and what they themselves used of them."""
    installation = face.installation
    caller = await bearer_or_session(installation, request)
    found = await asyncio.to_thread(allowances, installation.gate, caller)
    shapes = [AllowanceShape.of_allowance(one) for one in found]
    return json_response(encode(QuotaShape(shapes, face.settings.concurrent_runs)))
