"""Makes the package ``casemate_verify`` from the modules that Casemate itself verifies with.

There is one source, ``src/casemate/ledger``; this copies the modules that the verifier needs and
gives their imports the other package's name. Nothing else in them changes.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULES = (
    "command",
    "cosignature",
    "folder",
    "merkle",
    "note",
    "pair",
    "proof",
    "quotation",
    "receipt",
    "verdict",
    "verify",
)
PACKAGE = "casemate_verify"
INIT = '"""Checks a Casemate receipt: offline, with nothing but the log\'s verifying key."""\n'
MAIN = '"""``python -m casemate_verify``: the command line."""\n\n'
MAIN += "import sys\n\nfrom casemate_verify.command import main\n\nsys.exit(main())\n"


class VerifierBuildHook(BuildHookInterface):
    """Adds the package to the wheel or the source distribution that is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the package in a folder of its own and have it included."""
        root = Path(self.root)
        self.made = Path(tempfile.mkdtemp(prefix="casemate-verify-"))
        ready = root / PACKAGE
        if ready.is_dir():  # a source distribution, which holds it already
            shutil.copytree(ready, self.made / PACKAGE)
            licence = root / "LICENSE"
        else:
            make(root.parent / "src" / "casemate" / "ledger", self.made / PACKAGE)
            licence = root.parent / "LICENSE"
        for path in sorted((self.made / PACKAGE).iterdir()):
            build_data["force_include"][str(path)] = f"{PACKAGE}/{path.name}"
        where = "LICENSE" if self.target_name == "sdist" else f"{PACKAGE}/LICENSE"
        build_data["force_include"][str(licence)] = where

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was made."""
        shutil.rmtree(self.made)


def make(ledger: Path, package: Path) -> None:
    """Write ``casemate_verify`` into ``package`` from the modules in ``ledger``."""
    package.mkdir(parents=True)
    for name in MODULES:
        text = (ledger / f"{name}.py").read_text(encoding="utf-8")
        text = text.replace("casemate.ledger", PACKAGE)
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    (package / "__init__.py").write_text(INIT, encoding="utf-8")
    (package / "__main__.py").write_text(MAIN, encoding="utf-8")
    (package / "py.typed").touch()
