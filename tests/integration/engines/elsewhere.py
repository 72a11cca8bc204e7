"""A second process on one database: does one act at the gate and ends.

Usage: python elsewhere.py DATA disable|revoke|suspend|lower|sign-out NAME
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from casemate.gate.admission import Gate
from casemate.settings import Settings
from casemate.store.database import Database


@dataclass(frozen=True)
class _Folder:
    """As much of a data folder as a gate asks for; the server holds the lock of the whole."""

    path: Path
    fresh: bool = False

    @property
    def policies(self) -> Path:
        return self.path / "policies"


@dataclass(frozen=True)
class _Recorded:
    index: int


class _Ledger:
    """Has no log of its own: a log has one writer."""

    def record(self, entry: Mapping[str, object]) -> _Recorded:
        return _Recorded(0)


def elsewhere(data: Path, act: str, name: str) -> None:
    """Do ``act`` in a process of its own, and wait for its end."""
    subprocess.run(
        [sys.executable, __file__, data, act, name],
        check=True,
        timeout=60,
        env={key: text for key, text in os.environ.items() if not key.startswith("CASEMATE_")},
    )


def main(data: Path, act: str, name: str) -> None:
    database = Database.open(data / "casemate.sqlite")
    try:
        gate = Gate.open(
            _Folder(data),  # type: ignore[arg-type]
            database,
            _Ledger(),
            Settings(),
            clock=lambda: datetime.now(UTC),
        )
        owner = gate.owner()
        match act:
            case "disable":
                gate.principals.disable(owner, name)
            case "revoke":
                gate.keys.revoke(owner, name)
            case "suspend":
                gate.use_cases.suspend(owner, name, "It is looked into.")
            case "lower":
                gate.principals.change(owner, name, roles=("auditor",))
            case "sign-out":
                gate.sessions.sign_out(name)
            case _:
                raise SystemExit(f"no act {act}")
    finally:
        database.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
