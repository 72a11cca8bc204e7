"""Reach: what a caller may read now, and what the policies see of a stored thing."""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from casemate.errors import CasemateError, NotFound, Refused
from casemate.gate.caller import Caller
from casemate.gate.country import Country
from casemate.gate.label import Label
from casemate.gate.memory import Memory
from casemate.gate.policy import Kind, Resource
from casemate.gate.right import Rights
from casemate.gate.usecase import UseCase
from casemate.store.database import Database
from casemate.store.tables import collections, models, runs, use_cases

_TABLES: dict[Kind, tuple[sa.Table, str]] = {
    "Collection": (collections, "owner"),
    "UseCase": (use_cases, "owner"),
    "Model": (models, "proposed_by"),
    "Run": (runs, "principal"),
}


_ASKERS = 256  # whose judgements are kept
_MOST_JUDGED = 16_384  # judgements of one asker
_OF_TENANT = (
    sa.select(
        collections.c.id,
        collections.c.name,
        collections.c.tenant,
        collections.c.owner,
        collections.c.readers,
        collections.c.label,
    )
    .where(collections.c.tenant == sa.bindparam("tenant"))
    .order_by(collections.c.name)
)


@dataclass(frozen=True)
class Reach:
    """A collection that somebody may read."""

    id: str
    name: str
    label: Label


class Reaches:
    """Finds what the policies and labels let a caller reach."""

    def __init__(
        self, database: Database, country: Country, rights: Rights, memory: Memory
    ) -> None:
        self._database = database
        self._country = country
        self._rights = rights
        self._memory = memory
        self._judging = threading.Lock()
        self._judged_before: OrderedDict[object, dict[Any, Reach | None]] = OrderedDict()

    def collections(self, caller: Caller, label: Label, use_case: UseCase | None) -> list[Reach]:
        """What ``caller`` may read up to ``label``, of those that ``use_case`` has; by name.

        Every collection of the tenant is judged, whichever are asked for: a hidden one then
        takes the same time as an absent one.
        """
        # All that it depends on, and the policies too: they are part of who may read what.
        bound, policies = caller.use_case is not None, self._rights.policies
        who = (caller.principal, caller.strength, bound)
        key = ("reach", who, label, use_case, policies)
        return list(self._memory.recall(key, lambda: self._judged(caller, label, use_case)))

    def _judged(self, caller: Caller, label: Label, use_case: UseCase | None) -> tuple[Reach, ...]:
        tenant = {"tenant": caller.principal.tenant}
        with self._database.read() as connection:
            rows: Any = connection.execute(_OF_TENANT, tenant).all()
        only = None if use_case is None else use_case.collections
        known = self._judgements(caller, label)
        found: list[Reach | None] = []
        for row in rows:
            # A judgement depends on nothing but the asker and these values: it is good as long as
            # they are the same, whatever else has changed.
            values = tuple(row)
            if values not in known:
                readable = self._readable(caller, label, row)
                own = self._country.policy.parse(row.label) if readable else label
                known[values] = Reach(row.id, row.name, own) if readable else None
            found.append(known[values])
        return tuple([one for one in found if one is not None and (only is None or one.id in only)])

    def _judgements(self, caller: Caller, label: Label) -> dict[Any, Reach | None]:
        """What was judged before for this asker, by what it was judged of."""
        bound, policies = caller.use_case is not None, self._rights.policies
        key = (caller.principal, caller.strength, bound, label, policies)
        with self._judging:
            known = self._judged_before.pop(key, None)
            if known is None or len(known) > _MOST_JUDGED:
                known = {}
            self._judged_before[key] = known  # now the newest
            if len(self._judged_before) > _ASKERS:
                self._judged_before.popitem(last=False)
        return known

    def selected(
        self, caller: Caller, label: Label, use_case: UseCase, names: Sequence[str]
    ) -> tuple[str, ...]:
        """Ids of the collections called ``names``, to use up to ``label``; of all without a name.

        Raises NotFound for one that is hidden or absent: the two are never told apart. Raises
        Refused for one that the caller may read, but not under ``use_case``.
        """
        if not names and use_case.collections == ():
            return ()  # there is nothing to hide
        usable = {reach.name: reach.id for reach in self.collections(caller, label, use_case)}
        for name in names:
            if name not in usable:
                raise self._unusable(caller, use_case, name)
        return tuple(dict.fromkeys(usable[name] for name in names or usable))

    def unreadable(self, connection: sa.Connection, caller: Caller, ids: Collection[str]) -> int:
        """How many of the collections with these ids ``caller`` may not read."""
        query = sa.select(collections).where(
            collections.c.tenant == caller.principal.tenant, collections.c.id.in_(ids)
        )
        rows = connection.execute(query).all()
        clearance = caller.principal.clearance
        return len(set(ids)) - sum(self._readable(caller, clearance, row) for row in rows)

    def thing(self, kind: Kind, id: str, tenant: str) -> tuple[Resource, list[Label]] | None:
        """A stored thing of ``tenant`` and its own label, if it has one; None if it is absent.

        Models have no tenant: they belong to the installation, and so to everyone in it.
        """
        if kind not in _TABLES or not re.fullmatch(r"[A-Za-z0-9._-]{1,128}", id):
            return None
        table, owner = _TABLES[kind]
        query = sa.select(table).where(table.c.id == id)
        if "tenant" in table.c:
            query = query.where(table.c.tenant == tenant)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        try:
            labels = [self._country.policy.parse(row.label)] if "label" in table.c else []
            if kind == "Collection":
                return _collection(row), labels
        except (CasemateError, ValueError):
            return None  # what nobody can read is, to everybody, not there
        return Resource(kind, id, tenant, getattr(row, owner)), labels

    def _readable(self, caller: Caller, label: Label, row: sa.Row[Any]) -> bool:
        if not self._country.policy.readable(row.label, label):
            return False
        try:
            own = self._country.policy.parse(row.label)
            resource = _collection(row)
        except (CasemateError, ValueError):
            return False  # what nobody can read the label or the readers of, nobody reads
        permitted = self._rights.decide(caller, "read", resource, labels=[own]).allowed
        # Asked twice on purpose: whatever the policy files say, labels hold.
        return permitted

    def _unusable(self, caller: Caller, use_case: UseCase, name: str) -> CasemateError:
        # Looked for whether it is there or not, so that hidden and absent take the same time.
        readable = self.collections(caller, caller.principal.clearance, None)
        found = next((reach for reach in readable if reach.name == name), None)
        # To a bound key, what lies outside its use case is as hidden as what is secret.
        if found is None or caller.use_case is not None:
            return NotFound(
                f"There is no collection {name!r} that you may read.",
                "`casemate collection list` shows those there are.",
            )
        if use_case.collections is not None and found.id not in use_case.collections:
            what = f"Use case {use_case.id} does not use the collection {name}."
        else:
            up_to = f"Use case {use_case.id} goes up to {use_case.ceiling}"
            what = f"{up_to}, but {name} is {found.label}."
        return Refused(
            what,
            "Ask under another use case with --use-case, or register one: "
            "`casemate usecase register`.",
        )


def _collection(row: sa.Row[Any]) -> Resource:
    """As policies see it. Raises ValueError if its readers are not what was written."""
    readers = None if row.readers is None else json.loads(row.readers)
    if readers is not None:
        if not isinstance(readers, list) or not all(isinstance(one, str) for one in readers):
            raise ValueError("readers")
        readers = tuple(readers)
    return Resource("Collection", row.id, row.tenant, row.owner, readers)
