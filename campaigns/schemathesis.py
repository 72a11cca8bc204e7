"""Requests that nobody would write, thousands of them, at every address that OpenAPI describes.

    python campaigns/schemathesis.py [--examples 150] [--seed 1] [--face openai]

Starts an installation of its own with a scripted model behind it (tests/conformance), and puts
schemathesis at ``/v1``, ``/mistral/v1`` and ``/api``. It fails on a status of 500 or more, on a
status, media type or body that the description does not have, and on an address that hangs.

schemathesis is installed into an environment of its own: requirements/peers.txt has it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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


def attack(
    schemathesis: Path,
    url: str,
    face: str,
    key: str,
    *,
    examples: int,
    seed: int,
    log: Path,
    phases: str = "examples,coverage,fuzzing",
) -> Tried:
    """Put ``examples`` cases at each operation of one face, and what the phases add."""
    command = [
        str(schemathesis.absolute()),
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
    done = subprocess.run(command, capture_output=True, text=True, cwd=log.parent)
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
    parser.add_argument("--examples", type=int, default=150, help="cases of each operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--face", choices=list(FACES), action="append")
    parser.add_argument("--schemathesis", type=Path, default=None, help="the program")
    chosen = parser.parse_args()
    program = chosen.schemathesis or Path(os.environ.get("SCHEMATHESIS", "schemathesis"))
    sys.path.insert(0, str(ROOT / "tests" / "conformance"))
    from dialect_house import a_running_server, furnished
    from upstream import Upstream

    bad = 0
    with tempfile.TemporaryDirectory() as folder, Upstream() as upstream:
        key, _ = furnished(Path(folder) / "data", upstream)
        with a_running_server(Path(folder) / "data") as url:
            for face in chosen.face or FACES:
                tried = attack(
                    program,
                    url,
                    face,
                    key,
                    examples=chosen.examples,
                    seed=chosen.seed,
                    log=Path(folder) / f"{face}.ndjson",
                )
                server_errors = sum(n for one, n in tried.statuses.items() if one >= "500")
                print(
                    f"{face}: {tried.cases} cases, {server_errors} server errors, "
                    f"{len(tried.found)} failed checks, by status {tried.statuses}"
                    + (", and schemathesis itself broke" if tried.broke else "")
                )
                if server_errors or tried.found or tried.broke or not tried.cases:
                    bad += 1
                    print(tried.said[-20_000:])
    return bad


if __name__ == "__main__":
    raise SystemExit(main())
