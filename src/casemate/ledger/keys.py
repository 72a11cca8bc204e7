"""The ledger's signing keys where they lie: sealed, one file, replaced whole.

One key signs; while the ledger changes its key, two do. Verifying keys that signed once are kept,
so that whoever checks an old receipt can be told which key belongs to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from casemate.errors import Conflict, Invalid
from casemate.ledger.note import Signer
from casemate.store.folder import disk_problem, write_durably
from casemate.store.keyring import Keyring


class _File(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    origin: str
    sealed: bytes
    next: bytes | None = None
    retired: list[str] = []


@dataclass(frozen=True)
class Keys:
    """The key that signs, the one that is to follow it if there is one, and vkeys of old ones."""

    current: Signer
    next: Signer | None = None
    retired: tuple[str, ...] = ()

    @property
    def also(self) -> tuple[Signer, ...]:
        """What signs beside the current key."""
        return () if self.next is None else (self.next,)

    def begun(self) -> Keys:
        """With a new key beside the current one. Raises Conflict if there is one already."""
        if self.next is not None:
            raise Conflict(
                "The ledger is changing its key already.", "Finish or cancel that change first."
            )
        return replace(self, next=Signer.generate(self.current.name))

    def finished(self) -> Keys:
        """With the new key alone. Raises Conflict if none was begun."""
        return Keys(self._following(), None, (*self.retired, self.current.vkey))

    def cancelled(self) -> Keys:
        """With the current key alone. Raises Conflict if no change was begun."""
        return Keys(self.current, None, (*self.retired, self._following().vkey))

    def _following(self) -> Signer:
        if self.next is None:
            raise Conflict("The ledger is not changing its key.", "Begin a change first.")
        return self.next


class KeyFile:
    """The file of the ledger's keys in the data folder."""

    def __init__(self, path: Path, keyring: Keyring) -> None:
        self._path = path
        self._keyring = keyring

    def make(self, origin: str) -> Keys:
        """New keys for a new ledger. Raises Invalid if a key cannot have that name."""
        keys = Keys(Signer.generate(origin))
        self.write(keys)
        return keys

    def read(self) -> Keys:
        """The keys. Raises Invalid if the file is missing or damaged."""
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_File)
        except (OSError, msgspec.DecodeError):
            raise Invalid(
                "The ledger's signing key is missing or damaged.", "Restore it from a backup."
            ) from None
        following = None if kept.next is None else self._opened(kept.origin, kept.next)
        return Keys(self._opened(kept.origin, kept.sealed), following, tuple(kept.retired))

    def write(self, keys: Keys) -> None:
        """Replace the file durably. Raises Unavailable if the disk refuses."""
        following = None if keys.next is None else self._sealed(keys.next)
        file = _File(keys.current.name, self._sealed(keys.current), following, [*keys.retired])
        try:
            write_durably(self._path, msgspec.json.encode(file))
        except OSError as problem:
            raise disk_problem(problem) from problem

    def _sealed(self, signer: Signer) -> bytes:
        return self._keyring.seal("ledger", signer.seed, about=signer.name)

    def _opened(self, origin: str, sealed: bytes) -> Signer:
        return Signer.from_seed(origin, self._keyring.open("ledger", sealed, about=origin))
