"""Tokens: identifiers and secrets out of a random source, and how secrets are kept.

A secret here is 256 random bits, so a fast hash keeps it: nobody can try 2^256 values, whatever a
try costs. (A password is guessable, which is why ``password`` uses a slow, memory-hard one.)
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

Random = Callable[[int], bytes]

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def identifier(random: Random, length: int = 16) -> str:
    """``length`` lower-case characters, five random bits each, without - or _."""
    return "".join(_ALPHABET[byte & 31] for byte in random(length))


def secret(random: Random) -> str:
    """256 random bits as 43 URL-safe characters (RFC 4648, section 5, unpadded)."""
    return base64.urlsafe_b64encode(random(32)).rstrip(b"=").decode()


def fingerprint(token: str) -> str:
    """What is stored of a secret: its SHA-256, hex. Not reversible, see above."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
