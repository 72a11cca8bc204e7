"""Acts: what commands do. Each takes the installation, the caller and arguments; yields data."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

from casemate.errors import Invalid

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation

Item = Mapping[str, Any]
Act = Callable[["Installation", "Caller", Mapping[str, Any]], AsyncIterator[Item]]

_MODULES = (
    *("asking", "bundle", "documents", "forget", "models", "people", "perimeter", "pull"),
    "quota",
    *("apply", "labels", "ledger", "policy", "record", "usecase"),
)
_acts: dict[str, Act] = {}


def act(name: str) -> Callable[[Act], Act]:
    """Register an act under ``name``."""

    def register(function: Act) -> Act:
        _acts[name] = function
        return function

    return register


def named(name: str) -> Act:
    """The act of that name. Raises Invalid."""
    for module in _MODULES:
        if name not in _acts:
            importlib.import_module(f"casemate.cli.acts.{module}")
    if name not in _acts:
        raise Invalid(f"This Casemate knows no act “{name}”.", "Use the same version on both ends.")
    return _acts[name]


async def perform(
    installation: Installation, name: str, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Perform an act as the owner of the data folder, or as ``arguments["principal"]``.

    That the owner acts as somebody else is in the ledger before the act begins, even if it only
    reads.
    """
    from casemate.gate.caller import Caller

    wanted = named(name)
    caller = installation.gate.owner()
    acting = arguments.get("principal")
    if acting:
        owner, other = caller.principal, installation.gate.principals.colleague(caller, acting)
        if other.id != owner.id:
            await asyncio.to_thread(
                installation.gate.acts.record,
                "acted.as",
                owner,
                principal=other.pseudonym,
                act=name,
            )
            caller = Caller(other, None, "local")
    async for item in wanted(installation, caller, arguments):
        yield item
