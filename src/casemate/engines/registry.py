"""Which engine runs a model: one running engine for each approved manifest."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from casemate.engines.engine import Engine
from casemate.engines.quote import QuoteEngine
from casemate.engines.remote import RemoteEngine
from casemate.errors import Unsupported

if TYPE_CHECKING:
    from casemate.gate.perimeter import Perimeter
    from casemate.models.manifest import Manifest


class Engines:
    """Starts engines on first use and keeps them."""

    def __init__(self, perimeter: Perimeter) -> None:
        self._perimeter = perimeter
        self._running: dict[str, Engine] = {}

    def of(self, manifest: Manifest) -> Engine:
        """The engine that runs this model. Raises Unsupported for one that is not installed."""
        key = manifest.digest()
        if key not in self._running:
            self._running[key] = self._start(manifest)
        return self._running[key]

    async def close(self) -> None:
        """Stop them all."""
        for engine in self._running.values():
            await engine.close()
        self._running.clear()

    def _start(self, manifest: Manifest) -> Engine:
        if manifest.engine == "quote":
            return QuoteEngine()
        if manifest.engine == "remote":
            return RemoteEngine(
                manifest.address or "",
                manifest.upstream or manifest.name,
                self._perimeter.route,
                key=os.environ.get(_key_variable(manifest.name), ""),
                profile=manifest.profile,
            )
        raise Unsupported(
            f"The engine “{manifest.engine}” is not installed here.",
            "This version runs the engines quote and remote.",
        )


def _key_variable(model: str) -> str:
    """Where the key for one model's server stands: one server never sees another one's key."""
    return "CASEMATE_REMOTE_KEY_" + re.sub(r"[^A-Z0-9]", "_", model.upper())
