"""Reviews: a person's decision on a run, recorded like the run itself.

Human oversight: Regulation (EU) 2024/1689 (AI Act), Article 14.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from casemate.errors import Invalid, NotFound
from casemate.store.database import Database
from casemate.store.tables import reviews, runs

if TYPE_CHECKING:
    from casemate.gate.admission import Gate
    from casemate.gate.caller import Caller
    from casemate.ledger.record import Ledger

DECISIONS = ("approved", "rejected")
_LONGEST_REASON = 2_000


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """What a reviewer decided; ``entry`` is its index in the ledger."""

    id: str
    run: str
    decision: str
    reason: str
    entry: int
    created: str


class Reviews:
    """Writes and lists reviews."""

    def __init__(
        self,
        database: Database,
        gate: Gate,
        ledger: Ledger,
        *,
        clock: Callable[[], str],
        new_id: Callable[[str], str],
    ) -> None:
        self._database = database
        self._gate = gate
        self._ledger = ledger
        self._clock = clock
        self._new_id = new_id

    def decide(self, caller: Caller, run: str, decision: str, reason: str) -> Review:
        """Record a decision on a finished run.

        Raises Invalid for a bad decision or reason, NotFound if the run is absent or hidden,
        Refused if the caller may not review.
        """
        if decision not in DECISIONS:
            raise Invalid("That is not a decision.", "Decide approved or rejected.")
        reason = reason.strip()
        if not reason or len(reason) > _LONGEST_REASON:
            raise Invalid("A review needs a reason.", f"Write 1 to {_LONGEST_REASON} characters.")
        self._require(caller, run)
        made = Review(
            id=self._new_id("v"),
            run=run,
            decision=decision,
            reason=reason,
            entry=self._ledger.record(
                {
                    "v": 1,
                    "kind": "run.reviewed",
                    "time": self._clock(),
                    "actor": caller.principal.pseudonym,
                    "run": run,
                    "decision": decision,
                }
            ).index,
            created=self._clock(),
        )
        with self._database.write() as connection:
            connection.execute(
                reviews.insert().values(
                    **msgspec.structs.asdict(made), reviewer=caller.principal.id
                )
            )
        return made

    def of(self, caller: Caller, run: str) -> list[Review]:
        """Reviews of a run, oldest first. Raises NotFound if the run is absent or hidden."""
        self._require(caller, run)
        query = sa.select(reviews).where(reviews.c.run == run).order_by(reviews.c.entry)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [
            Review(
                id=row.id,
                run=row.run,
                decision=row.decision,
                reason=row.reason,
                entry=row.entry,
                created=row.created,
            )
            for row in rows
        ]

    def _require(self, caller: Caller, run: str) -> None:
        query = sa.select(runs.c.label).where(
            runs.c.id == run,
            runs.c.tenant == caller.principal.tenant,
            runs.c.outcome.is_not(None),
        )
        with self._database.read() as connection:
            label = connection.execute(query).scalar()
        policy = self._gate.country.policy
        if label is None or not policy.readable(label, caller.principal.clearance):
            raise _absent()
        try:
            self._gate.require(caller, "review", label=policy.parse(label), resource=f"run:{run}")
        except NotFound:
            # The gate's own words would tell a run that is there from one that is not.
            raise _absent() from None


def _absent() -> NotFound:
    return NotFound("There is no such run that you may review.", "Check its number.")
