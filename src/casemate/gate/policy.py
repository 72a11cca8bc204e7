"""Policies: Cedar files that say what is permitted; anything else is refused.

Language: Cedar policy language 4 (https://docs.cedarpolicy.com). Each policy carries an ``@id``
that is unique in its folder: entries of the ledger and refusals name it. A decision is a pure
function of the policies and its arguments, so it is remembered as long as the set lives.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from casemate.errors import Invalid
from casemate.gate.caller import SIGNED_IN, Strength
from casemate.gate.principal import Principal
from casemate.gate.statement import Statement, statements
from casemate.store.folder import disk_problem, write_durably

if TYPE_CHECKING:
    import cedarpy

Kind = Literal["Installation", "Collection", "UseCase", "Model", "Run"]

ACTIONS = frozenset(
    {
        *("ask", "search", "read", "add", "delete"),
        *("administer", "approve", "audit", "review", "provision"),
    }
)
KINDS: Mapping[str, Kind] = {
    "installation": "Installation",
    "collection": "Collection",
    "use_case": "UseCase",
    "model": "Model",
    "run": "Run",
}
_REMEMBERED = 8192  # decisions; about 1 kB each
_REPAIR = "Correct the policy file; until then the policies loaded before stay in force."


@dataclass(frozen=True)
class Resource:
    """What somebody wants to act on, as far as policies see it."""

    kind: Kind
    id: str
    tenant: str
    owner: str | None = None
    readers: tuple[str, ...] | None = None  # collections: ids and "role:…"; None: the tenant


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What else a decision depends on."""

    dominates: bool
    approved: bool = True
    bound: bool = False
    strength: Strength = SIGNED_IN


@dataclass(frozen=True)
class Decision:
    """What the policies say: who decided (``@id``s, sorted) and under which set of policies.

    Nobody deciding (an empty ``deciding``) is a refusal.
    """

    allowed: bool
    deciding: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class Policy:
    """One policy as people read it: in words (``@says``), where it stands, and its text."""

    id: str
    says: str
    place: str
    text: str


class PolicySet:
    """The policies of one folder, parsed and checked once."""

    def __init__(
        self,
        handle: cedarpy.PolicySet,
        schema: cedarpy.Schema,
        digest: str,
        files: Mapping[str, bytes],
        policies: Mapping[str, Policy],
    ) -> None:
        self._handle = handle
        self._schema = schema
        self.digest = digest
        self.files = files
        self.policies = policies  # by id
        self._decide = lru_cache(maxsize=_REMEMBERED)(self._evaluate)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Every ``*.cedar`` file of ``folder``.

        Raises Invalid naming file and line of what is wrong, or if there is no policy at all;
        Unavailable if the folder cannot be read.
        """
        return cls.parse(read_files(folder))

    @classmethod
    def parse(cls, files: Mapping[str, bytes]) -> Self:
        """Policies from names and contents. Raises Invalid like ``load``."""
        import cedarpy  # a native library, loaded when somebody decides something

        shipped = resources.files(_SHIPPED).joinpath("schema.cedarschema").read_text("utf-8")
        schema = cedarpy.Schema.from_str(shipped)
        seen: dict[str, Policy] = {}
        policies: dict[str, object] = {}
        for name in sorted(files):
            for statement in statements(name, files[name]):
                id, says, policy = _checked(statement, schema)
                if id in seen:
                    raise Invalid(
                        f"{statement.place}: policy {id!r} is already in {seen[id].place}.",
                        _REPAIR,
                    )
                seen[id] = Policy(id, says, statement.place, statement.text)
                policies[id] = policy
        if not policies:
            raise Invalid(
                "There are no policies: everything would be refused.",
                "Put back the *.cedar files in the folder `policies` of the data folder.",
            )
        combined = {"templates": {}, "staticPolicies": policies, "templateLinks": []}
        handle = cedarpy.PolicySet.from_json_str(json.dumps(combined))
        digest = _digest({**files, "schema.cedarschema": shipped.encode()})
        return cls(handle, schema, digest, dict(files), seen)

    @staticmethod
    def install(folder: Path) -> None:
        """Write the shipped policies into ``folder`` (first start). Raises Unavailable."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name, content in _shipped().items():
                write_durably(folder / name, content)
        except OSError as problem:
            raise disk_problem(problem) from problem

    def lacking(self) -> tuple[Policy, ...]:
        """The policies that this version ships and that are not among these, by ``@id``.

        One that was never here, since an older version made the folder, or that was taken out.
        """
        shipped = _shipped()
        if shipped.items() <= self.files.items():
            return ()
        whole = PolicySet.parse(shipped)
        return tuple(one for id, one in whole.policies.items() if id not in self.policies)

    def decide(
        self,
        principal: Principal,
        action: str,
        resource: Resource,
        circumstances: Circumstances,
    ) -> Decision:
        """What the policies say. Anything Cedar cannot evaluate is a refusal."""
        asker = (principal.id, principal.tenant, principal.kind, principal.disabled)
        return self._decide(asker, principal.roles, action, resource, circumstances)

    def _evaluate(
        self,
        asker: tuple[str, str, str, bool],
        roles: frozenset[str],
        action: str,
        resource: Resource,
        circumstances: Circumstances,
    ) -> Decision:
        import cedarpy

        id, tenant, kind, disabled = asker
        attributes = {
            "tenant": _entity("Tenant", tenant),
            "kind": kind,
            "roles": sorted(roles),
            "disabled": disabled,
        }
        result = cedarpy.is_authorized(
            {
                "principal": _uid("Principal", id),
                "action": _uid("Action", action),
                "resource": _uid(resource.kind, resource.id),
                "context": {
                    "dominates": circumstances.dominates,
                    "approved": circumstances.approved,
                    "bound": circumstances.bound,
                    "via": circumstances.strength.via,
                    "assurance": circumstances.strength.level,
                    "second_factor": circumstances.strength.second_factor,
                },
            },
            self._handle,
            [
                {"uid": _uid("Principal", id), "attrs": attributes, "parents": []},
                {
                    "uid": _uid(resource.kind, resource.id),
                    "attrs": _attributes(resource),
                    "parents": [],
                },
            ],
            self._schema,
        )
        # Cedar skips a policy it cannot evaluate. If that one was a forbid, a permit would win:
        # so any error refuses.
        if result.diagnostics.errors:
            return Decision(False, (), self.digest)
        return Decision(result.allowed, tuple(sorted(result.diagnostics.reasons)), self.digest)


_SHIPPED = "casemate.gate.policies"


def _shipped() -> dict[str, bytes]:
    return {
        file.name: file.read_bytes()
        for file in resources.files(_SHIPPED).iterdir()
        if file.name.endswith(".cedar")
    }


def read_files(folder: Path) -> dict[str, bytes]:
    """Every ``*.cedar`` file of ``folder``, by name. Raises Unavailable."""
    try:
        return {path.name: path.read_bytes() for path in sorted(folder.glob("*.cedar"))}
    except OSError as problem:
        raise disk_problem(problem) from problem


def _uid(kind: str, id: str) -> dict[str, str]:
    return {"type": kind, "id": id}


def _entity(kind: str, id: str) -> dict[str, dict[str, str]]:
    return {"__entity": _uid(kind, id)}


def _attributes(resource: Resource) -> dict[str, object]:
    attributes: dict[str, object] = {"tenant": _entity("Tenant", resource.tenant)}
    if resource.owner is not None:
        attributes["owner"] = _entity("Principal", resource.owner)
    if resource.kind == "Collection":
        readers = resource.readers or ()
        attributes["everyone"] = resource.readers is None
        attributes["readers"] = [
            _entity("Principal", reader) for reader in readers if not reader.startswith("role:")
        ]
        attributes["reader_roles"] = [
            reader.removeprefix("role:") for reader in readers if reader.startswith("role:")
        ]
    return attributes


def _checked(statement: Statement, schema: cedarpy.Schema) -> tuple[str, str, object]:
    """The ``@id``, the ``@says`` and the JSON form of one policy. Raises Invalid."""
    import cedarpy

    try:
        parsed = json.loads(cedarpy.policies_to_json_str(statement.text))
    except ValueError as problem:
        raise Invalid(f"{statement.place}: {problem}.", _REPAIR) from None
    if parsed["templates"] or len(parsed["staticPolicies"]) != 1:
        raise Invalid(f"{statement.place}: this is not one plain policy.", _REPAIR)
    [policy] = parsed["staticPolicies"].values()
    annotations = policy.get("annotations", {})
    id = annotations.get("id")
    if not id:
        raise Invalid(f"{statement.place}: this policy has no @id.", _REPAIR)
    problems = cedarpy.validate_policies(statement.text, schema).errors
    if problems:
        raise Invalid(f"{statement.place}: policy {id!r}: {problems[0].error}.", _REPAIR)
    return str(id), str(annotations.get("says") or ""), policy


def _digest(files: Mapping[str, bytes]) -> str:
    # Lengths go in, so that no content can pass for another name.
    hash = hashlib.sha256()
    for name in sorted(files):
        for part in (name.encode("utf-8", "surrogateescape"), files[name]):
            hash.update(len(part).to_bytes(8, "big") + part)
    return f"sha256:{hash.hexdigest()}"
