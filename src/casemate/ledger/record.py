"""The ledger as the other layers use it: record an entry, and later make a receipt of two.

Source: RFC 8785 for the bytes of an entry; RFC 6962 for its leaf hash.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from casemate.at_hand import waits
from casemate.errors import TooLarge
from casemate.ledger import receipt
from casemate.ledger.canonical import canonical
from casemate.ledger.log import Log
from casemate.ledger.merkle import leaf_hash
from casemate.ledger.receipt import Opening, Receipt
from casemate.ledger.sequencer import batched
from casemate.spread import Spread


@dataclass(frozen=True)
class Recorded:
    """A durable entry: its index, its leaf hash ("sha256:" and 64 hex digits), its bytes."""

    index: int
    leaf: str
    entry: bytes


class Witnesses(Protocol):
    """Whose cosignatures receipts carry. ``policy``: as an entry says it, see docs."""

    @property
    def policy(self) -> Mapping[str, object]:
        """How many are asked ("of"), how many must have signed ("needed"), and "failing"."""
        ...

    def checkpoint(self, size: int) -> bytes | None:
        """The newest signed checkpoint of ``size`` entries or more that enough of them cosigned.

        None if there is none and receipts are given without; else raises Unavailable.
        """
        ...


class Ledger:
    """A log of canonical JSON entries. ``witnesses``: None where nobody is asked."""

    def __init__(self, log: Log, witnesses: Witnesses | None = None) -> None:
        self.log = log
        self.witnesses = witnesses
        self.times = Spread()  # from an entry to its being durable

    @property
    def vkey(self) -> str:
        """The verifying key, as one line of text."""
        return self.log.vkey

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The verifying key of each key that signs now: more than one while the key changes."""
        return self.log.vkeys

    def record(self, entry: Mapping[str, object]) -> Recorded:
        """Record one entry; returns once it is durable.

        Raises ReceiptError if the entry has no canonical form; TooLarge above 65,535 bytes;
        Unavailable if it cannot be recorded: then nothing may be answered.
        """
        waits()
        began = time.perf_counter()
        written, future = self._append(entry)
        index = future.result()
        self.times.add(time.perf_counter() - began)
        return _recorded(index, written)

    def record_together(self, entries: Sequence[bytes]) -> list[Recorded | Exception]:
        """Record entries in their canonical bytes side by side: for each, where it is, or why not.

        Returns once each of them is durable or refused. The calling thread writes them.
        """
        waits()
        began = time.perf_counter()
        found: list[Recorded | Exception] = []
        for group in batched(entries):
            try:
                first = self.log.append_here(group)
            except Exception as problem:
                if len(group) == 1 or not isinstance(problem, TooLarge):
                    found += [problem] * len(group)
                else:  # whose fault it is not is recorded all the same
                    found += [one for entry in group for one in self.record_together([entry])]
                continue
            spent = time.perf_counter() - began
            for index, written in enumerate(group, first):
                self.times.add(spent)
                found.append(_recorded(index, written))
        return found

    async def record_async(self, entry: Mapping[str, object]) -> Recorded:
        """As ``record``, without holding up the event loop while the disk works."""
        # a full queue blocks the caller, so the wait for room happens in a thread as well
        began = time.perf_counter()
        written, future = await asyncio.to_thread(self._append, entry)
        index = await asyncio.wrap_future(future)
        self.times.add(time.perf_counter() - began)
        return _recorded(index, written)

    def receipt_for(
        self, admitted_index: int, finished_index: int, openings: Iterable[Opening]
    ) -> Receipt:
        """The receipt of the run with these two entries.

        Against the newest checkpoint that enough witnesses cosigned, or the current one where none
        are asked. Raises NotFound if an entry does not exist; Tampered if the log is damaged;
        ReceiptError if an opening cannot stand in a receipt; Unavailable if witnesses must have
        signed and have not.
        """
        cosigned = None
        if self.witnesses is not None:
            cosigned = self.witnesses.checkpoint(max(admitted_index, finished_index) + 1)
        proofs = self.log.proofs(admitted_index, finished_index, checkpoint=cosigned)
        entries = [self.log.entry(index) for index in (admitted_index, finished_index)]
        admitted, finished = map(receipt.Recorded, entries, proofs)
        return Receipt(admitted, finished, tuple(openings))

    def _append(self, entry: Mapping[str, object]) -> tuple[bytes, Future[int]]:
        written = canonical(dict(entry))
        return written, self.log.append(written)


def _recorded(index: int, entry: bytes) -> Recorded:
    return Recorded(index, f"sha256:{leaf_hash(entry).hex()}", entry)
