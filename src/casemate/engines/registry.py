"""Which engine runs a model: one running engine for each approved manifest."""

from __future__ import annotations

import importlib.util
import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from casemate import shapes
from casemate.at_hand import waits
from casemate.counts import Replica
from casemate.engines.engine import Engine
from casemate.engines.quote import QuoteEngine
from casemate.engines.remote import Health, Phases, RemoteEngine
from casemate.engines.turns import Turns
from casemate.errors import Unsupported

if TYPE_CHECKING:
    from casemate.engines.llama.life import Isolated
    from casemate.gate.acts import Acts
    from casemate.gate.label import Label
    from casemate.gate.perimeter import Perimeter
    from casemate.models.manifest import Manifest

_REMOTE_SLOTS = 32  # of a server of which nothing is declared
_USUAL = Phases()


class Engines:
    """Starts engines on first use and keeps them.

    files: the folder that holds a model's files, checked against their digests; raises Tampered.
    acts: where the start and the end of each model process are recorded. required_layers: of
    isolation, for information with a label. slots: how many answers one model computes side by
    side; alone: whether each is computed by itself all the same. waiting: runs that may wait for
    one model. phases: seconds for those of an exchange with a server. Models that lie here need
    files, acts and required_layers.
    """

    def __init__(
        self,
        perimeter: Perimeter,
        *,
        files: Callable[[Manifest], Path] | None = None,
        acts: Acts | None = None,
        required_layers: Callable[[Label], frozenset[str]] | None = None,
        slots: int = 4,
        alone: bool = False,
        waiting: int = 256,
        phases: Phases = _USUAL,
    ) -> None:
        self._perimeter = perimeter
        self._files = files
        self._acts = acts
        self._required_layers = required_layers
        self._slots = slots
        self._alone = alone
        self._waiting = waiting
        self._phases = phases
        self._running: dict[str, Engine] = {}
        self._turns: dict[str, tuple[Manifest, Turns]] = {}
        self._starting = threading.Lock()

    def of(self, manifest: Manifest) -> Engine:
        """The engine that runs this model. Raises Unsupported for one that is not installed."""
        key = manifest.digest()
        with self._starting:  # two first questions at once want one engine
            if key not in self._running:
                self._running[key] = self._start(manifest)
            return self._running[key]

    def slots(self, manifest: Manifest) -> int:
        """Answers that this model computes side by side, where nothing is declared."""
        if manifest.engine == "llama":
            return 1 if self._alone else self._slots
        if manifest.engine == "quote":
            return self._slots
        return _REMOTE_SLOTS * max(1, len(manifest.servers))

    def turns(self, manifest: Manifest) -> Turns:
        """Who has this model, and who waits for it."""
        key = manifest.digest()
        with self._starting:
            if key not in self._turns:
                slots = self.slots(manifest)
                made = Turns(slots, slots + self._waiting, time.monotonic)
                self._turns[key] = (manifest, made)
            return self._turns[key][1]

    def queues(self) -> list[tuple[str, Turns]]:
        """The turns of each model that was asked for, by its id."""
        with self._starting:
            return [(manifest.name, turns) for manifest, turns in self._turns.values()]

    def replicas(self) -> list[tuple[str, tuple[Health, ...]]]:
        """How the servers of each remote model are that was asked for, by its id."""
        with self._starting:
            running = list(self._running.values())
        return [(one.name, one.health()) for one in running if isinstance(one, RemoteEngine)]

    def seen(self) -> tuple[Replica, ...]:
        """The same, as it is told to other processes and added to what they see."""
        return tuple(
            Replica(model, one.number, one.state, one.outstanding, one.failures, one.retries)
            for model, health in self.replicas()
            for one in health
        )

    async def close(self) -> None:
        """Stop them all."""
        running = list(self._running.values())
        self._running.clear()
        async with AsyncExitStack() as closing:  # each, even if another one cannot
            for engine in running:
                closing.push_async_callback(engine.close)

    def _start(self, manifest: Manifest) -> Engine:
        if manifest.engine == "quote":
            return QuoteEngine()
        if manifest.engine == "remote":
            return RemoteEngine(
                manifest.name,
                manifest.servers,
                manifest.upstream or manifest.name,
                self._perimeter,
                key=os.environ.get(_key_variable(manifest.name), ""),
                profile=manifest.profile,
                phases=self._phases,
                fills=bool(manifest.fills),
            )
        if manifest.engine == "llama":
            return self._start_llama(manifest)
        raise Unsupported(
            f"The engine “{manifest.engine}” is not installed here.",
            "This version runs the engines quote, llama and remote.",
        )

    def _start_llama(self, manifest: Manifest) -> Engine:
        waits()  # for what is imported below
        files, acts, required_layers = self._files, self._acts, self._required_layers
        if files is None or acts is None or required_layers is None:
            raise Unsupported("Models that lie here are not run here.", "Choose another model.")
        if importlib.util.find_spec("xllamacpp") is None:
            raise Unsupported(
                "Running models here needs llama.cpp, which is not installed.",
                "Install it: `pip install 'casemate[llama]'`.",
            )
        from casemate.engines.llama.engine import House, LlamaEngine

        shapes.work_out()  # of what was just loaded
        return LlamaEngine(
            manifest,
            House(
                files=files,
                required_layers=required_layers,
                on_started=lambda manifest, isolated: _record_start(acts, manifest, isolated),
                on_stopped=lambda manifest, reason: _record_end(acts, manifest, reason),
                slots=self._slots,
            ),
        )


def _record_start(acts: Acts, manifest: Manifest, isolated: Isolated) -> None:
    acts.record(
        "engine.started",
        None,
        model=manifest.name,
        manifest=manifest.digest(),
        layers=list(isolated.layers),
        missing=dict(isolated.missing),
        # each way out that was tried, and what came of it
        proof={
            name: (answer or "refused") if blocked else f"open {answer}".strip()
            for name, blocked, answer in isolated.proof
        },
    )


def _record_end(acts: Acts, manifest: Manifest, reason: str) -> None:
    acts.record(
        "engine.stopped", None, model=manifest.name, manifest=manifest.digest(), reason=reason
    )


def _key_variable(model: str) -> str:
    """Where the key for one model's server stands: one server never sees another one's key."""
    return "CASEMATE_REMOTE_KEY_" + re.sub(r"[^A-Z0-9]", "_", model.upper())
