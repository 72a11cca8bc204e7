"""A real installation on loopback, for OpenAI's own client.

``server`` is all that the tests know of: an address and a key for the use case "documents".
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

DOCUMENT = """# Fees

Fictional document, written for tests.

The fee is 12 euros for adults. Children pay nothing.
"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(base_url, api_key)"""
    folder = tmp_path_factory.mktemp("openai")
    (folder / "fees.md").write_text(DOCUMENT)
    environment = {**os.environ, "CASEMATE_DATA": str(folder / "data")}

    def casemate(*arguments: str) -> str:
        command = [sys.executable, "-m", "casemate", *arguments]
        return subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout

    casemate("add", str(folder / "fees.md"), "--collection", "fees")
    owner = json.loads(casemate("status", "--json"))["principal"]
    key = json.loads(casemate("key", "create", "--principal", owner, "--json"))["key"]
    up = [sys.executable, "-m", "casemate", "up", "--port", "0"]
    with subprocess.Popen(up, env=environment, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            address = re.search(r"http://\S+", running.stdout.readline())
            assert address is not None
            yield f"{address[0]}/v1", key
        finally:
            running.terminate()
