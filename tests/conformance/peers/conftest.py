"""``peers`` and ``llamaindex``: folders of programs; ``ran`` runs one of them, or a script."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from peer_environments import programs_of, programs_of_npm


@pytest.fixture(scope="session")
def peers() -> Path:
    return programs_of("peers")


@pytest.fixture(scope="session")
def llamaindex() -> Path:
    return programs_of("peers-llamaindex")


@pytest.fixture(scope="session")
def continue_cli() -> Path:
    return programs_of_npm("@continuedev/cli", "1.5.47") / "cn"


@pytest.fixture
def ran(request, dialects, tmp_path):
    """Runs a script, or a program of an environment; what it prints."""

    def run(*command: str, script: str = "") -> str:
        programs = request.getfixturevalue("llamaindex" if "llama_index" in script else "peers")
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "KEY": dialects.key,
            "URL": dialects.url,
            # Nothing of this may look for somebody far away.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "HAYSTACK_TELEMETRY_ENABLED": "False",
            "HF_HUB_OFFLINE": "1",
            "DO_NOT_TRACK": "1",
            "LLM_USER_PATH": str(tmp_path),
        }
        told = subprocess.run(
            command or (str(programs / "python"), "-c", script),
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert told.returncode == 0, told.stderr[-4000:]
        return told.stdout

    return run
