"""The act of applying a declaration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from casemate.cli.acts import Item, act
from casemate.oversight.declaration import Declaration

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation


@act("plan")
async def plan(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Say what applying would do, item by item."""
    declaration = Declaration.parse(arguments["declaration"])
    for change in await asyncio.to_thread(installation.applying.plan, caller, declaration):
        yield msgspec.to_builtins(change)


@act("apply")
async def apply(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Apply a declaration, and say what became of each item."""
    declaration = Declaration.parse(arguments["declaration"])
    for change in await asyncio.to_thread(installation.applying.apply, caller, declaration):
        yield msgspec.to_builtins(change)
