"""Rotation: the ledger changes its key without a gap in which nobody could check it.

First both keys sign, so that whoever holds either goes on checking, and auditors and witnesses are
given the new one; then the new key signs alone. What the old key signed stays provable with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from casemate.ledger.keys import KeyFile, Keys

if TYPE_CHECKING:
    from casemate.gate.admission import Gate
    from casemate.gate.caller import Caller
    from casemate.ledger.log import Log


class SigningKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger's keys as vkey lines: what signs, what is to follow it, what signed once."""

    vkey: str
    next: str | None
    retired: tuple[str, ...]


class Rotation:
    """Changes the key of a log. Steps are entries of the ledger, recorded before they are done."""

    def __init__(self, log: Log, file: KeyFile, gate: Gate) -> None:
        self._log = log
        self._file = file
        self._gate = gate
        self._one_at_a_time = threading.Lock()

    def keys(self) -> SigningKeys:
        """The verifying keys, which are open to all."""
        keys = self._file.read()
        return SigningKeys(
            vkey=keys.current.vkey,
            next=None if keys.next is None else keys.next.vkey,
            retired=keys.retired,
        )

    def begin(self, caller: Caller) -> SigningKeys:
        """Let a new key sign beside the current one.

        Raises Refused for who may not administer; Conflict if a change is under way.
        """
        return self._step(caller, "ledger.key_added", Keys.begun)

    def finish(self, caller: Caller) -> SigningKeys:
        """Let the new key sign alone. Raises Refused; Conflict if no change is under way."""
        return self._step(caller, "ledger.key_retired", Keys.finished)

    def cancel(self, caller: Caller) -> SigningKeys:
        """Let the current key sign alone and give the new one up. Raises as ``finish``."""
        return self._step(caller, "ledger.key_withdrawn", Keys.cancelled)

    def _step(self, caller: Caller, kind: str, change: Callable[[Keys], Keys]) -> SigningKeys:
        self._gate.require(caller, "administer")
        with self._one_at_a_time:
            before = self._file.read()
            after = change(before)
            changed = _signing(before) ^ _signing(after)
            # If the step before was cut off, its keys sign before one of them may be given up.
            self._log.sign_with(before.current, before.also)
            self._gate.acts.record(kind, caller.principal, keys=sorted(changed))
            # From here on a start, too, signs with these: the file decides, the log follows.
            self._file.write(after)
            self._log.sign_with(after.current, after.also)
        return self.keys()


def _signing(keys: Keys) -> set[str]:
    return {keys.current.vkey, *(one.vkey for one in keys.also)}
