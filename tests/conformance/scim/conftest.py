"""A real installation on loopback, for SCIM's own tools."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from scim_service import DIRECTORY, Service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("scim")
    (folder / "data").mkdir()
    (folder / "data" / "directory.toml").write_text(DIRECTORY)
    environment = {**os.environ, "CASEMATE_DATA": str(folder / "data")}

    def casemate(*arguments: str) -> str:
        command = [sys.executable, "-m", "casemate", *arguments]
        return subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout

    casemate("user", "create", "directory", "--service", "--role", "provisioner")
    key = json.loads(casemate("key", "create", "--principal", "directory", "--json"))["key"]
    up = [sys.executable, "-m", "casemate", "up", "--port", "0"]
    with subprocess.Popen(up, env=environment, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            address = re.search(r"http://\S+", running.stdout.readline())
            assert address is not None
            assert "ready" in address.string
            for line in running.stdout:
                if line.startswith("Stop with"):
                    break
            yield Service(address[0], key, casemate)
        finally:
            running.terminate()
