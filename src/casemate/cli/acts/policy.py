"""Acts around policies: checking, explaining, testing, and putting them into force."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from casemate.cli.acts import Item, act
from casemate.gate.caller import Strength
from casemate.gate.expectation import differences, expectations
from casemate.gate.policy import PolicySet
from casemate.gate.whatif import what_if

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation


@act("policy.check")
async def policy_check(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Read policy files, those of the data folder or others; say whether they are in force."""
    now = _set(installation, arguments)
    found: dict[str, Any] = {
        "files": sorted(now.files),
        "policies": len(now.policies),
        "digest": now.digest,
        "in_force": now.digest == installation.gate.policies.digest,
    }
    lacking = now.lacking() if arguments.get("files") is None else ()
    if lacking:
        found["shipped_but_missing"] = [f"{one.id}: {one.says}" for one in lacking]
    yield found


@act("policy.explain")
async def policy_explain(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """What the gate would say to somebody, and why."""
    policy = installation.gate.country.policy
    label, clearance = arguments.get("label"), arguments.get("clearance")
    found = what_if(
        installation.gate,
        caller,
        arguments["name"],
        arguments["action"],
        arguments["resource"],
        label=policy.parse(label) if label else None,
        roles=tuple(arguments.get("roles") or ()),
        clearance=policy.parse(clearance) if clearance else None,
        strength=Strength(
            arguments.get("via") or "session",
            arguments.get("assurance"),
            bool(arguments.get("second_factor")),
        ),
    )
    yield {
        "allowed": found.allowed,
        "reasons": list(found.reasons),
        "deciding": [
            {"id": one.id, "says": one.says, "place": one.place, "text": one.text}
            for one in found.deciding
        ],
        "digest": found.digest,
    }


@act("policy.test")
async def policy_test(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Compare what policies decide with what a file expects; yield each difference, then counts."""
    wanted = expectations(arguments["expected"].encode(), arguments["file"])
    policies = _set(installation, arguments)
    found = list(differences(policies, wanted, installation.gate.country))
    for one in found:
        yield {"name": one.name, "what": one.what}
    yield {"expected": len(wanted), "different": len(found), "digest": policies.digest}


@act("policy.list")
async def policy_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield what is in force and what is proposed."""
    gate = installation.gate
    for one in gate.enforcement.sets(caller):
        by = None if one.proposed_by is None else gate.principals.by_id(one.proposed_by).name
        yield {
            "digest": one.digest,
            "state": one.state,
            "by": by,
            "time": one.proposed,
            "files": sorted(one.files),
        }


@act("policy.load")
async def policy_load(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Put what lies in the data folder into force."""
    before, after = installation.gate.enforcement.load(caller)
    yield {"state": "unchanged" if before == after else "loaded", "before": before, "after": after}


@act("policy.adopt")
async def policy_adopt(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Add policies that came with this version to those of the data folder."""
    before, after = installation.gate.enforcement.adopt(caller, arguments["ids"])
    yield {"state": "loaded", "before": before, "after": after}


@act("policy.propose")
async def policy_propose(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Put files forward, for an owner to approve."""
    made = installation.gate.enforcement.propose(caller, arguments["files"])
    yield {"state": made.state, "digest": made.digest, "files": sorted(made.files)}


@act("policy.approve")
async def policy_approve(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Approve what is proposed, as a second person."""
    before, after = installation.gate.enforcement.approve(caller, arguments["digest"])
    yield {"state": "approved", "before": before, "after": after}


@act("policy.withdraw")
async def policy_withdraw(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Take back what is proposed."""
    installation.gate.enforcement.withdraw(caller, arguments["digest"])
    yield {"state": "withdrawn", "digest": arguments["digest"]}


def _set(installation: Installation, arguments: Mapping[str, Any]) -> PolicySet:
    files = arguments.get("files")
    if files is None:
        return PolicySet.load(installation.folder.policies)
    return PolicySet.parse({name: text.encode() for name, text in files.items()})
