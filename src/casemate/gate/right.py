"""Rights: one place where a known caller's wish meets the policies, and refusals are recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn

import sqlalchemy as sa

from casemate.errors import Refused
from casemate.gate.acts import Acts
from casemate.gate.caller import Caller, Strength
from casemate.gate.label import Label
from casemate.gate.policy import Circumstances, Decision, PolicySet, Resource
from casemate.gate.principal import Principal
from casemate.store.tables import principals

DECIDERS = frozenset({"owner", "admin"})  # who can be the second person of an approval

RUNS = frozenset({"ask", "search"})
BOUND = RUNS | {"read"}  # all that a key may do that is bound to one use case

_VERBS = {
    "ask": "ask under this use case",
    "search": "search under this use case",
    "read": "read this",
    "add": "add documents here",
    "delete": "delete this",
    "administer": "administer this",
    "approve": "approve this",
    "audit": "see the ledger",
    "review": "review runs",
    "provision": "provision people",
}


class Rights:
    """Decides by the policies in force, and records what it refuses."""

    def __init__(
        self, policies: PolicySet, acts: Acts, renew: Callable[[], None] = lambda: None
    ) -> None:
        self._policies = policies
        self.acts = acts
        self.renew = renew  # called before each decision: it may put other policies in force

    @property
    def policies(self) -> PolicySet:
        """The policies in force."""
        self.renew()
        return self._policies

    @policies.setter
    def policies(self, policies: PolicySet) -> None:
        self._policies = policies

    def decide(
        self,
        caller: Caller,
        action: str,
        resource: Resource,
        *,
        labels: Iterable[Label] = (),
        approved: bool = True,
    ) -> Decision:
        """What the policies say; ``labels`` are those at stake, each must be dominated."""
        bound = caller.use_case is not None
        return judged(
            self.policies,
            caller.principal,
            action,
            resource,
            labels,
            approved=approved,
            bound=bound,
            strength=caller.strength,
        )

    def require(
        self,
        caller: Caller,
        action: str,
        resource: Resource,
        *,
        labels: Iterable[Label] = (),
        approved: bool = True,
    ) -> Decision:
        """The decision that permits it. Raises Refused, after recording, if there is none."""
        decision = self.decide(caller, action, resource, labels=labels, approved=approved)
        if not decision.allowed:
            self.refuse(caller, action, resource, decision)
        return decision

    def administer(self, caller: Caller, action: str = "administer") -> Decision:
        """The decision that lets ``caller`` run the installation for its tenant. Or Refused."""
        return self.require(caller, action, installation(caller.principal))

    def refuse(
        self, caller: Caller, action: str, resource: Resource, decision: Decision
    ) -> NoReturn:
        """Record the refusal, then raise it."""
        self.acts.record(
            "refused",
            caller.principal,
            action=action,
            resource=f"{resource.kind}:{resource.id}",
            policies=list(decision.deciding),
            policy_set=decision.digest,
        )
        by = ", ".join(decision.deciding)
        raise Refused(
            f"You may not {_VERBS.get(action, 'do this')}: "
            + (f"refused by policy {by}." if by else "no policy allows it."),
            "Ask an administrator of your installation for the right.",
        )

    def act_for(self, caller: Caller, target: Principal) -> None:
        """Whether ``caller`` may change, or get a way to sign in as, ``target``.

        Oneself always; the owner everyone; an administrator whoever has no higher clearance and
        no role above: otherwise a password set for somebody would be a way up.
        Raises Refused, or like ``administer``.
        """
        actor = caller.principal
        if actor.id == target.id:
            if caller.via in ("key", "certificate"):
                # A leaked key could otherwise make another, and outlive its revocation.
                raise Refused("A key cannot do this for its own holder.", "Sign in to do it.")
            return
        self.administer(caller)
        above = not actor.clearance.dominates(target.clearance) or "owner" in target.roles
        if "owner" not in actor.roles and above:
            self.refuse(
                caller,
                "administer",
                installation(actor),
                Decision(False, ("clearance-or-role-above-yours",), self.policies.digest),
            )

    def second_person(self, connection: sa.Connection, caller: Caller, first: str) -> None:
        """Refuse unless ``caller`` is a person other than ``first`` (a principal's id).

        Raises Refused, saying how to get a second person where there is none.
        """
        actor = caller.principal
        if actor.kind != "person" or caller.via in ("key", "certificate"):
            raise Refused("An approval is a person's decision.", "Sign in as a person to decide.")
        if actor.id != first:
            return
        others = connection.execute(
            sa.select(principals.c.roles).where(
                principals.c.tenant == actor.tenant,
                principals.c.id != actor.id,
                principals.c.kind == "person",
                principals.c.disabled.is_(None),
            )
        ).scalars()
        if any(DECIDERS & set(roles.split()) for roles in others):
            raise Refused("You proposed this; a second person decides.", "Ask a colleague to.")
        raise Refused(
            "You proposed this; a second person decides, and there is none yet.",
            "Create one with `casemate user create NAME --role admin --role user`, and let them "
            "approve it.",
        )


def judged(
    policies: PolicySet,
    principal: Principal,
    action: str,
    resource: Resource,
    labels: Iterable[Label],
    *,
    approved: bool = True,
    bound: bool = False,
    strength: Strength,
) -> Decision:
    """What ``policies`` say within the limits that no policy goes beyond.

    The limits are policies too (limits.cedar), where people read them and refusals name them. They
    are here as well, because the files can be changed: whatever they permit, nobody reads above
    their clearance, acts on another tenant, or acts while disabled.
    """
    dominates = all(principal.clearance.dominates(label) for label in labels)
    circumstances = Circumstances(
        dominates=dominates, approved=approved, bound=bound, strength=strength
    )
    decision = policies.decide(principal, action, resource, circumstances)
    if not decision.allowed:
        return decision
    for broken, limit in (
        (not dominates, "label-must-be-dominated"),
        (principal.tenant != resource.tenant, "tenants-stay-apart"),
        (principal.disabled, "disabled-does-nothing"),
        (action in RUNS and not approved, "use-case-must-be-approved"),
        (bound and action not in BOUND, "bound-key-only-asks"),
    ):
        if broken:
            return Decision(False, (limit,), decision.digest)
    return decision


def installation(principal: Principal) -> Resource:
    """The installation as the tenant of ``principal`` sees it."""
    return Resource("Installation", "installation", principal.tenant)
