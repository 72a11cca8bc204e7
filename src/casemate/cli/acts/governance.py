"""Acts around the places where data may flow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from casemate.cli.acts import Item, act

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation


@act("perimeter.list")
async def perimeter_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the declared places."""
    for place in installation.gate.perimeter.places:
        yield {
            "name": place.name,
            "host": place.host,
            "ports": list(place.ports),
            "jurisdiction": place.jurisdiction,
            "ceiling": str(place.ceiling),
        }


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
    )
    yield {"name": arguments["name"], "state": "declared"}


@act("perimeter.remove")
async def perimeter_remove(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Take a place out."""
    installation.gate.perimeter.remove(caller, arguments["name"])
    yield {"name": arguments["name"], "state": "removed"}
