"""Acts that erase, and that keep from erasing: forgetting, legal holds, retention."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from casemate.cli.acts import Item, act
from casemate.oversight.forgetting import Forgotten

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation


@act("forget.plan")
async def forget_plan(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield what forgetting somebody would destroy."""
    plan = installation.forgetting.plan
    yield _told(await asyncio.to_thread(plan, caller, arguments["name"], arguments["basis"]))


@act("forget")
async def forget(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Forget somebody; a command that goes away meanwhile does not stop it."""
    does = installation.forgetting.forget
    yield _told(await asyncio.to_thread(does, caller, arguments["name"], arguments["basis"]))


@act("hold.add")
async def hold_add(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Place a legal hold."""
    wanted = (arguments[name] for name in ("kind", "target", "reason", "until"))
    yield msgspec.to_builtins(await asyncio.to_thread(installation.holds.place, caller, *wanted))


@act("hold.list")
async def hold_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield legal holds."""
    for hold in await asyncio.to_thread(installation.holds.list, caller):
        yield msgspec.to_builtins(hold)


@act("hold.lift")
async def hold_lift(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """End a legal hold."""
    lift = installation.holds.lift
    yield msgspec.to_builtins(
        await asyncio.to_thread(lift, caller, arguments["id"], arguments["reason"])
    )


@act("retention.run")
async def retention_run(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Erase what is older than its use case's retention; yield what became of each."""
    for applied in await asyncio.to_thread(installation.retention.run, caller):
        yield msgspec.to_builtins(applied)


def _told(forgotten: Forgotten) -> Item:
    built: dict[str, Any] = msgspec.to_builtins(forgotten)
    return built
