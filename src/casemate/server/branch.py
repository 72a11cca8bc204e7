"""A branch: as much of an installation as a worker needs to answer what can be relayed.

It reads the database for itself, so that rights, limits and models are those of the moment; what is
in force and lies in no database comes from the owner. What it does not have, the owner has: to ask
for it hands the request over.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import msgspec

from casemate.api.handing import HandedOver
from casemate.at_hand import promptly
from casemate.engines.registry import Engines
from casemate.gate import guard, perimeter
from casemate.gate.acts import Acts, stamp
from casemate.gate.admission import Gate
from casemate.gate.certificate import Authorities
from casemate.gate.country import Country
from casemate.gate.enforcement import in_force
from casemate.gate.perimeter import Perimeter, system_resolver
from casemate.gate.refusal import Telling
from casemate.gate.right import Rights
from casemate.installation import Installation, phases
from casemate.models.registry import Models
from casemate.randomness import random_bytes, random_hex
from casemate.reasoning.record import Runs
from casemate.reasoning.relay import server_for
from casemate.reasoning.run import Reasoner
from casemate.server import records, said
from casemate.server.shared_turns import Guest
from casemate.settings import Settings
from casemate.store.database import Database
from casemate.store.folder import DataFolder
from casemate.store.keyring import Keyring, master_key

if TYPE_CHECKING:
    from casemate.engines.schedule import Flow
    from casemate.engines.turns import Turns
    from casemate.gate.admission import Admission
    from casemate.gate.budget import Asker
    from casemate.gate.caller import Caller
    from casemate.gate.capacity import Capacity
    from casemate.ledger.record import Ledger
    from casemate.library.library import Library
    from casemate.models.manifest import Manifest
    from casemate.reasoning.event import Request

_UNCOUNTED = 1 << 30
# Whether what goes on here is for a request to which nothing was answered yet.
asking: ContextVar[bool] = ContextVar("asking", default=False)


class Branch(Installation):
    """One worker's part of an installation. Close it to give back what it holds of limits."""

    def __init__(
        self, orders: said.Orders, settings: Settings, afar: records.Afar, closing: ExitStack
    ) -> None:
        """``afar``: the owner, who holds the folder's lock. Raises what is wrong with the parts."""
        self._afar = afar
        self._closing = closing
        self.settings = settings
        self.process = f"worker {orders.number}"
        self.folder = folder = DataFolder(Path(orders.folder), fresh=False, _lock=-1)
        self.database = Database.open(folder.database)
        closing.callback(self.database.close)
        self.keyring = Keyring(master_key(folder.master_key, make=False), self.database)
        country = (
            Country.load(settings.country)
            if orders.country is None
            else Country.parse(orders.country, settings.country)
        )
        self.gate = self._gate_of(orders, country)
        closing.callback(self.gate.budgets.close)
        closing.callback(self.gate.watches.close)
        if guard.standing():
            closing.callback(Telling(self.gate.acts).close)
        self.models = Models(self.database, self.gate, folder.models)
        self.engines = Engines(self.gate.perimeter, phases=phases(settings))
        self._guest = Guest(afar)
        witnesses = _Witnesses(msgspec.json.decode(orders.witnesses)) if orders.witnesses else None
        self.runs = Runs(
            self.database,
            self.keyring,
            cast("Ledger", _NotHere(witnesses=witnesses)),
            country.policy,
            clock=lambda: stamp(_now()),
            new_id=lambda kind: f"{kind}_{random_hex(10)}",
            random=random_bytes,
            recorder=afar,
        )
        self.used = {}
        self._reasoner = Reasoner(
            cast("Library", _NotHere()),
            self.runs,
            most_characters=settings.question_characters,
            most_of_message=settings.message_characters,
            rounds=settings.run_rounds,
            seconds=settings.run_seconds,
            new_seed=lambda: int.from_bytes(random_bytes(4)) >> 1,
            repeatable=settings.repeatable_runs,
        )

    def __getattr__(self, name: str) -> NoReturn:
        """What is not here, somebody asks for on the way of a request: the owner has it."""
        if asking.get():
            raise HandedOver
        raise AttributeError(name)

    def take_over(self, places: bytes) -> None:
        """Have other places in force."""
        self.gate.perimeter.take_over(places)

    def _gate_of(self, orders: said.Orders, country: Country) -> Gate:
        settings, path = self.settings, self.folder.path
        acts = Acts(records.Acts(self._afar, asking.get), _now)
        rights = Rights(in_force(self.database), acts)
        places = Perimeter(path / perimeter.FILE, country, orders.places, None, system_resolver)
        named, lists = settings.tls_client_ca, settings.tls_client_crl
        authorities = None
        if named:
            authorities = Authorities.load(path / named, path / lists if lists else None)
        gate = Gate(
            self.database,
            country,
            rights,
            places,
            # The owner counts what one principal has open, in all processes together.
            msgspec.structs.replace(settings, concurrent_runs=_UNCOUNTED),
            self.folder.policies,
            keyring=self.keyring,
            authorities=authorities,
        )
        gate.enforcement.follow()
        return gate

    async def _admitted(self, caller: Caller, request: Request, priority: str | None) -> Admission:
        admission = await super()._admitted(caller, request, priority)
        manifest = await promptly(self.models.approved, admission.model)
        # Asked before anything is reserved or recorded: what cannot be relayed is not begun here.
        if manifest.engine != "remote":
            raise HandedOver
        if server_for(admission, request, self.engines.of(manifest)) is None:
            raise HandedOver
        return admission

    def _placed(
        self, manifest: Manifest, capacity: Capacity, flow: Flow, asker: Asker
    ) -> AbstractAsyncContextManager[Turns]:
        return self._guest.placed(manifest.name, flow, asker)

    def _stopped(self, admission: Admission, run: str) -> None:
        self._afar.ask_from_a_thread(lambda number: said.Stopped(number, run))


class _NotHere:
    """A part that a worker does not have, but for what is ``known`` of it."""

    def __init__(self, **known: object) -> None:
        self.__dict__.update(known)

    def __getattr__(self, name: str) -> NoReturn:
        raise HandedOver


@dataclass(frozen=True)
class _Witnesses:
    """What entries of runs say of the witnesses."""

    policy: Mapping[str, Any] = field(default_factory=dict)

    def checkpoint(self, size: int) -> bytes | None:
        """See ``ledger.record.Witnesses``."""
        raise HandedOver


def _now() -> datetime:
    return datetime.now(UTC)
