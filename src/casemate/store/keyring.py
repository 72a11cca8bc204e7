"""The keyring: envelope encryption, so that destroying one small key erases what it sealed.

A master key (32 bytes, file of mode 0600) wraps one data key per subject; a data key seals that
subject's content with AES-256-GCM (NIST SP 800-38D), 96-bit random nonces. What a sealed value
belongs to is bound in as associated data: it cannot be moved to another place unnoticed.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from casemate.at_hand import once
from casemate.errors import Invalid, NotFound, Tampered
from casemate.store.database import Database, select_rows
from casemate.store.folder import write_durably
from casemate.store.tables import data_keys

_KEY_BYTES = 32
_NONCE_BYTES = 12
_KEPT = 1024  # unwrapped keys


class Keyring:
    """Seals and opens content under per-subject data keys."""

    def __init__(
        self, master: bytes, database: Database, *, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._master = AESGCM(master)
        self._database = database
        self._random = random
        # Unwrapped keys, each with what it was unwrapped from: one counts only as long as that
        # stands in the database.
        self._unwrapped: OrderedDict[str, tuple[bytes, AESGCM]] = OrderedDict()
        self._keeping = threading.Lock()

    def seal(self, subject: str, content: bytes, *, about: str) -> bytes:
        """Encrypt ``content`` under the data key of ``subject``, made on first use.

        Raises NotFound if the subject was retired.
        """
        (sealed,) = self.seal_all(subject, [(content, about)])
        return sealed

    def seal_all(self, subject: str, contents: Iterable[tuple[bytes, str]]) -> list[bytes]:
        """As ``seal``, for several contents, each with what it is about."""
        key = self._data_key(subject, make=True)
        given = list(contents)
        # Of the kernel itself, which knows when a machine goes on twice from one memory image: a
        # nonce that comes twice under a key opens both texts (NIST SP 800-38D, 8).
        drawn = self._random(_NONCE_BYTES * len(given))
        sealed = []
        for number, (content, about) in enumerate(given):
            nonce = drawn[number * _NONCE_BYTES : (number + 1) * _NONCE_BYTES]
            sealed.append(nonce + key.encrypt(nonce, content, about.encode()))
        return sealed

    def open(self, subject: str, sealed: bytes, *, about: str) -> bytes:
        """Decrypt what ``seal`` made for the same ``subject`` and ``about``.

        Raises NotFound if the data key was destroyed, Tampered if the bytes were changed.
        """
        try:
            return self._data_key(subject, make=False).decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about.encode()
            )
        except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
            raise Tampered(
                "Stored content was changed after it was sealed.",
                "Restore it from a backup, and look into who could write to the data folder.",
            ) from None

    def destroy(self, subject: str) -> bool:
        """Destroy the data key of ``subject``; what it sealed can never be read again."""
        self._forget(subject)
        with self._database.write() as connection:
            gone = connection.execute(sa.delete(data_keys).where(data_keys.c.subject == subject))
        return gone.rowcount > 0

    def retire(self, connection: sa.Connection, subject: str) -> bool:
        """Destroy the data key of ``subject`` and let none be made again; whether there was one.

        In the caller's transaction, so that it happens together with what else is erased.
        """
        self._forget(subject)
        mine = data_keys.c.subject == subject
        known = connection.execute(sa.select(data_keys.c.wrapped).where(mine)).scalar()
        if known is None:
            connection.execute(data_keys.insert().values(subject=subject, wrapped=b""))
        else:
            connection.execute(data_keys.update().where(mine).values(wrapped=b""))
        return bool(known)

    def require(self, connection: sa.Connection, subject: str) -> None:
        """Raise NotFound if ``subject`` was retired: what was sealed before must not be stored.

        In the transaction that stores it; a retirement comes either before or after the whole.
        """
        mine = data_keys.c.subject == subject
        if connection.execute(sa.select(data_keys.c.wrapped).where(mine)).scalar() == b"":
            raise erased()

    def retired(self, connection: sa.Connection, subjects: Collection[str]) -> frozenset[str]:
        """Those of ``subjects`` that were retired; see ``require``."""
        query = _RETIRED.format(",".join("?" * len(subjects)))
        return frozenset(row[0] for row in select_rows(connection, query, *subjects))

    def _data_key(self, subject: str, *, make: bool) -> AESGCM:
        # Whoever stores what is sealed asks again in the transaction: see ``retired``.
        found = once((self, subject), lambda: self._database.glance(_WRAPPED, subject))
        wrapped: bytes | None = found[0][0] if found else None
        if wrapped is None and make:
            wrapped = self._make(subject)
        if not wrapped:
            raise erased()
        with self._keeping:
            known = self._unwrapped.get(subject)
            if known is not None and known[0] == wrapped:
                self._unwrapped.move_to_end(subject)
                return known[1]
        key = self._unwrap(subject, wrapped)
        with self._keeping:
            self._unwrapped[subject] = (wrapped, key)
            if len(self._unwrapped) > _KEPT:
                self._unwrapped.popitem(last=False)
        return key

    def _forget(self, subject: str) -> None:
        with self._keeping:
            self._unwrapped.pop(subject, None)

    def _unwrap(self, subject: str, wrapped: bytes) -> AESGCM:
        try:
            key = self._master.decrypt(
                wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], subject.encode()
            )
        except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
            raise Tampered(
                "A stored key does not open with this installation's master key.",
                "Put back the master key that belongs to this data folder.",
            ) from None
        return AESGCM(key)

    def _make(self, subject: str) -> bytes:
        nonce = self._random(_NONCE_BYTES)
        fresh = nonce + self._master.encrypt(nonce, self._random(_KEY_BYTES), subject.encode())
        with self._database.write() as connection:
            # Two writers may race to make the first key: the first to commit wins.
            known = connection.execute(
                sa.select(data_keys.c.wrapped).where(data_keys.c.subject == subject)
            ).scalar()
            if known is not None:
                return bytes(known)  # empty if it was retired meanwhile
            connection.execute(data_keys.insert().values(subject=subject, wrapped=fresh))
        return fresh


_RETIRED = "SELECT subject FROM data_keys WHERE wrapped = x'' AND subject IN ({})"
_WRAPPED = "SELECT wrapped FROM data_keys WHERE subject = ?"


def erased() -> NotFound:
    """The error for content whose key was destroyed."""
    return NotFound("This content was erased.", "It cannot be brought back.")


def master_key(path: Path, *, make: bool, random: Callable[[int], bytes] = os.urandom) -> bytes:
    """Read the master key, or make it at first start (mode 0600).

    Raises Invalid if it is missing, of the wrong length, or readable by others.
    """
    if make and not path.exists():
        write_durably(path, random(_KEY_BYTES), mode=0o600)
    if not path.is_file():
        raise Invalid(
            "The master key of this data folder is missing.",
            "Put it back: without it nothing sealed here can be read.",
        )
    if path.stat().st_mode & 0o077:
        raise Invalid(
            "The master key can be read by other accounts.",
            "Take their access away: chmod 600 on master.key in the data folder.",
        )
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise Invalid("The master key is damaged.", "Put back the one made at first start.")
    return key
