"""Writes requirements/*.txt: every package that is installed, pinned, with the hashes of its files.

Base is what the platform needs to run, build what makes its package, dev everything. Run it after
a change of dependencies in pyproject.toml, or to take newer releases (--upgrade). It works in a
throw-away environment and leaves no address in the files.

Usage: python tools/pin.py [--upgrade]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "requirements"
HEAD = "# {what}\n# Made by tools/pin.py from pyproject.toml; do not edit.\n"
WHAT = {
    "base": "What Casemate needs to run.",
    "llama": "Base, and what running models here needs (casemate[llama]).",
    "build": "What makes Casemate's package.",
    "dev": "Everything: base, llama, build, and what checks and tests need.",
    "peers": "Clients that others wrote, for an environment of their own beside Casemate's.",
    "peers-llamaindex": "LlamaIndex, whose needs exclude those of other clients.",
}


def wanted(project: dict[str, Any], name: str) -> list[str]:
    """The requirements of one file, as pyproject.toml states them."""
    base = list(project["project"]["dependencies"])
    groups = project["dependency-groups"]
    build = list(groups["build"])
    llama = base + list(project["project"]["optional-dependencies"]["llama"])
    extras = project["project"]["optional-dependencies"]
    more = [one for extra in ("otel", "saml") for one in extras[extra]]
    own = ("casemate[llama]", "casemate[otel]", "casemate[saml]")
    dev = more + [one for one in groups["dev"] if isinstance(one, str) and one not in own]
    return {
        "base": base,
        "llama": llama,
        "build": build,
        "dev": llama + build + dev,
        "peers": list(groups["peers"]),
        "peers-llamaindex": list(groups["peers-llamaindex"]),
    }[name]


def compile_pins(tools: Path, name: str, asked: list[str], *, upgrade: bool) -> str:
    """The pinned text for ``asked``; what base pins, dev pins alike."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, f"{name}.in"), Path(folder, f"{name}.txt")
        lines = list(asked)
        if name != "base" and not name.startswith("peers"):
            lines.append(f"-c {PINS / 'base.txt'}")
        source.write_text("\n".join(lines) + "\n")
        known = PINS / f"{name}.txt"
        if known.exists() and not upgrade:
            target.write_bytes(known.read_bytes())
        command = [str(tools / "bin" / "pip-compile"), "--quiet", "--generate-hashes"]
        command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-options"]
        command += ["--no-emit-trusted-host", "--no-emit-find-links", "--strip-extras"]
        command += ["--allow-unsafe"]  # what installers like is pinned as well
        command += ["--output-file", str(target), str(source)]
        if upgrade:
            command.append("--upgrade")
        # a machine's own wheels and caps have no place in files for everybody
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PIP_FIND_LINKS", "PIP_CONSTRAINT", "PIP_EXTRA_INDEX_URL")
        }
        subprocess.run(command, check=True, env=environment | {"PIP_CONFIG_FILE": os.devnull})
        return target.read_text()


def main() -> int:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--upgrade", action="store_true", help="take the newest releases")
    chosen = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    PINS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tools = Path(folder, "tools")
        venv.create(tools, with_pip=True)
        pip = [str(tools / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--upgrade", "pip"], check=True)
        subprocess.run([*pip, "pip-tools"], check=True)
        for name, what in WHAT.items():
            pins = compile_pins(tools, name, wanted(project, name), upgrade=chosen.upgrade)
            if "://" in pins:
                print(f"{name}: an address crept in; nothing was written.", file=sys.stderr)
                return 1
            lines = [line for line in pins.splitlines() if line and not line.startswith("#")]
            text = HEAD.format(what=what) + "\n".join(lines).strip("\n") + "\n"
            (PINS / f"{name}.txt").write_text(text)
            print(f"requirements/{name}.txt: {sum('==' in line for line in lines)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
