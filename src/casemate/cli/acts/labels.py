"""Acts around labels: show, list, export, import, downgrade."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from casemate.cli.acts import Item, act
from casemate.gate.acts import stamp

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.confidentiality import Confidentiality
    from casemate.gate.label import Label
    from casemate.installation import Installation


@act("label.list")
async def label_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the levels of every policy, lowest first, with what each is equivalent to."""
    scale = installation.gate.country.policy.scale
    for rung in scale.rungs:
        for text in rung:
            id, _, name = text.partition(":")
            policy = scale.policies[id]
            level = policy.level(name)
            yield {
                "level": text,
                "marking": level.marking["en"],
                "name": level.names["en"],
                "equivalent": [other for other in rung if other != text],
                "binds": policy.binds,
            }


@act("label.show")
async def label_show(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield what a label says: one that is written, or that of a document or a collection."""
    if arguments.get("label"):
        label = installation.gate.country.policy.parse(arguments["label"])
        yield _label(installation, caller, label)
        return
    found = await asyncio.to_thread(_found, installation, caller, arguments)
    yield {
        **_label(installation, caller, found.label),
        "created": stamp(found.created),
        "review": None if found.review is None else stamp(found.review),
        "originator": None if found.originator is None else str(found.originator),
    }


@act("label.export")
async def label_export(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the label of a document or a collection as STANAG 4774 XML."""
    found = await asyncio.to_thread(_found, installation, caller, arguments)
    yield {"label": str(found.label), "xml": found.xml().decode()}


@act("label.import")
async def label_import(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Make a collection with the label of a STANAG 4774 XML text."""
    readers = arguments.get("readers")
    made = await asyncio.to_thread(
        installation.labelled.adopt,
        caller,
        arguments["xml"].encode("utf-8", "surrogateescape"),
        arguments["collection"],
        None if readers is None else tuple(readers),
    )
    yield {
        "collection": made.name,
        "label": str(made.label),
        "originator": made.originator,
        "review": made.review,
    }


@act("downgrade.request")
async def downgrade_request(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Ask for a downgrade."""
    yield msgspec.to_builtins(
        await asyncio.to_thread(
            installation.downgrades.request,
            caller,
            arguments["document"],
            into=arguments["into"],
            reason=arguments["reason"],
        )
    )


@act("downgrade.list")
async def downgrade_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield downgrades."""
    for one in await asyncio.to_thread(installation.downgrades.list, caller):
        yield msgspec.to_builtins(one)


@act("downgrade.approve")
async def downgrade_approve(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Approve a downgrade, as a second person."""
    approve = installation.downgrades.approve
    yield msgspec.to_builtins(await asyncio.to_thread(approve, caller, arguments["id"]))


@act("downgrade.reject")
async def downgrade_reject(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Reject a downgrade."""
    reject = installation.downgrades.reject
    yield msgspec.to_builtins(await asyncio.to_thread(reject, caller, arguments["id"]))


def _found(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> Confidentiality:
    if arguments.get("document"):
        return installation.labelled.document(caller, arguments["document"])
    return installation.labelled.collection(caller, arguments["collection"])


def _label(installation: Installation, caller: Caller, label: Label) -> dict[str, Any]:
    communities = label.releasable_to
    return {
        "label": str(label),
        "marking": label.marking(),
        "name": label.policy.level(label.level).names["en"],
        "policies": sorted({label.policy.id, *label.also}),
        "compartments": sorted(label.compartments),
        "releasable_to": None if communities is None else sorted(communities),
        "readable": caller.principal.clearance.dominates(label),
        "isolation": sorted(installation.gate.country.isolation(label)),
    }
