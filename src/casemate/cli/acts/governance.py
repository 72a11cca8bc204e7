"""Acts that decide what is allowed: use cases, policies, the perimeter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from casemate.cli.acts import Item, act
from casemate.errors import Invalid
from casemate.gate.policy import PolicySet

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.usecase import UseCase
    from casemate.installation import Installation


@act("usecase.list")
async def usecase_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield use cases."""
    for use_case in installation.gate.use_cases.list(caller):
        yield _use_case(installation, caller, use_case)


@act("usecase.show")
async def usecase_show(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield one use case."""
    yield _use_case(installation, caller, installation.gate.use_cases.get(caller, arguments["id"]))


@act("usecase.register")
async def usecase_register(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Register a draft."""
    policy = installation.gate.country.policy
    names = arguments.get("collections")
    ceiling = arguments.get("ceiling")
    bare = bool(arguments.get("no_documents"))
    if names and bare:
        raise Invalid("A use case without documents has no collection.", "Leave one of them out.")
    draft = installation.gate.use_cases.register(
        caller,
        arguments["id"],
        purpose=arguments["purpose"],
        legal_basis=arguments["legal_basis"],
        risk=arguments["risk"],
        models=arguments.get("models") or ("quote",),
        ceiling=policy.parse(ceiling) if ceiling else policy.lowest(),
        oversight=arguments["oversight"],
        retention_days=arguments["retention_days"],
        collections=[installation.library.collection(caller, name).id for name in names or ()]
        if names or bare
        else None,
    )
    yield _use_case(installation, caller, draft)


@act("usecase.approve")
async def usecase_approve(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Approve a draft, as a second person."""
    moved = installation.gate.use_cases.approve(caller, arguments["id"])
    yield _use_case(installation, caller, moved)


@act("usecase.suspend")
async def usecase_suspend(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Suspend a use case."""
    moved = installation.gate.use_cases.suspend(caller, arguments["id"])
    yield _use_case(installation, caller, moved)


@act("usecase.retire")
async def usecase_retire(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Retire a use case."""
    moved = installation.gate.use_cases.retire(caller, arguments["id"])
    yield _use_case(installation, caller, moved)


@act("policy.check")
async def policy_check(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Read the policy files as they are now; say whether they are valid and in force."""
    now = PolicySet.load(installation.folder.policies)
    yield {
        "files": sorted(path.name for path in installation.folder.policies.glob("*.cedar")),
        "digest": now.digest,
        "in_force": now.digest == installation.gate.policies.digest,
    }


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


def _use_case(installation: Installation, caller: Caller, use_case: UseCase) -> Item:
    readable = {one.id: one.name for one in installation.library.collections(caller)}
    named = use_case.collections
    seen = None if named is None else [readable[id] for id in named if id in readable]
    return {
        "id": use_case.id,
        "state": use_case.state,
        "purpose": use_case.purpose,
        "legal_basis": use_case.legal_basis,
        "risk": use_case.risk,
        "models": list(use_case.models),
        "collections": seen,  # None: all
        "collections_hidden": len(named or ()) - len(seen or ()),
        "ceiling": str(use_case.ceiling),
        "oversight": use_case.oversight,
        "retention_days": use_case.retention_days,
    }
