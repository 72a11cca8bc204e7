"""The sequencer: many callers' entries become one sequence, in batches that are made durable whole.

A batch is whatever waited while the one before was written: under little load an entry waits for
nobody, under much one sync serves thousands. Waiting costs memory, so it is bounded in bytes, and
whoever comes then waits outside.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future

from casemate.errors import TooLarge, Unavailable
from casemate.ledger.tile import MAX_ENTRY

BATCH = 4096
"""Entries in one batch, which bounds what a crash can leave beyond the checkpoint."""

BATCH_BYTES = 8 << 20
WAITING_BYTES = 16 << 20
_OVERHEAD = 512  # bytes of memory that an entry costs beside its own, about

Commit = Callable[[Sequence[bytes]], int]
"""Makes entries durable and gives the index of the first; raises if none of them is."""


class _Group:
    """Entries that become durable together, their bytes, and whoever waits for them."""

    __slots__ = ("entries", "future", "size")

    def __init__(self, entries: Sequence[bytes]) -> None:
        self.entries = tuple(map(bytes, entries))
        self.size = sum(map(len, self.entries))
        self.future: Future[int] = Future()

    @property
    def weight(self) -> int:
        return self.size + _OVERHEAD * len(self.entries)


class Sequencer:
    """One thread that commits what any number of threads append. ``close`` ends it."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._waiting: deque[_Group] = deque()
        self._weight = 0
        self._closed = False
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._emptied = threading.Condition(lock)
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def append(self, entries: Sequence[bytes]) -> Future[int]:
        """Append entries as one group, one behind the other; the future gives the first's index.

        Blocks while ``WAITING_BYTES`` wait. Raises TooLarge if an entry is above 65,535 bytes or
        they are more than one batch takes; Unavailable once it is closed.
        """
        group = _Group(entries)
        check_group(group.entries, group.size)
        weight = group.weight
        with self._emptied:
            while self._weight and self._weight + weight > WAITING_BYTES and not self._closed:
                self._emptied.wait()
            if self._closed:
                raise Unavailable("The ledger is closed.", "Start again.")
            self._waiting.append(group)
            self._weight += weight
            self._filled.notify()
        return group.future

    @property
    def closed(self) -> bool:
        """Whether it takes no more."""
        return self._closed

    def close(self) -> None:
        """Commit what waits, then stop. May be called twice."""
        with self._filled:
            self._closed = True
            self._filled.notify_all()
            self._emptied.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while taken := self._take():
            batch = [one for one in taken if one.future.set_running_or_notify_cancel()]
            if not batch:
                continue
            try:
                index = self._commit([entry for one in batch for entry in one.entries])
            except BaseException as error:
                # whoever waits must hear of it, and the next batch may well succeed
                for one in batch:
                    one.future.set_exception(error)
            else:
                for one in batch:
                    one.future.set_result(index)
                    index += len(one.entries)

    def _take(self) -> list[_Group]:
        """The next batch, as soon as anything waits; nothing once it is closed and empty."""
        with self._filled:
            while not self._waiting and not self._closed:
                self._filled.wait()
            taken: list[_Group] = []
            count = size = 0
            while self._waiting:
                count += len(self._waiting[0].entries)
                size += self._waiting[0].size
                if taken and (count > BATCH or size > BATCH_BYTES):
                    break
                taken.append(self._waiting.popleft())
                self._weight -= taken[-1].weight
            self._emptied.notify_all()
            return taken


def batched(entries: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Entries in groups that one batch takes, in their order."""
    group: list[bytes] = []
    size = 0
    for entry in entries:
        size += len(entry)
        if group and (len(group) == BATCH or size > BATCH_BYTES):
            yield group
            group, size = [], len(entry)
        group.append(entry)
    if group:
        yield group


def check_group(entries: Sequence[bytes], size: int) -> None:
    """Raise TooLarge if an entry is above 65,535 bytes, or they are more than one batch takes.

    size: bytes of all of them.
    """
    largest = max(map(len, entries), default=0)
    if largest > MAX_ENTRY:
        raise TooLarge(
            f"A ledger entry has at most {MAX_ENTRY:,} bytes, this one {largest:,}.",
            "Commit to long content instead of recording it.",
        )
    if len(entries) > BATCH or size > BATCH_BYTES:
        raise TooLarge(
            f"At most {BATCH:,} entries and {BATCH_BYTES:,} bytes are recorded together.",
            "Record them in several groups.",
        )
