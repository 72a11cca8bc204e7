"""The floor of a model process: who computes beside whom.

llama.cpp computes what arrives together in one batch, and the last bits of a result depend on
what else is in it. Whoever must come out the same again therefore has the floor alone; the others
share it, one slot each. First come, first served.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Floor:
    """``slots`` may compute side by side, or one alone."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._inside = 0
        self._door = asyncio.Lock()  # fair: whoever waits for an empty floor holds back the rest
        self._left = asyncio.Event()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """One slot among others."""
        async with self._door:
            await self._until(self._slots - 1)
            self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self._left.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """The whole floor."""
        async with self._door:
            await self._until(0)
            yield

    async def _until(self, most: int) -> None:
        while self._inside > most:
            self._left.clear()
            await self._left.wait()
