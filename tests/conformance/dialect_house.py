"""A real installation on loopback with models behind it, for clients that others wrote.

Its use cases: "documents" quotes; "write" has a model
and documents; "chat" has the same model and no documents; "vectors" makes embeddings. The model is
played by a small server: it is the client that is tried here, not a model.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from upstream import Upstream

from casemate.gate.caller import Caller
from casemate.installation import Installation
from casemate.models.manifest import Manifest

FEES = """# Fees

Fictional document, written for tests.

The fee is 12 euros for adults. Children pay nothing.
"""


@dataclass(frozen=True)
class Dialects:
    """Where it is, whose keys there are, and what runs behind it."""

    url: str
    key: str
    others_key: str
    folder: Path
    upstream: Upstream

    @property
    def openai(self) -> str:
        return f"{self.url}/v1"

    @property
    def mistral(self) -> str:
        return f"{self.url}/mistral"


def furnished(folder: Path, upstream: Upstream) -> tuple[str, str]:
    """An installation with all that: the keys of its owner and of somebody else."""
    with Installation.open(folder) as house:
        gate, owner = house.gate, house.gate.owner()
        (folder / "settings.toml").write_text(
            '[model_aliases]\n"gpt-4o" = "chat"\n"mistral-small-latest" = "chat"\n'
            '"mistral-large-latest" = "documents"\n"code" = "chat"\n'
        )
        lowest = gate.country.policy.lowest()
        gate.principals.create(owner, "second", clearance=lowest, roles=("admin",))
        second = Caller(gate.principals.named("second"), None, "local")
        gate.principals.create(owner, "reader", clearance=lowest)
        gate.perimeter.add(
            owner,
            name="models",
            host="127.0.0.1",
            ports=(upstream.port,),
            jurisdiction="LU",
            ceiling=lowest,
        )
        house.models.propose(owner, a_manifest(upstream))
        house.models.approve(second, "tiny")
        house.library.create_collection(owner, "fees")
        house.library.add(owner, "fees", "fees.md", FEES.encode())
        for id, collections in (("write", None), ("chat", ()), ("vectors", ())):
            gate.use_cases.register(
                owner,
                id,
                purpose="To help the counter.",
                legal_basis="The commune's own tasks.",
                risk="minimal",
                models=("tiny",),
                ceiling=lowest,
                oversight="none",
                retention_days=400,
                collections=collections,
                screening=gate.use_cases.not_prohibited("A test."),
            )
            gate.use_cases.approve(second, id)
        return tuple(  # type: ignore[return-value]
            gate.keys.create(owner, name)[1] for name in (owner.principal.name, "reader")
        )


def a_manifest(upstream: Upstream) -> Manifest:
    return Manifest.new(
        name="tiny",
        version="1",
        engine="remote",
        architecture="A script.",
        licence="EUPL-1.2",
        origin="These tests.",
        intended_use="Answering in tests.",
        limits="Says what it is told to say.",
        label="unclassified",
        address=upstream.address,
        upstream="tiny-upstream",
        fills=True,
    )


class a_running_server:
    """``casemate up`` in a process of its own; gives its address."""

    def __init__(self, folder: Path) -> None:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("CASEMATE_")}
        self._environment = {**kept, "CASEMATE_DATA": str(folder), "PYTHONUNBUFFERED": "1"}

    def __enter__(self) -> str:
        up = [sys.executable, "-m", "casemate", "up", "--port", "0"]
        self._process = subprocess.Popen(
            up, env=self._environment, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        address = re.search(r"http://\S+", self._process.stdout.readline())
        assert address is not None
        return address[0]

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
