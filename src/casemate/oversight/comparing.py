"""Comparing: what of a declaration is not so, and what would make it so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from casemate.errors import Conflict, Invalid, NotFound
from casemate.gate.hours import Hours
from casemate.gate.name import checked_name
from casemate.gate.usecase import Terms, check, quota
from casemate.oversight.declaration import (
    Declaration,
    WantedCollection,
    WantedPolicies,
    WantedPrincipal,
    WantedTenant,
    WantedUseCase,
)

if TYPE_CHECKING:
    from casemate.gate.admission import Gate
    from casemate.gate.caller import Caller
    from casemate.gate.principal import Principal
    from casemate.gate.usecase import UseCase
    from casemate.library.library import Library

_REQUIRED = ("purpose", "legal_basis", "risk")


@dataclass(frozen=True)
class Difference:
    """What is to be done about one item, and how. ``act`` "none": it is as it is wanted."""

    act: str
    diff: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    do: Callable[[], object] = lambda: None
    note: str = ""


NONE = Difference("none")
_NEW = "new: "  # before the name of a collection that is declared and not yet there

Item = tuple[str, str, Callable[[], Difference]]


class Comparing:
    """Compares a declaration with what is there, as far as the actor may see it."""

    def __init__(self, gate: Gate, library: Library) -> None:
        self._gate = gate
        self._library = library

    def items(self, actor: Caller, declaration: Declaration) -> Iterator[Item]:
        """Kind, name and comparison of each item, in the order in which to apply them.

        A comparison raises what keeps the item from being as it is wanted.
        """
        # What comes earlier in the declaration counts as there when what follows is compared.
        tenants = {one.name for one in declaration.tenant}
        collections = {one.name for one in declaration.collection if one.state == "present"}
        for tenant in declaration.tenant:
            yield "tenant", tenant.name, lambda one=tenant: self._tenant(actor, one)  # type: ignore[misc]
        for principal in declaration.principal:
            yield (
                "principal",
                principal.name,
                lambda one=principal: self._principal(actor, one, tenants),  # type: ignore[misc]
            )
        for collection in declaration.collection:
            yield (
                "collection",
                collection.name,
                lambda one=collection: self._collection(actor, one),  # type: ignore[misc]
            )
        for use_case in declaration.use_case:
            yield (
                "use_case",
                use_case.id,
                lambda one=use_case: self._use_case(actor, one, collections),  # type: ignore[misc]
            )
        if declaration.policies is not None:
            wanted = declaration.policies
            yield "policies", "policies", lambda: self._policies(actor, wanted)

    def _tenant(self, actor: Caller, wanted: WantedTenant) -> Difference:
        name = checked_name(wanted.name)
        if name in self._gate.principals.tenants(actor):
            return NONE
        create = self._gate.principals.create_tenant
        return Difference("create", {"name": (None, name)}, lambda: create(actor, name))

    def _principal(self, actor: Caller, wanted: WantedPrincipal, tenants: set[str]) -> Difference:
        principals, policy = self._gate.principals, self._gate.country.policy
        label = None if wanted.clearance is None else policy.parse(wanted.clearance)
        if wanted.roles is not None and not wanted.roles:
            raise Invalid("A principal needs a role.", "Name at least one.")
        home = actor.principal.tenant
        if wanted.tenant is not None:
            known = principals.tenants(actor)
            if wanted.tenant not in known and wanted.tenant not in tenants:
                raise NotFound("There is no tenant of that name.", "Declare it first.")
            home = known.get(wanted.tenant, "")
        try:
            found = principals.named(wanted.name)
        except NotFound:
            return self._new_principal(actor, wanted)
        if found.tenant != home:
            # The same words as where a name is taken by somebody whom one does not see.
            raise Conflict("That name cannot be used: it is taken.", "Choose another.")
        if wanted.kind not in (None, found.kind):
            raise Conflict(
                f"{found.name} is a {found.kind}, and stays one.", "Choose another name."
            )
        if wanted.state == "disabled":
            return self._disabled(actor, found)
        if found.disabled:
            raise Conflict(f"{found.name} is disabled.", "Declare another principal.")
        diff: dict[str, tuple[Any, Any]] = {}
        if wanted.roles is not None and set(wanted.roles) != found.roles:
            diff["roles"] = (sorted(found.roles), sorted(set(wanted.roles)))
        if label is not None and label != found.clearance:
            diff["clearance"] = (str(found.clearance), str(label))
        if not diff:
            return NONE
        return Difference(
            "change",
            diff,
            lambda: principals.change(actor, found.name, clearance=label, roles=wanted.roles),
        )

    def _new_principal(self, actor: Caller, wanted: WantedPrincipal) -> Difference:
        policy = self._gate.country.policy
        if wanted.state == "disabled":
            return NONE
        name, roles = checked_name(wanted.name), wanted.roles or ["user"]
        label = policy.parse(wanted.clearance) if wanted.clearance else policy.lowest()
        kind = wanted.kind or "person"
        return Difference(
            "create",
            {
                "kind": (None, kind),
                "roles": (None, sorted(roles)),
                "clearance": (None, str(label)),
            },
            lambda: self._gate.principals.create(
                actor, name, kind=kind, roles=roles, clearance=label, tenant=wanted.tenant
            ),
        )

    def _disabled(self, actor: Caller, found: Principal) -> Difference:
        if found.disabled:
            return NONE
        disable = self._gate.principals.disable
        return Difference(
            "disable", {"state": ("active", "disabled")}, lambda: disable(actor, found.name)
        )

    def _collection(self, actor: Caller, wanted: WantedCollection) -> Difference:
        policy, library = self._gate.country.policy, self._library
        label = policy.parse(wanted.label) if wanted.label else None
        readers = None if wanted.readers in (None, "everyone") else tuple(wanted.readers or ())
        try:
            found = library.collection(actor, wanted.name)
        except NotFound:
            if wanted.state == "absent":
                return NONE
            shown = str(label or policy.lowest())
            return Difference(
                "create",
                {"label": (None, shown), "readers": (None, _shown(readers))},
                lambda: library.create_collection(
                    actor, wanted.name, label=wanted.label, readers=readers
                ),
            )
        if wanted.state == "absent":
            return Difference(
                "remove",
                {"state": ("present", "absent")},
                lambda: library.remove_collection(actor, wanted.name),
            )
        if label is not None and label != found.label:
            raise Conflict(
                f"Collection {found.name} is {found.label} and keeps its label.",
                "Declare another collection, and add the documents there.",
            )
        if wanted.readers is None or _shown(readers) == _shown(found.readers):
            return NONE
        return Difference(
            "change",
            {"readers": (_shown(found.readers), _shown(readers))},
            lambda: library.change_readers(actor, wanted.name, readers),
        )

    def _use_case(self, actor: Caller, wanted: WantedUseCase, declared: set[str]) -> Difference:
        use_cases = self._gate.use_cases
        try:
            found = use_cases.get(actor, wanted.id)
        except NotFound:
            if wanted.state != "registered":
                raise
            return self._new_use_case(actor, wanted, declared)
        if wanted.state != "registered":
            return self._ended(actor, wanted, found)
        proposal = use_cases.latest(actor, wanted.id)
        terms = self._terms(actor, wanted, proposal.terms, declared)
        check(wanted.id, terms, self._gate.country)
        screening = self._screening(wanted)
        before, after = self._plain(actor, proposal.terms), self._plain(actor, terms)
        diff = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
        if screening is not None:
            answered = {one.question: one.reason for one in proposal.answers}
            given = {id: str(one.get("reason", "")).strip() for id, one in screening.items()}
            if answered != given:
                diff["screening"] = (answered, given)
        if not diff:
            if found.state == "suspended" and found.pending is None:
                return Difference("none", note=_approval(wanted.id))
            return Difference("none", note=_approval(wanted.id) if found.pending else "")
        return Difference(
            "propose",
            diff,
            lambda: use_cases.change(
                actor,
                wanted.id,
                self._terms(actor, wanted, proposal.terms, set()),
                screening if "screening" in diff else None,
            ),
            _approval(wanted.id),
        )

    def _new_use_case(self, actor: Caller, wanted: WantedUseCase, declared: set[str]) -> Difference:
        for name in _REQUIRED:
            if not getattr(wanted, name):
                raise Invalid(f"A new use case needs {name}.", "Say it in the declaration.")
        screening = self._screening(wanted) or {}
        base = Terms(
            purpose="",
            legal_basis="",
            risk="",
            models=("quote",),
            ceiling=self._gate.country.policy.lowest(),
            oversight="after",
            retention_days=self._gate.country.retention_floor_days,
        )
        terms = self._terms(actor, wanted, base, declared)
        check(wanted.id, terms, self._gate.country)
        self._gate.use_cases.check_screening(screening)

        def register() -> None:
            final = self._terms(actor, wanted, base, set())
            named = {name: getattr(final, name) for name in Terms.__dataclass_fields__}
            self._gate.use_cases.register(actor, wanted.id, **named, screening=screening)

        return Difference(
            "propose",
            {
                name: (None, value)
                for name, value in self._plain(actor, terms).items()
                if value is not None
            },
            register,
            _approval(wanted.id),
        )

    def _ended(self, actor: Caller, wanted: WantedUseCase, found: UseCase) -> Difference:
        if found.state == wanted.state:
            return NONE
        if not wanted.reason.strip():
            raise Invalid(f"Use case {wanted.id} needs a reason to be {wanted.state}.", "Give one.")
        use_cases = self._gate.use_cases
        act = "suspend" if wanted.state == "suspended" else "retire"
        move = use_cases.suspend if act == "suspend" else use_cases.retire
        return Difference(
            act,
            {"state": (found.state, wanted.state)},
            lambda: move(actor, wanted.id, wanted.reason),
        )

    def _terms(
        self, actor: Caller, wanted: WantedUseCase, before: Terms, declared: set[str]
    ) -> Terms:
        """``before`` with what is wanted. A collection that is ``declared`` need not be there."""
        country = self._gate.country
        change: dict[str, Any] = {}
        for name in ("purpose", "legal_basis", "risk", "oversight", "retention_days"):
            value = getattr(wanted, name)
            if value is not None:
                change[name] = value.strip() if isinstance(value, str) else value
        if wanted.models is not None:
            change["models"] = tuple(wanted.models)
        if wanted.collections == "all":
            change["collections"] = None
        elif wanted.collections is not None:
            change["collections"] = tuple(
                self._collection_id(actor, name, declared) for name in wanted.collections
            )
        if wanted.ceiling is not None:
            change["ceiling"] = country.policy.parse(wanted.ceiling)
        if wanted.hours is not None:
            always = wanted.hours == "always"
            change["hours"] = None if always else Hours.parse(wanted.hours, country.time_zone)
        if wanted.quota is not None:
            change["quota"] = quota(wanted.quota)
        return replace(before, **change)

    def _plain(self, actor: Caller, terms: Terms) -> dict[str, Any]:
        """Terms as people read them, collections by name."""
        names = {one.id: one.name for one in self._library.collections(actor)}
        shown = terms.plain()
        if terms.collections is None:
            shown["collections"] = "all"
        else:
            shown["collections"] = [
                names.get(id) or id.removeprefix(_NEW) for id in terms.collections
            ]
        return shown

    def _collection_id(self, actor: Caller, name: str, declared: set[str]) -> str:
        try:
            return self._library.collection(actor, name).id
        except NotFound:
            if name in declared:
                return _NEW + name
            raise

    def _screening(self, wanted: WantedUseCase) -> dict[str, dict[str, str]] | None:
        if wanted.not_prohibited is None:
            return wanted.screening
        known = self._gate.use_cases.not_prohibited(wanted.not_prohibited)
        return known | (wanted.screening or {})

    def _policies(self, actor: Caller, wanted: WantedPolicies) -> Difference:
        enforcement = self._gate.enforcement
        policies = enforcement.checked({n: text.encode() for n, text in wanted.files.items()})
        for known in enforcement.sets(actor):
            if known.digest == policies.digest:
                note = _policy_approval(known.digest) if known.state == "proposed" else ""
                return Difference("none", note=note)
        now = {name: content.decode() for name, content in self._gate.policies.files.items()}
        diff = {
            name: (now.get(name), wanted.files.get(name))
            for name in sorted(now.keys() | wanted.files.keys())
            if now.get(name) != wanted.files.get(name)
        }
        return Difference(
            "propose",
            diff,
            lambda: enforcement.propose(actor, wanted.files),
            _policy_approval(policies.digest),
        )


def _shown(readers: tuple[str, ...] | None) -> Any:
    return "everyone" if readers is None else sorted(set(readers))


def _approval(id: str) -> str:
    return f"A second person approves it: casemate usecase approve {id}"


def _policy_approval(digest: str) -> str:
    return f"An owner, as a second person, approves them: casemate policy approve {digest}"
