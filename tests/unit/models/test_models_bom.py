"""Bills of materials, against the schema of CycloneDX 1.7."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from casemate.models.bom import bom
from casemate.models.manifest import Manifest
from casemate.models.registry import quote


def a_manifest(**more: Any) -> Manifest:
    parts: dict[str, Any] = {
        "name": "tiny",
        "version": "1",
        "engine": "llama",
        "architecture": "Llama",
        "licence": "Apache-2.0",
        "origin": "Made for a test, https://example.org/tiny.",
        "intended_use": "Tests.",
        "limits": "Many.",
        "label": "unclassified",
        "files": {"w/tiny.gguf": "sha256:" + "1" * 64, "manifest.toml": "sha256:" + "2" * 64},
        "weights": "w/tiny.gguf",
        "release": 2,
    }
    return Manifest.new(**parts | more)


A_REMOTE = a_manifest(
    engine="remote", files={}, weights=None, address="http://10.0.0.1/v1", upstream="x"
)


@pytest.mark.parametrize(
    "manifest",
    [
        a_manifest(),
        a_manifest(licence="Our own terms", evaluation="Read by two people."),
        a_manifest(evaluation=[{"measure": "accuracy", "value": "0.91", "of": "de"}]),
        a_manifest(profile={"system": [{"text": "Think."}]}, adapters={"a": "w/tiny.gguf"}),
        A_REMOTE,
        quote(),
    ],
)
def test_a_bill_of_materials_is_as_the_schema_says(manifest: Manifest) -> None:
    problem = JsonStrictValidator(SchemaVersion.V1_7).validate_str(bom(manifest))
    assert problem is None, problem


def test_it_names_every_file_with_its_digest_and_says_what_the_model_is_for() -> None:
    manifest = a_manifest(evaluation=[{"measure": "accuracy", "value": "0.91", "of": "de"}])
    made = json.loads(bom(manifest))
    assert {one["name"]: one["hashes"] for one in made["components"]} == {
        path: [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}]
        for path, digest in manifest.files.items()
    }
    model = made["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert model["externalReferences"] == [
        {"type": "distribution", "url": "https://example.org/tiny"}
    ]
    assert model["modelCard"]["considerations"] == {
        "useCases": ["Tests."],
        "technicalLimitations": ["Many."],
    }
    assert model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "accuracy", "value": "0.91", "slice": "de"}
    ]


def test_equal_manifests_give_equal_bytes_and_others_another_serial_number() -> None:
    assert bom(a_manifest()) == bom(a_manifest())
    serials = {json.loads(bom(one))["serialNumber"] for one in (a_manifest(), quote(), A_REMOTE)}
    assert len(serials) == 3


def test_the_files_of_a_remote_model_are_said_to_be_unknown() -> None:
    made = json.loads(bom(A_REMOTE))
    assert made["components"] == []
    assert made["compositions"][0]["aggregate"] == "unknown"
    assert "10.0.0.1" not in bom(A_REMOTE)
