"""Builders for tests of bundles: who signs, what is made, and what comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from house_builders import House

from casemate.gate.caller import Caller
from casemate.models.bundle.arrival import Outcome
from casemate.models.bundle.bundles import Made, Received
from casemate.models.bundle.keys import SigningKey, make_key, read_public
from casemate.models.bundle.writing import Source

NAMES = ("anna", "bob")


def keys(folder: Path) -> list[SigningKey]:
    """The keys of Anna and Bob."""
    for name in NAMES:
        if not (folder / name).exists():
            make_key(folder / name)
    return [SigningKey.read(folder / name) for name in NAMES]


def trusting(house: House, folder: Path) -> None:
    """Let the keys of Anna and Bob count in a house."""
    keys(folder)
    for name in NAMES:
        house.installation.bundles.trust(house.owner, name, read_public(folder / f"{name}.pub"))


def a_source(path: str, content: bytes, house: House, label: str = "unclassified") -> Source:
    kind = {"documents": "document", "policies": "policy", "adapters": "adapter"}
    return Source(path, kind[path.split("/")[0]], house.label(label), "", lambda: iter([content]))


def made(house: House, out: Path, sources: list[Source], sequence: int = 1, **more: Any) -> Made:
    options = {"note": "", "boms": {}, **more}
    if "keys" not in options:
        options["keys"] = keys(out.parent)
    *_, last = house.installation.bundles.make(
        options.pop("actor", house.owner), out, sources, sequence=sequence, **options
    )
    assert isinstance(last, Made)
    return last


def received(
    house: House, place: Path, actor: Caller | None = None
) -> tuple[dict[str, str], Received]:
    """What became of the contents by name, and the bundle."""
    steps = list(house.installation.bundles.receive(actor or house.owner, place))
    assert isinstance(steps[-1], Received)
    return {one.name: one.outcome for one in steps if isinstance(one, Outcome)}, steps[-1]


def bundle_entries(house: House) -> list[dict[str, Any]]:
    return [one for one in house.entries() if one["kind"].startswith("bundle.")]


def nothing_left(house: House) -> bool:
    """Whether no arrival left anything in the data folder."""
    data = house.installation.folder.path
    return not (data / "quarantine").exists() and not (data / "incoming").exists()
