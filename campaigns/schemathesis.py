"""Requests that nobody would write, thousands of them, at every address that OpenAPI describes.

    python campaigns/schemathesis.py [--examples 60] [--seed 1] [--face openai] [--least 10000]

Starts an installation of its own with a scripted model behind it (tests/conformance), and puts
schemathesis at ``/v1``, ``/mistral/v1`` and ``/api``: boundary values, what is drawn from the
description, and sequences along its links. It fails on a status of 500 or more but 501, on a
status, media type or body that the description does not have, on an address that hangs, and where
fewer cases were put than ``--least``.

schemathesis is installed into an environment of its own, best with a recent Python:

    uv venv --python 3.13 /somewhere && uv pip install --python /somewhere schemathesis
    python campaigns/schemathesis.py --schemathesis /somewhere/bin/schemathesis
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FACES = {
    "openai": "/v1/openapi.json",
    "mistral": "/mistral/v1/openapi.json",
    "platform": "/api/openapi.json",
}
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)
_NOT_OFFERED = "501"  # says that something is not part of this installation: no fault
CONFIGURATION = f"""\
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", {_NOT_OFFERED}]
"""
_FOUND = re.compile(r"^- (ST\d+ .*)$", re.M)


@dataclass(frozen=True)
class Tried:
    """What came of one face."""

    face: str
    cases: int
    statuses: dict[str, int]
    found: list[str]
    broke: bool  # schemathesis itself came to no end
    said: str

    @property
    def server_errors(self) -> int:
        """Answers that are a fault of ours."""
        return sum(n for one, n in self.statuses.items() if "500" <= one != _NOT_OFFERED)

    @property
    def good(self) -> bool:
        """Whether nothing was found."""
        return not (self.server_errors or self.found or self.broke)


def names_at(url: str, key: str) -> dict[str, Any]:
    """Names of things that there are, some of them made for this: see schemathesis_names.py."""

    def call(path: str, body: Mapping[str, Any] | None = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url + path, content, headers)) as told:
            return json.load(told)

    asked = {"model": "documents", "input": "What is the fee?"}
    responses = [call("/v1/responses", asked)["id"] for _ in range(2)]
    talk = {"model": "chat", "inputs": "Hello"}
    talks = [call("/mistral/v1/conversations", talk)["conversation_id"] for _ in range(2)]
    agents = [call("/mistral/v1/agents", {"model": "chat", "name": "A"})["id"]]
    stores = [one["id"] for one in call("/v1/vector_stores")["data"]]
    files = [one["id"] for one in call(f"/v1/vector_stores/{stores[0]}/files")["data"]]
    runs = [one["id"] for one in call("/api/runs")["runs"]]
    return {
        "model": [one["id"] for one in call("/v1/models")["data"]],
        "paths": {
            "/v1/responses/": {"id": responses},
            "/v1/vector_stores/": {"store": stores, "file": files},
            "/v1/files/": {"id": files},
            "/v1/models/": {"id": ["chat", "gpt-4o"]},
            "/mistral/v1/conversations/": {"id": talks},
            "/mistral/v1/agents/": {"id": agents},
            "/mistral/v1/libraries/": {"library": stores, "document": files},
            "/mistral/v1/models/": {"id": ["chat", "mistral-small-latest"]},
            "/api/runs/": {"id": runs},
            "/api/documents/": {"id": files},
            "/api/collections/": {"name": ["fees"]},
        },
    }


def attack(
    schemathesis: Path,
    url: str,
    face: str,
    key: str,
    *,
    examples: int,
    seed: int,
    log: Path,
    names: Mapping[str, Any],
    phases: str = "examples,coverage,fuzzing,stateful",
) -> Tried:
    """Put ``examples`` cases at each operation of one face, and what the phases add.

    ``names``: of things that there are, as ``names_at`` gives them.
    """
    configuration = log.parent / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    command = [
        str(schemathesis.absolute()),
        "--config-file",
        str(configuration),
        "run",
        url + FACES[face],
        "--header",
        f"Authorization: Bearer {key}",
        "--checks",
        CHECKS,
        "--phases",
        phases,
        "--max-examples",
        str(examples),
        "--seed",
        str(seed),
        "--continue-on-failure",
        "--request-timeout",
        "60",
        "--workers",
        "2",
        "--no-color",
        "--report",
        "ndjson",
        "--report-ndjson-path",
        str(log),
    ]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": str(ROOT / "campaigns" / "schemathesis_names.py"),
        "CASEMATE_NAMES": json.dumps(names),
    }
    done = subprocess.run(command, capture_output=True, text=True, cwd=log.parent, env=environment)
    statuses: Counter[str] = Counter()
    with log.open() as lines:
        for line in lines:
            statuses.update(_statuses(json.loads(line)))
    found = _FOUND.findall(done.stdout)
    broke = bool(done.returncode) and not found
    said = done.stdout + done.stderr
    return Tried(face, statuses.total(), dict(sorted(statuses.items())), found, broke, said)


def _statuses(event: object) -> Iterator[str]:
    """The status of each answer in an event of the report."""
    if isinstance(event, dict):
        response = event.get("response")
        if "request" in event and isinstance(response, dict) and "status_code" in response:
            yield str(response["status_code"])
            return
        event = list(event.values())
    if isinstance(event, list):
        for inner in event:
            yield from _statuses(inner)


def main() -> int:
    """Run, print a line for each face, and fail where anything did."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=60, help="cases of each operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least", type=int, default=10_000, help="cases that there have to be")
    parser.add_argument("--face", choices=list(FACES), action="append")
    parser.add_argument("--schemathesis", type=Path, default=None, help="the program")
    chosen = parser.parse_args()
    program = chosen.schemathesis or Path(os.environ.get("SCHEMATHESIS", "schemathesis"))
    sys.path.insert(0, str(ROOT / "tests" / "conformance"))
    from dialect_house import a_running_server, furnished
    from upstream import Upstream

    bad, total, began = 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Upstream() as upstream:
        key, _ = furnished(Path(folder) / "data", upstream)
        with a_running_server(Path(folder) / "data") as url:
            names = names_at(url, key)
            for face in chosen.face or FACES:
                tried = attack(
                    program,
                    url,
                    face,
                    key,
                    examples=chosen.examples,
                    seed=chosen.seed,
                    log=Path(folder) / f"{face}.ndjson",
                    names=names,
                )
                total += tried.cases
                print(
                    f"{face}: {tried.cases:,} cases, {tried.server_errors} server errors, "
                    f"{len(tried.found)} failed checks, by status {tried.statuses}"
                    + (", and schemathesis itself broke" if tried.broke else ""),
                    flush=True,
                )
                if not tried.good:
                    bad += 1
                    print(tried.said[-20_000:])
    print(f"{total:,} cases in {time.monotonic() - began:.0f} s")
    return 1 if bad or total < chosen.least else 0


if __name__ == "__main__":
    raise SystemExit(main())
