"""The state of the installation, and its settings."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from casemate import __version__
from casemate.cli.acts import Item, act
from casemate.counts import Counts, added
from casemate.gate.share import PRIORITIES
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
        "version": __version__,
        "principal": caller.principal.name,
        "clearance": str(caller.principal.clearance),
        "collections": len(installation.library.collections(caller)),
        "documents": len(installation.library.documents(caller)),
        "use_cases": len(installation.gate.use_cases.list(caller)),
        "ledger_entries": installation.log.size,
        "ledger_origin": installation.log.origin,
        "models": _models(installation, caller, await installation.counted_elsewhere()),
        "disk_free_gibibytes": shutil.disk_usage(installation.folder.path).free >> 30,
        **({} if installation.witnessing is None else _witnesses(installation.witnessing)),
    }


def _models(installation: Installation, caller: Caller, elsewhere: Counts) -> list[dict[str, Any]]:
    """The approved models, each with its slots and who has or wants one."""
    queues = dict(installation.engines.queues())
    here = Counts(replicas=installation.engines.seen())
    replicas = added([here, elsewhere]).replicas
    found = []
    for model in installation.models.list(caller):
        if model.state != "approved":
            continue
        turns = queues.get(model.id)
        usual = installation.engines.slots(model.manifest)
        found.append(
            {
                "model": model.id,
                "engine": model.manifest.engine,
                "slots": installation.gate.capacities.of(model.id, usual).slots,
                "working": 0 if turns is None else sum(map(turns.at_work, PRIORITIES)),
                "waiting": 0 if turns is None else sum(map(turns.waiting, PRIORITIES)),
                "failures": 0 if turns is None else turns.failures,
                # of a server nothing is known before it is asked
                "replicas": [
                    {
                        "number": one.number,
                        "state": one.state,
                        "outstanding": one.outstanding,
                        "failures": one.failures,
                        "retries": one.retries,
                    }
                    for one in replicas
                    if one.model == model.id
                ],
            }
        )
    return found


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
