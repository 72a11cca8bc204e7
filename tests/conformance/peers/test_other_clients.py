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
PAGES = ROOT / "docs" / "how-to" / "clients"
ADDRESS = "http://127.0.0.1:8470"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
_KEYS = re.compile(r"\$\{\{ secrets\.CASEMATE_KEY \}\}|\$\{CASEMATE_KEY\}")


def blocks_of(page: str, kind: str) -> list[str]:
    """What stands in the fenced blocks of one kind."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    return [block for found, block in _BLOCK.findall(text) if found == kind]


PYTHON = [
    pytest.param(text, id=f"{page.stem}-{number}")
    for page in sorted(PAGES.glob("*.md"))
    for number, text in enumerate(blocks_of(page.stem, "python"))
]


@pytest.mark.parametrize("text", PYTHON)
def test_the_lines_of_a_page_ask_documents_or_make_a_vector(ran, dialects, text):
    said = ran(script=text.replace(ADDRESS, dialects.url))
    assert (
        said.strip() == "8"
        if 'model="vectors"' in text or "vectors =" in text
        else "12 euros" in said
    )


@pytest.mark.parametrize("text", blocks_of("javascript", "js"), ids=("openai", "mistral", "aisdk"))
def test_the_lines_for_javascript_ask_documents(javascript, dialects, text):
    script = javascript / "lines.mjs"
    script.write_text(text.replace(ADDRESS, dialects.url))
    told = subprocess.run(
        ["node", script],
        env={"PATH": os.environ["PATH"], "KEY": dialects.key},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert "12 euros" in told.stdout, told


def test_the_command_llm_asks_documents(ran, peers, dialects, tmp_path):
    (text,) = blocks_of("llm", "yaml")
    (tmp_path / "extra-openai-models.yaml").write_text(text.replace(ADDRESS, dialects.url))
    ran(str(peers / "llm"), "keys", "set", "casemate", "--value", dialects.key)
    said = ran(str(peers / "llm"), "-m", "casemate", "--no-stream", "What is the fee?")
    assert "12 euros" in said
    assert said == ran(str(peers / "llm"), "-m", "casemate", "What is the fee?")


def test_the_command_of_continue_asks_documents(continue_cli, dialects, tmp_path):
    (text,) = blocks_of("continue", "yaml")
    settings = tmp_path / "config.yaml"
    settings.write_text(_KEYS.sub(dialects.key, text.replace(ADDRESS, dialects.url)))
    told = subprocess.run(
        [continue_cli, "--config", settings, "--exclude", "*", "-p", "What is the fee?"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CONTINUE_TELEMETRY_ENABLED": "0"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert "12 euros" in told.stdout, told


def test_the_settings_of_programs_name_addresses_and_models_that_are_there(dialects):
    """Of those that are not run here: they are read as these programs read them, and followed."""
    (librechat,) = map(yaml.safe_load, blocks_of("librechat", "yaml"))
    (continues,) = map(yaml.safe_load, blocks_of("continue", "yaml"))
    (node,) = map(json.loads, blocks_of("n8n", "json"))
    (open_webui,) = blocks_of("open-webui", "sh")
    named = [(model["apiBase"], model["model"]) for model in continues["models"]]
    named += [
        (endpoint["baseURL"], model)
        for endpoint in librechat["endpoints"]["custom"]
        for model in endpoint["models"]["default"]
    ]
    (written,) = re.findall(r"OPENAI_API_BASE_URL=(\S+)", open_webui)
    named += [(written, "documents"), (written, node["parameters"]["model"]["value"])]
    assert len(named) == 5
    for address, model in named:
        url = f"{address.replace(ADDRESS, dialects.url).rstrip('/')}/models/{model}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {dialects.key}"})
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["id"] == model


@pytest.mark.parametrize("text", blocks_of("curl", "sh"), ids=("openai", "mistral", "platform"))
def test_curl_asks_documents(dialects, tmp_path, text):
    if shutil.which("curl") is None:
        if os.environ.get("REQUIRE_CLIENTS") == "1":
            pytest.fail("curl is missing: apt-get install curl")
        pytest.skip("needs curl")
    told = subprocess.run(
        ["sh", "-e", "-c", text.replace(ADDRESS, dialects.url)],
        env={**os.environ, "KEY": dialects.key},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "12 euros" in told.stdout
    receipt = tmp_path / "receipt.json"
    assert receipt.exists() == ("receipt" in text)
    assert not receipt.exists() or json.loads(receipt.read_bytes())
