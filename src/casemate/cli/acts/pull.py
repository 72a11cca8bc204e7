"""The act of pulling a model's files from a hub inside the perimeter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.cli.acts import Item, act
from casemate.gate.acts import digest
from casemate.gate.policy import Resource
from casemate.models.hub import Hub
from casemate.models.pull import Step, pull

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation


@act("model.pull")
async def model_pull(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Fetch files into a folder: how far it has come, and last what was pulled.

    That a name is asked for leaves the installation, and nothing else: so the perimeter is asked
    about the lowest label.
    """
    gate = installation.gate
    gate.rights.require(
        caller, "administer", Resource("Model", "model", caller.principal.tenant, None)
    )
    lowest = gate.country.policy.lowest()
    hub = Hub(
        arguments["hub"],
        lambda url: gate.perimeter.route(url, lowest),
        token=arguments.get("token") or "",
    )
    async with hub:
        steps = pull(
            hub,
            arguments["repo"],
            Path(arguments["folder"]),
            revision=arguments["revision"],
            include=arguments["include"],
            most_bytes=arguments["most_bytes"],
            now=gate.acts.now(),
        )
        async with aclosing(steps):
            async for step in steps:
                if isinstance(step, Step):
                    yield {"path": step.path, "done": step.done, "total": step.total}
                    continue
                gate.acts.record(
                    "model.pulled",
                    caller.principal,
                    source=digest({"hub": hub.address, "repo": step.repo, "commit": step.commit}),
                    record=step.record,
                )
                yield {
                    "repo": step.repo,
                    "commit": step.commit,
                    "folder": arguments["folder"],
                    "files": step.files,
                    "record": step.record,
                }
