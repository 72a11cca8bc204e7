"""The software that made a bundle, as a bill of materials.

Format: CycloneDX 1.6 (ECMA-424), JSON. It names Casemate and what it needs to run, as installed.
"""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

_OWN = "casemate"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def sbom() -> dict[str, Any]:
    """Casemate and the packages that it needs, each with version, address and licence."""
    found: dict[str, Distribution] = {}
    waiting = [_OWN]
    while waiting:
        name = _normal(waiting.pop())
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # of another platform, or of another Python
        waiting += [
            named.group()
            for need in found[name].requires or ()
            if "extra ==" not in need and (named := _NAME.match(need))
        ]
    own = found.pop(_OWN, None)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _component(_OWN, own, "application")},
        "components": [_component(name, found[name], "library") for name in sorted(found)],
    }


def _component(name: str, package: Distribution | None, kind: str) -> dict[str, Any]:
    component: dict[str, Any] = {"type": kind, "name": name}
    if package is None:
        return component
    component["version"] = package.version
    component["purl"] = component["bom-ref"] = f"pkg:pypi/{name}@{package.version}"
    if "License-Expression" in package.metadata:
        component["licenses"] = [{"expression": str(package.metadata["License-Expression"])}]
    elif classified := _classified(package):
        component["licenses"] = [{"license": {"name": classified}}]
    return component


def _classified(package: Distribution) -> str:
    """The licence of a package that names it in its classifiers only."""
    prefix = "License :: "
    for classifier in package.metadata.get_all("Classifier") or ():
        if classifier.startswith(prefix):
            return str(classifier).rsplit(" :: ", 1)[-1]
    return ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
