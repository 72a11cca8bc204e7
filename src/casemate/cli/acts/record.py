"""The state of the installation, and its settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from casemate.cli.acts import Item, act
from casemate.settings import describe

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation
    from casemate.oversight.witnessing import Witnessing


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
        "ledger_origin": installation.log.origin,
        **({} if installation.witnessing is None else _witnesses(installation.witnessing)),
    }


def _witnesses(witnessing: Witnessing) -> dict[str, Any]:
    policy = witnessing.policy
    return {
        "witnesses": f"{policy['needed']} of {policy['of']} needed, failing {policy['failing']}",
        "witness_problems": list(witnessing.problems.values()),
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
