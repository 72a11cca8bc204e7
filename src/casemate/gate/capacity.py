"""Capacity: what an operator declares of the machine behind a model.

How many answers it computes side by side is what those who wait share. Accelerators and watts make
an *estimate* of GPU-seconds and energy: a run is charged the seconds for which it held one of the
slots, times accelerators (or watts) divided by slots. Nothing is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from casemate.errors import Invalid, Refused
from casemate.gate.fresh import Fresh
from casemate.gate.right import Rights
from casemate.store.database import Database
from casemate.store.tables import capacities

if TYPE_CHECKING:
    from casemate.gate.caller import Caller

_BOUNDS = {"slots": (1, 100_000), "accelerators": (0, 100_000), "watts": (0, 10**9)}


@dataclass(frozen=True)
class Capacity:
    """``slots``: answers computed side by side. ``watts``: drawn with all slots at work."""

    slots: int
    accelerators: int = 0
    watts: int = 0

    def gpu_milliseconds(self, seconds: float) -> int:
        """Estimated GPU time of one slot held for ``seconds``, rounded up."""
        return -int(-seconds * 1000 * self.accelerators // self.slots)

    def joules(self, seconds: float) -> int:
        """Estimated energy of one slot held for ``seconds``, rounded up."""
        return -int(-seconds * self.watts // self.slots)


class Capacities:
    """What is declared, by model; each declaration is an entry of the ledger."""

    def __init__(self, database: Database, rights: Rights, seconds: Callable[[], float]) -> None:
        self._database = database
        self._rights = rights
        self._known: Fresh[dict[str, Capacity]] = Fresh(self._read, seconds)

    def of(self, model: str, slots: int) -> Capacity:
        """What is declared of ``model``; where nothing is, ``slots`` and no accelerator."""
        return self._known.now().get(model) or Capacity(slots)

    def declared(self) -> dict[str, Capacity]:
        """All that is declared, by model."""
        self._known.forget()
        return dict(sorted(self._known.now().items()))

    def declare(
        self, actor: Caller, model: str, *, slots: int, accelerators: int, watts: int
    ) -> Capacity:
        """Declare the machine behind ``model``. For the owner: every tenant shares it.

        Raises Invalid, Refused.
        """
        self._rights.administer(actor)
        if "owner" not in actor.principal.roles:
            raise Refused("Every tenant shares this machine.", "Ask the owner to declare it.")
        made = Capacity(slots, accelerators, watts)
        for name, (least, most) in _BOUNDS.items():
            if not least <= getattr(made, name) <= most:
                raise Invalid(
                    f"That is no number of {name}.", f"Give one from {least} to {most:,}."
                )
        with self._database.write() as connection:
            this = capacities.c.model == model
            row = connection.execute(sa.select(capacities).where(this)).first()
            before = None if row is None else _capacity(row)
            if before == made:
                return made
            values = _values(made)
            if row is None:
                connection.execute(capacities.insert().values(model=model, **values))
            else:
                connection.execute(capacities.update().where(this).values(values))
            facts = {"after": values} | ({} if before is None else {"before": _values(before)})
            self._rights.acts.record("capacity.declared", actor.principal, model=model, **facts)
        self._known.forget()
        return made

    def _read(self) -> dict[str, Capacity]:
        with self._database.read() as connection:
            return {row.model: _capacity(row) for row in connection.execute(sa.select(capacities))}


def _capacity(row: sa.Row[tuple[str, int, int, int]]) -> Capacity:
    return Capacity(row.slots, row.accelerators, row.watts)


def _values(capacity: Capacity) -> dict[str, int]:
    return {name: getattr(capacity, name) for name in _BOUNDS}
