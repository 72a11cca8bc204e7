"""Environments of others' clients; ``ran`` runs a program or a script in one of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from peer_environments import folder_of_npm, programs_of


@pytest.fixture(scope="session")
def peers() -> Path:
    return programs_of("peers")


@pytest.fixture(scope="session")
def llamaindex() -> Path:
    return programs_of("peers-llamaindex")


@pytest.fixture(scope="session")
def continue_cli() -> Path:
    return folder_of_npm("continue", "@continuedev/cli@1.5.47") / "node_modules" / ".bin" / "cn"


@pytest.fixture(scope="session")
def javascript() -> Path:
    """A folder from which scripts find the packages for JavaScript."""
    return folder_of_npm(
        "javascript",
        "openai@6.49.0",
        "@mistralai/mistralai@2.7.0",
        "ai@6.0.326",
        "@ai-sdk/mistral@3.0.69",
        "@ai-sdk/openai@3.0.141",
        "@ai-sdk/openai-compatible@2.0.92",
        "zod@4.6.7",
    )


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
