"""A real installation on loopback, for Mistral's own client.

``mistral_server``: an address and a key of its owner. Its use case "registers" has the model that
comes with Casemate, which thinks; "documents" quotes. Its collection "sealed" is for the owner
alone: the reader, somebody else, may not know of it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class MistralServer:
    """Where it is, who may ask, and a question that its model answers."""

    url: str
    key: str
    question: str
    readers_key: str


@pytest.fixture(scope="session")
def mistral_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MistralServer]:
    folder = tmp_path_factory.mktemp("mistral") / "data"
    environment = {**os.environ, "CASEMATE_DATA": str(folder)}

    def casemate(*arguments: str) -> str:
        command = [sys.executable, "-m", "casemate", *arguments]
        return subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout

    casemate("demo", "--model", "nano", "--data", str(folder))
    runs = json.loads(casemate("run", "list", "--json"))
    question = next(one["question"] for one in runs if one["outcome"] == "answered")
    sealed = folder.parent / "sealed.md"
    sealed.write_text("# Seals\n\nThe seal costs 91 euros.\n")
    owner = json.loads(casemate("status", "--json"))["principal"]
    casemate("collection", "create", "sealed", "--reader", owner)
    casemate("add", str(sealed), "--collection", "sealed")
    casemate("user", "create", "reader", "--service")
    key, readers_key = (
        json.loads(casemate("key", "create", "--principal", name, "--json"))["key"]
        for name in (owner, "reader")
    )
    up = [sys.executable, "-m", "casemate", "up", "--port", "0"]
    with subprocess.Popen(up, env=environment, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            address = re.search(r"http://\S+", running.stdout.readline())
            assert address is not None
            yield MistralServer(f"{address[0]}/mistral", key, question, readers_key)
        finally:
            running.terminate()
