"""Accepting: new clients are spread over the workers, which all accept on one socket.

asyncio takes all connections that wait, so whoever wakes up first would have all of a burst, and
keep them: programs hold their connections. So a worker takes one in a turn of its event loop, and
leaves it for a moment to one that has fewer. How many each has stands in a few bytes of memory that
all processes share; nobody waits for anybody.
"""

from __future__ import annotations

import mmap
import os
import socket
import time
from collections.abc import Callable
from typing import Any

_ABSENT = (1 << 32) - 1  # of a worker that accepts nobody
_PATIENCE_SECONDS = 0.002  # for somebody with fewer clients to take one; they may be busy, or hang
_FORGOTTEN_SECONDS = 0.05  # after which a connection that waits is another one


class Balance:
    """How many clients each worker has. ``descriptor``: of the memory, as ``made`` gives it."""

    def __init__(self, descriptor: int, of: int) -> None:
        self._clients = memoryview(mmap.mmap(descriptor, 4 * of)).cast("I")

    @staticmethod
    def made(of: int) -> int:
        """The descriptor of new memory for so many workers, none of which accepts anybody."""
        descriptor = os.memfd_create("casemate-workers")
        os.write(descriptor, _ABSENT.to_bytes(4, "little") * of)
        return descriptor

    def has(self, number: int, clients: int) -> None:
        """Worker ``number``, from 1, has so many."""
        self._clients[number - 1] = clients

    def leaves(self, number: int) -> None:
        """Worker ``number`` accepts nobody any more."""
        self._clients[number - 1] = _ABSENT

    def takes(self, number: int) -> None:
        """Worker ``number`` has one more."""
        self._clients[number - 1] += 1

    def light(self, number: int) -> bool:
        """Whether nobody has fewer than worker ``number``."""
        return self._clients[number - 1] <= min(self._clients)


class Shared(socket.socket):
    """The listening socket, as worker ``number`` has it."""

    def __init__(
        self,
        descriptor: int,
        balance: Balance,
        number: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(fileno=descriptor)
        self._balance = balance
        self._number = number
        self._clock = clock
        self._accepted = False
        self._since = float("-inf")  # when a connection was left to others first

    def accept(self) -> tuple[socket.socket, Any]:
        """See socket. Raises BlockingIOError also where it is somebody else's turn."""
        if self._accepted:
            self._accepted = False
            raise BlockingIOError
        if not self._balance.light(self._number) and self._leaves():
            raise BlockingIOError
        found = super().accept()
        self._accepted = True
        self._balance.takes(self._number)
        return found

    def _leaves(self) -> bool:
        """Whether to leave a connection to somebody else once more."""
        now = self._clock()
        if now - self._since > _FORGOTTEN_SECONDS:
            self._since = now
        return now - self._since < _PATIENCE_SECONDS
