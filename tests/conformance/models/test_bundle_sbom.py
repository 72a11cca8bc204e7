"""The bill of materials in a bundle against CycloneDX's own schema."""

from __future__ import annotations

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from casemate.ledger.receipt import canonical
from casemate.models.bundle.inventory import sbom


def test_the_software_that_makes_bundles_is_listed_as_cyclonedx_asks() -> None:
    found = sbom()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(canonical(found).decode()) is None
    names = {one["name"] for one in found["components"]}
    assert {"aiohttp", "cryptography", "sqlalchemy", "yarl"} <= names
    assert "pytest" not in names
    assert found["metadata"]["component"]["name"] == "casemate"
