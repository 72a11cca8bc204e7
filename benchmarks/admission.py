"""Admission: CPU time of key → principal → Cedar → label → quota, for each request.

Three ways: as requests come (nothing about rights changed since the last), each after a change of
rights (everything is read again), and each after somebody else's run was recorded (which changes
no rights). A tenant with 200 collections of several labels and readers.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy as sa
from figures import line

from casemate.gate.budget import Use
from casemate.installation import Installation
from casemate.store.tables import collections, runs

COLLECTIONS, TIMES = 200, 2_000


def cpu(times: int, action: Callable[[], object], between: Callable[[], object]) -> list[float]:
    """CPU seconds of the process for each of ``times`` runs of ``action``."""
    found = []
    for _ in range(times + 20):
        between()
        begun = time.process_time_ns()
        action()
        found.append((time.process_time_ns() - begun) / 1e9)
    return found[20:]


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else TIMES
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        house = stack.enter_context(Installation.open(Path(folder) / "d"))
        gate, owner = house.gate, house.gate.owner()
        for number in range(COLLECTIONS):
            readers = None if number % 3 else ("role:auditor", owner.principal.name)
            house.library.create_collection(owner, f"collection {number}", readers=readers)
        _, text = gate.keys.create(owner, owner.principal.name)
        header = f"Bearer {text}"

        async def admitted() -> None:
            caller = gate.caller_from_authorization(header)
            admission = gate.admit(caller, use_case="documents")
            async with gate.budgets.run(admission.asker, Use(tokens=1000)):
                pass

        runner = stack.enter_context(asyncio.Runner())

        def admit() -> None:
            runner.run(admitted())

        def change_rights() -> None:
            with house.database.write() as connection:
                first = sa.select(sa.func.min(collections.c.id)).scalar_subquery()
                connection.execute(
                    collections.update()
                    .where(collections.c.id == first)
                    .values(readers=json.dumps(["role:auditor"]))
                )

        def record_a_run() -> None:
            with house.database.write() as connection:
                connection.execute(runs.update().values(outcome="answered"))

        print(line("admission, CPU", cpu(times, admit, lambda: None)))
        print(line("admission after somebody's run, CPU", cpu(times // 4, admit, record_a_run)))
        print(
            line("admission after a change of rights, CPU", cpu(times // 20, admit, change_rights))
        )


if __name__ == "__main__":
    main()
