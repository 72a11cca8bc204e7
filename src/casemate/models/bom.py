"""Bills of materials: what a model is made of, for tools that did not come from here.

Format: CycloneDX 1.7, JSON, with a model card. Equal manifests give equal bytes: there is no time
in it, and the serial number is the UUID of version 5 of the manifest's digest.
"""

from __future__ import annotations

import json
import re
import uuid
from pathlib import PurePosixPath
from typing import Any

from casemate.models.manifest import FILES_UNKNOWN, Manifest
from casemate.models.profile import Profile

# SPDX identifiers under which models are given away; any other licence goes in by its name.
_SPDX = frozenset(
    "AGPL-3.0-only Apache-2.0 BSD-2-Clause BSD-3-Clause CC-BY-4.0 CC-BY-NC-4.0 CC-BY-SA-4.0 "
    "CC0-1.0 EUPL-1.2 GPL-3.0-only LGPL-3.0-only MIT MPL-2.0".split()
)
_KINDS = {
    ".gguf": "application/octet-stream",
    ".json": "application/json",
    ".safetensors": "application/octet-stream",
    ".toml": "application/toml",
    ".txt": "text/plain",
    ".md": "text/markdown",
}


def bom(manifest: Manifest) -> str:
    """The bill of materials of a model."""
    digest = manifest.digest()
    files = [_file(path, content) for path, content in sorted(manifest.files.items())]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest)}",
        "version": 1,
        "metadata": {"component": _model(manifest, digest)},
        "components": files,
        "dependencies": [
            {"ref": digest, "dependsOn": [file["bom-ref"] for file in files]},
            *({"ref": file["bom-ref"]} for file in files),
        ],
        "compositions": [
            {"aggregate": "complete" if manifest.files_known else "unknown", "assemblies": [digest]}
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _model(manifest: Manifest, digest: str) -> dict[str, Any]:
    licence = {"id" if manifest.licence in _SPDX else "name": manifest.licence}
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": digest,
        "name": manifest.name,
        "version": manifest.version,
        "publisher": manifest.origin,
        "description": manifest.intended_use,
        "licenses": [{"license": licence}],
        "modelCard": _card(manifest),
        "properties": _properties(manifest, digest),
    }
    places = re.findall(r"https?://[^\s<>\"]+[^\s<>\".,;)]", manifest.origin)
    if places:
        component["externalReferences"] = [
            {"type": "distribution", "url": place} for place in dict.fromkeys(places)
        ]
    return component


def _card(manifest: Manifest) -> dict[str, Any]:
    card: dict[str, Any] = {
        "modelParameters": {
            "task": "text-generation",
            "modelArchitecture": manifest.architecture,
            "inputs": [{"format": "text"}],
            "outputs": [{"format": "text"}],
        },
        "considerations": {
            "useCases": [manifest.intended_use],
            "technicalLimitations": [manifest.limits],
        },
    }
    if isinstance(manifest.evaluation, str):
        card["properties"] = [_property("evaluation", manifest.evaluation)]
    elif manifest.evaluation:
        card["quantitativeAnalysis"] = {
            "performanceMetrics": [
                {"type": one.measure, "value": one.value} | ({"slice": one.of} if one.of else {})
                for one in manifest.evaluation
            ]
        }
    return card


def _properties(manifest: Manifest, digest: str) -> list[dict[str, str]]:
    pairs: dict[str, object] = {
        "manifest": digest,
        "engine": manifest.engine,
        "label": manifest.label,
        "lineage": manifest.lineage,
        "release": manifest.release,
        "weights": manifest.weights,
        "tokenizer": manifest.tokenizer,
        "context_length": manifest.context_length,
        **_spoken(manifest.profile),
    }
    pairs |= {f"adapter:{name}": path for name, path in (manifest.adapters or {}).items()}
    if not manifest.files_known:
        pairs["files"] = FILES_UNKNOWN
    return [_property(name, value) for name, value in pairs.items() if value is not None]


def _spoken(profile: Profile | None) -> dict[str, object]:
    if profile is None:
        return {}
    return {
        "template": profile.template,
        "thinking": profile.thinking,
        "temperature_thousandths": profile.temperature_thousandths,
        "top_p_thousandths": profile.top_p_thousandths,
        "context_tokens": profile.context_tokens,
    }


def _property(name: str, value: object) -> dict[str, str]:
    return {"name": f"casemate:{name}", "value": str(value)}


def _file(path: str, digest: str) -> dict[str, Any]:
    file: dict[str, Any] = {
        "type": "file",
        "bom-ref": f"file:{path}",
        "name": path,
        "hashes": [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}],
    }
    kind = _KINDS.get(PurePosixPath(path).suffix.lower())
    return file | ({"mime-type": kind} if kind else {})
