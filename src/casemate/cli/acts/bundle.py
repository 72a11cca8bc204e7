"""Acts around bundles: make, import, and whose keys count."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from casemate.cli.acts import Item, act
from casemate.errors import Invalid
from casemate.gate.policy import PolicySet
from casemate.models.bom import bom
from casemate.models.bundle.arrival import Outcome
from casemate.models.bundle.book import TrustedKey
from casemate.models.bundle.bundles import Made
from casemate.models.bundle.carrying import file_source
from casemate.models.bundle.keys import SigningKey, read_public
from casemate.models.bundle.manifest import FOLDERS
from casemate.models.bundle.writing import Source, Step

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation

T = TypeVar("T")


@act("bundle.make")
async def bundle_make(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Write a bundle: how far it has come, and last what was made."""
    names = arguments["models"]
    made = installation.bundles.make(
        caller,
        Path(arguments["out"]),
        await asyncio.to_thread(_sources, installation, caller, arguments),
        sequence=arguments["sequence"],
        keys=[SigningKey.read(Path(place)) for place in arguments["keys"]],
        note=arguments["note"],
        boms={name: json.loads(bom(installation.models.approved(name))) for name in names},
    )
    async for step in _each(made):
        if isinstance(step, Made):
            manifest = step.manifest
            yield {
                "bundle": step.digest,
                "origin": manifest.origin,
                "sequence": manifest.sequence,
                "label": manifest.label,
                "members": len(manifest.contents),
                "signers": list(manifest.signers),
            }
        else:
            yield {"done": step.done, "total": step.total}


@act("bundle.import")
async def bundle_import(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Let a bundle in: how far it has come, what became of its contents, and last itself."""
    async for step in _each(installation.bundles.receive(caller, Path(arguments["file"]))):
        if isinstance(step, Step):
            yield {"done": step.done, "total": step.total}
        elif isinstance(step, Outcome):
            yield {
                "kind": step.kind,
                "name": step.name,
                "outcome": step.outcome,
                "what": step.what,
                "next": step.next,
            }
        else:
            yield {
                "bundle": step.digest,
                "origin": step.manifest.origin,
                "sequence": step.manifest.sequence,
                "label": step.manifest.label,
                "signed_by": list(step.signers),
                "folder": step.folder,
            }


@act("bundle.trust.add")
async def trust_add(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Let a person's key count."""
    key = read_public(Path(arguments["key"]))
    # In a thread: an import may hold the book of keys for as long as it takes.
    made = await asyncio.to_thread(installation.bundles.trust, caller, arguments["name"], key)
    yield _trusted(made)


@act("bundle.trust.list")
async def trust_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the keys that count."""
    for one in await asyncio.to_thread(installation.bundles.trusted, caller):
        yield _trusted(one)


@act("bundle.trust.remove")
async def trust_remove(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Let a key count no more."""
    one = await asyncio.to_thread(installation.bundles.distrust, caller, arguments["name"])
    yield {"name": one.name, "state": "removed"}


def _sources(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> list[Source]:
    """What goes in, as far as ``caller`` may see it."""
    found: list[Source] = []
    for name in arguments["models"]:
        found += installation.carried_models.out(caller, name)
    for name in arguments["collections"]:
        found += installation.carried_documents.out(caller, name)
    policy = installation.gate.country.policy
    label = policy.parse(arguments["label"]) if arguments["label"] else policy.standard()
    for kind, path, place in arguments["files"]:
        if kind == "policy":
            _check_policy(Path(place))
        found.append(
            file_source(Path(place), f"{FOLDERS[kind]}/{path}", kind, label, arguments["licence"])
        )
    return found


def _check_policy(place: Path) -> None:
    """Raise Invalid for what is no policy; nobody on the other side should find that out."""
    try:
        PolicySet.parse({place.name: place.read_bytes()})
    except OSError as problem:
        raise Invalid(f"{place.name} cannot be read: {problem.strerror}.", "Check it.") from None


def _trusted(one: TrustedKey) -> Item:
    return {"name": one.name, "key": one.key.fingerprint, "since": one.since}


async def _each(steps: Iterator[T]) -> AsyncIterator[T]:
    """The same, one after the other, without holding up the event loop."""
    nothing = object()
    try:
        while (one := await asyncio.to_thread(next, steps, nothing)) is not nothing:
            yield one  # type: ignore[misc]
    finally:
        await asyncio.to_thread(steps.close)  # type: ignore[attr-defined]
