"""Enforcement: which policies are in force, and how others come into force.

The files lie in the data folder, to be read and changed there; the database keeps which set of
them is in force, so that every process on it follows from its next decision on. A set comes into
force in two ways: its owner loads what lies in the folder, or somebody proposes files and an owner,
as a second person, approves them. Broken files change nothing: what was in force stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from casemate.errors import Conflict, Invalid, NotFound
from casemate.gate.expectation import FILE, differences, expectations
from casemate.gate.memory import Memory
from casemate.gate.policy import Decision, PolicySet, Resource, read_files
from casemate.gate.right import Rights
from casemate.store.database import Database
from casemate.store.folder import disk_problem, write_durably
from casemate.store.tables import policy_sets

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.country import Country

_NAME_ENDS = ".cedar"
_LARGEST = 256 << 10  # bytes of all files of a set


@dataclass(frozen=True)
class Proposed:
    """A set of policies that waits for an owner's approval, or is in force."""

    digest: str
    state: str
    proposed_by: str | None  # id; None: the installation, at its start
    proposed: str
    files: Mapping[str, str]


class Enforcement:
    """Puts policies into force, on record."""

    def __init__(
        self, database: Database, folder: Path, country: Country, rights: Rights, memory: Memory
    ) -> None:
        self._database = database
        self._folder = folder
        self._country = country
        self._rights = rights
        self._memory = memory
        self._known = ""  # digest of what the database last said is in force

    def start(self) -> None:
        """Take what lies in the folder, and follow from now on what the database says.

        A set that differs from the last one is recorded: somebody changed the files meanwhile.
        """
        policies = self._rights.policies
        with self._database.write() as connection:
            before = _in_force(connection)
            if before is None or before.digest != policies.digest:
                if before is not None:
                    self._rights.acts.record(
                        "policies.loaded", None, before=before.digest, after=policies.digest
                    )
                self._put(connection, policies, None, None)
        self._known = policies.digest
        self._rights.renew = self._renew

    def follow(self) -> None:
        """Follow from now on what the database says: for a process that only looks."""
        self._rights.renew = self._renew

    def load(self, actor: Caller) -> tuple[str, str]:
        """Put what lies in the folder into force: the digests before and after.

        For the owner, who may write there. Raises Refused; Invalid naming file and line of what is
        wrong, or what the regression file expects and does not get.
        """
        self._owner(actor)
        files = read_files(self._folder)
        policies = self.checked(files)
        before = self._rights.policies.digest
        if policies.digest != before:
            with self._database.write() as connection:
                self._rights.acts.record(
                    "policies.loaded", actor.principal, before=before, after=policies.digest
                )
                self._put(connection, policies, actor.principal.id, actor.principal.id)
        return before, policies.digest

    def adopt(self, actor: Caller, ids: Sequence[str]) -> tuple[str, str]:
        """Add shipped policies to those that lie in the folder, and put them all into force.

        ``ids``: of ``PolicySet.lacking``. The digests before and after. For the owner. Raises
        Refused; NotFound for what is not lacking; Invalid like ``load``.
        """
        self._owner(actor)
        files = read_files(self._folder)
        lacking = {one.id: one for one in PolicySet.parse(files).lacking()}
        for id in dict.fromkeys(ids):
            if id not in lacking:
                raise NotFound(
                    f"No policy {id[:60]!r} of this version is missing here.",
                    "`casemate policy check` lists those that are.",
                )
            name = lacking[id].place.partition(",")[0]
            there = files.get(name, b"").rstrip()
            files[name] = there + b"\n\n" * bool(there) + lacking[id].text.encode() + b"\n"
        policies = self.checked(files)
        before = self._rights.policies.digest
        with self._database.write() as connection:
            self._write(policies)
            self._rights.acts.record(
                "policies.loaded", actor.principal, before=before, after=policies.digest
            )
            self._put(connection, policies, actor.principal.id, actor.principal.id)
        return before, policies.digest

    def propose(self, actor: Caller, files: Mapping[str, str]) -> Proposed:
        """Put other files forward: they take the place of all that are in force.

        Proposing what is in force, or proposed already, changes nothing. Raises Refused, Invalid.
        """
        self._rights.require(actor, "administer", _policies(actor))
        policies = self.checked({name: text.encode() for name, text in files.items()})
        with self._database.write() as connection:
            known = _one(connection, policies.digest)
            if known is not None and known.state in ("proposed", "in force"):
                return known
            connection.execute(
                policy_sets.delete().where(
                    sa.or_(
                        policy_sets.c.state == "proposed", policy_sets.c.digest == policies.digest
                    )
                )
            )
            now = self._rights.acts.now()
            made = Proposed(policies.digest, "proposed", actor.principal.id, now, dict(files))
            connection.execute(
                policy_sets.insert().values(
                    digest=made.digest,
                    files=json.dumps(made.files, sort_keys=True),
                    state=made.state,
                    proposed_by=made.proposed_by,
                    proposed=made.proposed,
                )
            )
            self._rights.acts.record(
                "policies.proposed",
                actor.principal,
                before=self._rights.policies.digest,
                after=made.digest,
            )
        return made

    def approve(self, actor: Caller, digest: str) -> tuple[str, str]:
        """Put the proposed set of this digest into force: the digests before and after.

        By an owner who is not who proposed it. Raises Refused, NotFound, Invalid.
        """
        self._owner(actor)
        with self._database.write() as connection:
            found = _one(connection, digest)
            if found is None or found.state != "proposed":
                raise _not_proposed()
            self._rights.second_person(connection, actor, found.proposed_by or "")
            policies = self.checked({name: text.encode() for name, text in found.files.items()})
            before = self._rights.policies.digest
            self._write(policies)
            self._rights.acts.record(
                "policies.approved", actor.principal, before=before, after=policies.digest
            )
            self._put(connection, policies, found.proposed_by, actor.principal.id)
        return before, policies.digest

    def withdraw(self, actor: Caller, digest: str) -> None:
        """Take a proposed set back. Raises Refused, NotFound."""
        self._rights.require(actor, "administer", _policies(actor))
        with self._database.write() as connection:
            found = _one(connection, digest)
            if found is None or found.state != "proposed":
                raise _not_proposed()
            connection.execute(policy_sets.delete().where(policy_sets.c.digest == digest))
            self._rights.acts.record(
                "policies.withdrawn",
                actor.principal,
                before=digest,
                after=self._rights.policies.digest,
            )

    def sets(self, actor: Caller) -> list[Proposed]:
        """What is in force, and what is proposed. Raises Refused."""
        self._rights.require(actor, "administer", _policies(actor))
        query = sa.select(policy_sets).where(policy_sets.c.state.in_(("in force", "proposed")))
        with self._database.read() as connection:
            return [_read(row) for row in connection.execute(query.order_by(policy_sets.c.state))]

    def checked(self, files: Mapping[str, bytes]) -> PolicySet:
        """``files`` as a set that may come into force: valid, and as the regression file expects.

        Raises Invalid naming what is wrong.
        """
        for name in files:
            plain = name.removesuffix(_NAME_ENDS)
            if plain == name or not plain.replace("-", "").replace("_", "").isalnum():
                raise Invalid(
                    f"{name[:60]!r} is not the name of a policy file.",
                    "Use letters, digits, hyphens and the ending .cedar.",
                )
        if sum(map(len, files.values())) > _LARGEST:
            raise Invalid("The policy files are larger than 256 KiB.", "Shorten them.")
        policies = PolicySet.parse(files)
        path = self._folder / FILE
        try:
            content = path.read_bytes() if path.exists() else None
        except OSError as problem:
            raise disk_problem(problem) from problem
        if content is not None:
            found = list(differences(policies, expectations(content), self._country))
            if found:
                raise Conflict(
                    f"{FILE}: {found[0].name!r}: {found[0].what}."
                    + (f" {len(found) - 1} more differ." if len(found) > 1 else ""),
                    f"`casemate policy test` shows each. Correct the policies, or {FILE}.",
                )
        return policies

    def _owner(self, actor: Caller) -> None:
        self._rights.require(actor, "approve", _policies(actor))
        if "owner" not in actor.principal.roles:
            # In code as well: policies must not be able to give themselves away.
            limit = Decision(False, ("owners-change-policies",), self._rights.policies.digest)
            self._rights.refuse(actor, "approve", _policies(actor), limit)

    def _put(
        self,
        connection: sa.Connection,
        policies: PolicySet,
        proposed_by: str | None,
        approved_by: str | None,
    ) -> None:
        now = self._rights.acts.now()
        # One row for what is in force and one for what is proposed: the ledger is the history.
        connection.execute(
            policy_sets.delete().where(
                sa.or_(policy_sets.c.state == "in force", policy_sets.c.digest == policies.digest)
            )
        )
        connection.execute(
            policy_sets.insert().values(
                digest=policies.digest,
                files=json.dumps(
                    {name: text.decode() for name, text in policies.files.items()}, sort_keys=True
                ),
                state="in force",
                proposed_by=proposed_by,
                proposed=now,
                approved_by=approved_by,
                decided=now,
            )
        )

    def _write(self, policies: PolicySet) -> None:
        """Make the folder hold this set: what a restart finds is then what was approved."""
        try:
            for name, content in policies.files.items():
                write_durably(self._folder / name, content)
            for path in self._folder.glob("*" + _NAME_ENDS):
                if path.name not in policies.files:
                    path.unlink()
        except OSError as problem:
            raise disk_problem(problem) from problem

    def _renew(self) -> None:
        digest = self._memory.recall(("policies in force",), self._digest)
        if digest != self._known:
            self._rights.policies = in_force(self._database)
            self._known = digest

    def _digest(self) -> str:
        with self._database.read() as connection:
            return str(connection.execute(_DIGEST).scalar_one())


def in_force(database: Database) -> PolicySet:
    """The policies that the database says are in force. Raises NotFound if it knows of none."""
    with database.read() as connection:
        found = _in_force(connection)
    if found is None:
        raise _not_proposed()
    return PolicySet.parse({name: text.encode() for name, text in found.files.items()})


_DIGEST = sa.select(policy_sets.c.digest).where(policy_sets.c.state == "in force")


def _policies(actor: Caller) -> Resource:
    # Its own id, so that policies can keep it for the owner: they hold for every tenant.
    return Resource("Installation", "policies", actor.principal.tenant)


def _in_force(connection: sa.Connection) -> Proposed | None:
    row = connection.execute(
        sa.select(policy_sets).where(policy_sets.c.state == "in force")
    ).first()
    return None if row is None else _read(row)


def _one(connection: sa.Connection, digest: str) -> Proposed | None:
    row = connection.execute(sa.select(policy_sets).where(policy_sets.c.digest == digest)).first()
    return None if row is None else _read(row)


def _read(row: sa.Row[tuple[object, ...]]) -> Proposed:
    return Proposed(row.digest, row.state, row.proposed_by, row.proposed, json.loads(row.files))


def _not_proposed() -> NotFound:
    return NotFound(
        "No policies with that digest are proposed.", "`casemate policy list` shows what is."
    )
