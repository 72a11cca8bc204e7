"""Acts on limits and shares: who may use how much, and who goes first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from casemate.cli.acts import Item, act
from casemate.errors import Invalid, NotFound
from casemate.gate.allowance import allowances
from casemate.gate.capacity import Capacity
from casemate.gate.limit import EVERY, KINDS, PRINCIPAL, TENANT, Limit, shown

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation


@act("quota.show")
async def quota_show(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the limits that hold for the caller; with ``all``, every one that is set."""
    gate = installation.gate
    if arguments.get("all"):
        limits = gate.quotas.limits(caller)
        for limit in limits:
            yield _limit(installation, limit) | {"used": None, "left": None, "renews_seconds": None}
        return
    for one in allowances(gate, caller):
        limit, used = one.limit, one.used
        yield _limit(installation, limit) | {
            "used": None if used is None else shown(limit.measure, used),
            "left": None if used is None else shown(limit.measure, max(0, limit.amount - used)),
            "renews_seconds": one.renews,
        }


@act("quota.set")
async def quota_set(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Set a limit."""
    limit = _asked(installation, caller, arguments, arguments["amount"])
    installation.gate.quotas.put(caller, limit)
    yield _limit(installation, limit)


@act("quota.remove")
async def quota_remove(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Take a limit away."""
    limit = _asked(installation, caller, arguments, 0)
    installation.gate.quotas.remove(caller, limit)
    yield _limit(installation, limit) | {"limit": None}


@act("quota.priority")
async def quota_priority(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Set the priority of a use case."""
    gate = installation.gate
    use_case = gate.use_cases.get(caller, arguments["use_case"])
    gate.shares.prioritise(caller, use_case.tenant, use_case.id, arguments["priority"])
    yield {"use_case": use_case.id, "priority": arguments["priority"]}


@act("quota.weight")
async def quota_weight(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Set the weight of a principal or a tenant."""
    kind, name = _of(arguments["of"])
    tenant, target = installation.gate.quotas.target(caller, kind, name)
    installation.gate.shares.weigh(caller, tenant, kind, target, arguments["weight"])
    yield {"of": arguments["of"], "weight": arguments["weight"]}


@act("quota.shares")
async def quota_shares(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the priorities and weights that are set."""
    for kind, target, weight, priority in installation.gate.shares.chosen(caller):
        of = _name(installation, kind, target)
        yield {"of": of, "weight": weight, "priority": priority}


@act("quota.capacity")
async def quota_capacity(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Declare the machine behind a model; without slots, yield what holds for each model."""
    capacities = installation.gate.capacities
    if arguments.get("slots") is not None:
        models = {one.id for one in installation.models.list(caller)}
        if arguments["model"] not in models:
            raise NotFound("There is no such model.", "`casemate model list` shows them.")
        made = capacities.declare(
            caller,
            arguments["model"],
            slots=arguments["slots"],
            accelerators=arguments["accelerators"],
            watts=arguments["watts"],
        )
        yield _capacity(arguments["model"], made, declared=True)
        return
    declared = capacities.declared()
    for model in installation.models.list(caller):
        if arguments.get("model") in (None, model.id):
            usual = Capacity(installation.engines.slots(model.manifest))
            yield _capacity(model.id, declared.get(model.id, usual), declared=model.id in declared)


def _asked(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any], amount: float
) -> Limit:
    kind, name = _of(arguments["of"])
    tenant, target = installation.gate.quotas.target(caller, kind, name)
    return Limit.parse(
        tenant, kind, target, arguments["measure"], arguments.get("per") or "", amount
    )


def _of(text: str) -> tuple[str, str]:
    """A kind and a name: "principal:NAME", "use-case:ID", "tenant" or "tenant:NAME"."""
    kind, _, name = text.partition(":")
    kind = kind.replace("-", "_")
    if kind not in KINDS or (kind != TENANT and not name):
        raise Invalid(
            f"{text[:80]!r} says nobody.",
            "Give principal:NAME, use-case:ID, tenant, or one with “*” for each.",
        )
    return kind, name


def _limit(installation: Installation, limit: Limit) -> dict[str, Any]:
    return {
        "of": _name(installation, limit.kind, limit.target),
        "measure": limit.measure,
        "per": limit.window or None,
        "limit": limit.shown,
    }


def _name(installation: Installation, kind: str, target: str) -> str:
    if kind == PRINCIPAL and target != EVERY:
        return f"principal:{installation.gate.principals.by_id(target).name}"
    if kind == TENANT:
        return f"tenant:{installation.gate.principals.tenant_name(target)}"
    return f"{kind.replace('_', '-')}:{target}"


def _capacity(model: str, capacity: Capacity, *, declared: bool) -> Item:
    return {
        "model": model,
        "slots": capacity.slots,
        "accelerators": capacity.accelerators,
        "watts": capacity.watts,
        "declared": declared,
    }
