"""Clients that others wrote, as the page about them says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "how-to" / "other-clients.md"
ADDRESS = "http://127.0.0.1:8470"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
BLOCKS = [(kind, text) for kind, text in _BLOCK.findall(PAGE.read_text(encoding="utf-8"))]
SETTINGS = [text for kind, text in BLOCKS if kind == "yaml" and "model_id" not in text]
PYTHON = [text for kind, text in BLOCKS if kind == "python"]


def name_of(text: str) -> str:
    imported = [line for line in text.splitlines() if re.match(r"(from|import) (?!os)", line)]
    return imported[-1].split()[1]


@pytest.mark.parametrize("text", PYTHON, ids=name_of)
def test_the_lines_of_the_page_ask_documents(ran, dialects, text):
    assert "12 euros" in ran(script=text.replace(ADDRESS, dialects.url))


def test_the_command_llm_asks_documents(ran, peers, dialects, tmp_path):
    (text,) = [text for kind, text in BLOCKS if kind == "yaml" and "model_id" in text]
    (tmp_path / "extra-openai-models.yaml").write_text(text.replace(ADDRESS, dialects.url))
    ran(str(peers / "llm"), "keys", "set", "casemate", "--value", dialects.key)
    said = ran(str(peers / "llm"), "-m", "casemate", "--no-stream", "What is the fee?")
    assert "12 euros" in said
    assert said == ran(str(peers / "llm"), "-m", "casemate", "What is the fee?")


def test_the_settings_of_programs_name_addresses_and_models_that_are_there(dialects):
    """Of those that are not run here: they are read as these programs read them, and followed."""
    named = [
        (model["apiBase"], model["model"])
        for settings in map(yaml.safe_load, SETTINGS)
        for model in settings.get("models", ())
    ] + [
        (endpoint["baseURL"], model)
        for settings in map(yaml.safe_load, SETTINGS)
        for endpoint in settings.get("endpoints", {}).get("custom", ())
        for model in endpoint["models"]["default"]
    ]
    assert len(named) == 3
    for address, model in named:
        url = f"{address.replace(ADDRESS, dialects.url).rstrip('/')}/models/{model}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {dialects.key}"})
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["id"] == model


def test_curl_asks_documents(dialects):
    if shutil.which("curl") is None:
        if os.environ.get("REQUIRE_CLIENTS") == "1":
            pytest.fail("curl is missing: apt-get install curl")
        pytest.skip("needs curl")
    (text,) = [text for kind, text in BLOCKS if kind == "sh"]
    told = subprocess.run(
        ["sh", "-c", text.replace(ADDRESS, dialects.url)],
        env={**os.environ, "KEY": dialects.key},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "12 euros" in json.loads(told.stdout)["choices"][0]["message"]["content"]
