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
    installation.gate.perimeter.add(
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
    installation.gate.perimeter.remove(caller, arguments["name"])
    yield {"name": arguments["name"], "state": "removed"}


@act("perimeter.reload")
async def perimeter_reload(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Put the file as it is now into force."""
    for place in installation.gate.perimeter.reload(caller):
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
        text = rules.nftables(openings, arguments.get("account") or _account(), perimeter.digest)
    else:
        text = rules.systemd(
            openings,
            perimeter.digest,
            folder=str(installation.folder.path.resolve()),
            called_by=[_network(one) for one in arguments.get("called_by") or ()],
        )
    yield {"format": arguments["format"], "perimeter": perimeter.digest, "text": text}


def _shown(place: Place) -> Item:
    return {"within": [], "transports": ["tcp"], "bucket": "", **place.plain()}


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
