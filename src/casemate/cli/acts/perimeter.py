"""Acts on the perimeter: the places, what is configured outside of them, rules, the proof."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import pwd
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from casemate.cli.acts import Item, act
from casemate.errors import Invalid

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.place import Network, Place
    from casemate.installation import Installation


@act("perimeter.list")
async def perimeter_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the declared places."""
    for place in installation.gate.perimeter.places:
        yield _shown(place)


@act("perimeter.add")
async def perimeter_add(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Declare a place."""
    policy = installation.gate.country.policy
    # In a thread: it is confirmed once every process that serves has taken it over.
    await asyncio.to_thread(
        installation.gate.perimeter.add,
        caller,
        name=arguments["name"],
        host=arguments["host"],
        ports=arguments.get("ports") or (),
        jurisdiction=arguments["jurisdiction"],
        ceiling=policy.parse(arguments["ceiling"]),
        within=arguments.get("within") or (),
        transports=arguments.get("transports") or ("tcp",),
        bucket=arguments.get("bucket") or "",
    )
    yield {"name": arguments["name"], "state": "declared"}


@act("perimeter.remove")
async def perimeter_remove(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Take a place out."""
    await asyncio.to_thread(installation.gate.perimeter.remove, caller, arguments["name"])
    yield {"name": arguments["name"], "state": "removed"}


@act("perimeter.reload")
async def perimeter_reload(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Put the file as it is now into force."""
    for place in await asyncio.to_thread(installation.gate.perimeter.reload, caller):
        yield _shown(place)


@act("perimeter.check")
async def perimeter_check(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield every address that is configured, and whether it lies inside."""
    for one in await asyncio.to_thread(installation.configured):
        yield asdict(one)


@act("perimeter.rules")
async def perimeter_rules(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the rules for the kernel as a text."""
    from casemate.gate import rules

    perimeter = installation.gate.perimeter

    def opened() -> list[rules.Opening]:
        return [
            rules.Opening.of(place, () if place.within else perimeter.addresses(place))
            for place in perimeter.places
        ]

    openings = await asyncio.to_thread(opened)
    if arguments["format"] == "nftables":
        account = arguments.get("account") or _account()
        text = rules.nftables(openings, account, perimeter.digest, _relay(installation))
    else:
        text = rules.systemd(
            openings,
            perimeter.digest,
            folder=str(installation.folder.path.resolve()),
            called_by=[_network(one) for one in arguments.get("called_by") or ()],
        )
    yield {"format": arguments["format"], "perimeter": perimeter.digest, "text": text}


@act("perimeter.prove")
async def perimeter_prove(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Try to get out in every way; yield what came of it."""
    from casemate.oversight.proving import FOLDER, Proving

    gate = installation.gate
    gate.require(caller, "audit")
    lowest = gate.country.policy.lowest()
    proving = Proving(gate.perimeter, gate.acts, installation.folder.path, lowest)
    proof = await proving.prove(caller)
    yield {
        "report": proof.digest,
        "kept": f"{FOLDER}/{proof.digest.removeprefix('sha256:')}.json",
        "entry": proof.entry,
        **proof.counts,
        "ways": [asdict(way) for way in proof.ways],
    }


def _shown(place: Place) -> Item:
    return {"within": [], "transports": ["tcp"], "bucket": "", **place.plain()}


def _relay(installation: Installation) -> int:
    chosen = installation.settings
    if not (chosen.blobs or chosen.ledger):
        return 0
    if not chosen.relay_port:
        raise Invalid(
            "The relay to buckets has no fixed port that the rules could name.",
            "Choose one with the setting `relay_port`, for instance 8472.",
        )
    return chosen.relay_port


def _account() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise Invalid(f"{text[:80]!r} is not a network.", "For instance 10.1.0.0/16.") from None
