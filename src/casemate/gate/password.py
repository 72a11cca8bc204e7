"""Passwords: argon2id, and a little common sense about what a password is.

Sources: RFC 9106 (second recommended parameters: 64 MiB, 3 passes, 4 lanes); NIST SP 800-63B-4,
section 3.1.1 (length over composition rules, NFKC before hashing, known passwords refused).
"""

from __future__ import annotations

import threading
import unicodedata
from typing import Protocol

from casemate.errors import Invalid
from casemate.gate.token import Random

SHORTEST = 12
_LONGEST = 512
_DISTINCT = 5  # fewer different characters than this is a pattern, not a password
_AT_ONCE = 2  # each costs 64 MiB: a crowd at the sign-in page must not empty the machine
_KNOWN = (
    "password", "passwort", "motdepasse", "letmein", "welcome", "qwertzuiop", "qwertyuiop",
    "azertyuiop", "iloveyou", "administrator", "correcthorsebatterystaple", "changeme",
    "casemate", "letzebuerg", "lëtzebuerg", "luxembourg",
)  # fmt: skip
_ROWS = ("0123456789012345678901234567890", "abcdefghijklmnopqrstuvwxyz")


class Hasher(Protocol):
    """What this needs of ``argon2.PasswordHasher``; tests use cheaper parameters."""

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        """The encoded hash."""

    def verify(self, hash: str | bytes, password: str | bytes) -> object:
        """Raise unless ``password`` made ``hash``."""


class Passwords:
    """Hashes and checks passwords, few at a time."""

    def __init__(self, random: Random, hasher: Hasher | None = None) -> None:
        self._random = random
        self._hasher = hasher
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        self._decoy: str | None = None

    def hash(self, password: str) -> str:
        """What is stored of ``password``."""
        with self._room:
            return self._argon2().hash(_normal(password), salt=self._random(16))

    def verify(self, stored: str | None, password: str) -> bool:
        """Whether ``password`` made ``stored``; as much work when there is none to compare."""
        from argon2.exceptions import Argon2Error, InvalidHashError

        if self._decoy is None:
            self._decoy = self.hash("nobody has this password")
        with self._room:
            try:
                self._argon2().verify(stored or self._decoy, _normal(password)[:_LONGEST])
            except (Argon2Error, InvalidHashError):
                return False
        return stored is not None

    def _argon2(self) -> Hasher:
        if self._hasher is None:
            import argon2  # a native library, loaded when somebody uses a password

            self._hasher = argon2.PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4)
        return self._hasher


def check_strength(password: str, name: str) -> None:
    """Raise Invalid if ``password`` is one that guessing finds first."""
    plain = _normal(password)
    if len(plain) < SHORTEST:
        raise Invalid(
            f"The password is shorter than {SHORTEST} characters.", "A sentence works well."
        )
    if len(plain) > _LONGEST:
        raise Invalid(f"The password is longer than {_LONGEST} characters.", "Shorten it.")
    bare = "".join(sign for sign in plain.casefold() if sign.isalnum())
    rest = bare
    for known in (*_KNOWN, name.casefold().replace(" ", "")):
        if len(known) >= 4:
            rest = rest.replace(known, "")
    if (
        len(set(plain)) < _DISTINCT
        or any(bare and (bare in row or bare[::-1] in row) for row in _ROWS)
        or len(rest) < SHORTEST // 2
    ):
        raise Invalid(
            "The password is easy to guess: a name, a row of keys or a well-known word.",
            "Choose several words that have nothing to do with each other.",
        )


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKC", password)
