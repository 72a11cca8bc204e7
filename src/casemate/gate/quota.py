"""Quotas: how many runs one principal may have open at a time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from casemate.errors import TooMany
from casemate.gate.principal import Principal


class Quota:
    """Counts open runs; safe to use from several threads."""

    def __init__(self, concurrent: int) -> None:
        self._concurrent = concurrent
        self._open: Counter[str] = Counter()
        self._counting = threading.Lock()

    @contextmanager
    def run(self, principal: Principal) -> Iterator[None]:
        """A place for one run, given back when the block ends. Raises TooMany if none is free."""
        with self._counting:
            if self._open[principal.id] >= self._concurrent:
                raise TooMany(
                    f"You have {self._concurrent} runs open, as many as are allowed.",
                    "Wait until one has finished, then ask again.",
                )
            self._open[principal.id] += 1
        try:
            yield
        finally:
            with self._counting:
                self._open[principal.id] -= 1
                if not self._open[principal.id]:
                    del self._open[principal.id]
