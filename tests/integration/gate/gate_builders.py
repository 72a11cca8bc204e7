"""Builders for tests of the gate: a real database, real policies, a ledger kept in a list."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import argon2

from casemate.gate.admission import Gate
from casemate.gate.caller import Caller
from casemate.gate.label import Label
from casemate.gate.password import Passwords
from casemate.gate.usecase import UseCase
from casemate.models.registry import Models
from casemate.settings import Settings
from casemate.store.database import Database
from casemate.store.folder import DataFolder
from casemate.store.tables import collections

PASSWORD = "seven tall herons by the Alzette"


@dataclass(frozen=True)
class Recorded:
    index: int


@dataclass
class ListLedger:
    """Keeps entries in memory, as the ledger would keep them."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    broken: bool = False

    def record(self, entry: Mapping[str, object]) -> Recorded:
        if self.broken:
            raise OSError("no room")
        self.entries.append(json.loads(json.dumps(entry)))
        return Recorded(len(self.entries) - 1)

    def kinds(self) -> list[str]:
        return [entry["kind"] for entry in self.entries]


@dataclass
class Watch:
    """A clock that tests set."""

    moment: datetime = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def pass_by(self, **time: int) -> None:
        self.moment += timedelta(**time)


@dataclass
class World:
    """A first-started installation."""

    gate: Gate
    models: Models
    ledger: ListLedger
    watch: Watch
    database: Database
    owner: Caller
    _numbers: Any = field(default_factory=itertools.count)

    def label(self, text: str) -> Label:
        return self.gate.country.policy.parse(text)

    def caller(self, name: str, via: str = "session") -> Caller:
        return Caller(self.gate.principals.named(name), None, via)  # type: ignore[arg-type]

    def person(self, name: str, clearance: str = "unclassified", **more: Any) -> Caller:
        self.gate.principals.create(self.owner, name, clearance=self.label(clearance), **more)
        return self.caller(name)

    def admin(self, name: str = "admin", clearance: str = "secret") -> Caller:
        return self.person(name, clearance, roles=("admin", "user"))

    def collection(self, name: str, label: str = "unclassified", **more: Any) -> str:
        id = f"c{next(self._numbers)}"
        values: dict[str, Any] = {
            "id": id,
            "tenant": self.owner.principal.tenant,
            "name": name,
            "label": str(self.label(label)),
            "owner": self.owner.principal.id,
            "readers": None,
            "created": "2026-01-01T00:00:00Z",
        }
        with self.database.write() as connection:
            connection.execute(collections.insert().values(values | more))
        return id

    def use_case(self, id: str, approve: bool = True, **more: Any) -> UseCase:
        values: dict[str, Any] = {
            "purpose": "To help the counter.",
            "legal_basis": "The commune's own tasks.",
            "risk": "minimal",
            "models": ("quote",),
            "ceiling": self.label("secret"),
            "oversight": "none",
            "retention_days": 400,
            "screening": self.gate.use_cases.not_prohibited("It judges nobody."),
        }
        made = self.gate.use_cases.register(self.owner, id, **(values | more))
        if not approve:
            return made
        name = f"second {id}"
        second = self.person(name, "top-secret", roles=("admin", "user"))
        return self.gate.use_cases.approve(second, id)


@contextmanager
def a_world(folder: Path):  # type: ignore[no-untyped-def]
    """An installation in ``folder``, started for the first time by "Anne"."""
    ledger, watch = ListLedger(), Watch()
    counter = itertools.count(1)

    def random(size: int) -> bytes:
        import hashlib

        return hashlib.shake_128(str(next(counter)).encode()).digest(size)

    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with DataFolder.open(folder / "data") as opened:
        database = Database.open(opened.database)
        try:
            gate = Gate.open(
                opened,
                database,
                ledger,
                Settings(concurrent_runs=2),
                clock=watch,
                random=random,
                passwords=Passwords(random, cheap),
            )
            models = Models(database, gate, opened.models)
            owner = gate.first_start("Anne")
            models.register_builtin()
            try:
                yield World(gate, models, ledger, watch, database, owner)
            finally:
                gate.budgets.close()
        finally:
            database.close()
