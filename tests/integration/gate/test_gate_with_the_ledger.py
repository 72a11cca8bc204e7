"""The gate on the real ledger: every act becomes an entry that is there afterwards."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from casemate.errors import Refused
from casemate.gate.admission import Gate
from casemate.ledger.log import Log
from casemate.ledger.note import Signer
from casemate.ledger.record import Ledger
from casemate.models.registry import Models
from casemate.settings import Settings
from casemate.store.database import Database
from casemate.store.folder import DataFolder


def test_acts_at_the_gate_are_entries_of_the_real_ledger(tmp_path: Path) -> None:
    with (
        DataFolder.open(tmp_path / "data") as data,
        Log.open(data.ledger, Signer.from_seed("test.example/log", bytes(32))) as log,
    ):
        database = Database.open(data.database)
        gate = Gate.open(
            data, database, Ledger(log), Settings(), clock=lambda: datetime.now(UTC),
            random=os.urandom,
        )  # fmt: skip
        models = Models(database, gate, data.models)
        owner = gate.first_start("Anne")
        models.register_builtin()
        low = gate.country.policy.lowest()
        gate.principals.create(owner, "Bob", clearance=low)
        gate.keys.create(owner, "Bob", use_case="documents", days=30)
        gate.perimeter.add(
            owner, name="one", host="10.0.0.1", ports=[80], jurisdiction="LU", ceiling=low
        )
        with pytest.raises(Refused):
            gate.require(owner, "add", label=gate.country.policy.parse("secret"))
        kinds = [json.loads(log.entry(index))["kind"] for index in range(log.size)]
        database.close()
    assert kinds == [
        "tenant.created",
        "principal.created",
        "use_case.registered",
        "model.approved",
        "principal.created",
        "key.created",
        "perimeter.added",
        "refused",
    ]
