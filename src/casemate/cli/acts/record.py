"""Acts on the ledger, and the state of the installation."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from casemate.cli.acts import Item, act
from casemate.errors import Invalid
from casemate.settings import describe

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation


@act("ledger.key")
async def ledger_key(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the verifying key."""
    yield {"vkey": installation.log.vkey}


@act("ledger.check")
async def ledger_check(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Re-hash the whole log."""
    installation.gate.require(caller, "audit")
    count = await asyncio.to_thread(installation.log.check)
    yield {"entries": count, "origin": installation.log.vkey.split("+", 1)[0]}


@act("ledger.show")
async def ledger_show(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield one entry."""
    installation.gate.require(caller, "audit")
    yield _entry(arguments["index"], installation.log.entry(arguments["index"]))


@act("ledger.search")
async def ledger_search(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the entries whose fields have the given values; none given: every entry."""
    installation.gate.require(caller, "audit")
    wanted = {name: value for name, value in arguments["fields"].items() if value is not None}
    for index, raw in installation.log.entries():
        entry = msgspec.json.decode(raw)
        if all(entry.get(name) == value for name, value in wanted.items()):
            yield _entry(index, raw)


@act("ledger.export")
async def ledger_export(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield every entry with its exact bytes."""
    installation.gate.require(caller, "audit")
    for index, raw in installation.log.entries():
        yield {**_entry(index, raw), "bytes": base64.b64encode(raw).decode()}


@act("status")
async def status(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield how things stand."""
    yield {
        "principal": caller.principal.name,
        "clearance": str(caller.principal.clearance),
        "collections": len(installation.library.collections(caller)),
        "documents": len(installation.library.documents(caller)),
        "use_cases": len(installation.gate.use_cases.list(caller)),
        "ledger_entries": installation.log.size,
        "ledger_origin": installation.log.vkey.split("+", 1)[0],
    }


@act("settings")
async def settings(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield every setting."""
    for setting in describe(installation.settings):
        yield {
            "name": setting.name,
            "variable": setting.variable,
            "value": setting.value,
            "default": setting.default,
            "description": setting.description,
        }


def _entry(index: int, raw: bytes) -> Item:
    try:
        return {"index": index, "entry": msgspec.json.decode(raw)}
    except msgspec.DecodeError as problem:
        raise Invalid(f"Entry {index} is not JSON.", "Run `casemate ledger check`.") from problem
