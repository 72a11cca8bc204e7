"""Time-based one-time passwords: the six digits of an authenticator app.

RFC 6238 over RFC 4226, with SHA-1 and steps of 30 seconds, which is what every app can do; the
secret has 160 bits (RFC 4226, section 4).
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable
from urllib.parse import quote, urlencode

DIGITS = 6
STEP_SECONDS = 30
SECRET_BYTES = 20
_AROUND = 1  # steps that a clock may be off


def code(secret: bytes, step: int) -> str:
    """The code of one step (RFC 4226, section 5.3)."""
    mac = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def step_of(secret: bytes, typed: str, seconds: float) -> int | None:
    """The step whose code ``typed`` is, near this second since 1970; None if it is none.

    Every step is compared, in constant time, whichever is right.
    """
    found = None
    for step in _near(int(seconds) // STEP_SECONDS):
        # Of two steps with one code, the later: using it up uses both.
        if hmac.compare_digest(code(secret, step).encode(), typed.encode("utf-8", "replace")):
            found = step
    return found


def address(secret: bytes, issuer: str, account: str) -> str:
    """The otpauth address that an app reads, as text or from a QR code."""
    query = {
        "secret": base64.b32encode(secret).decode().rstrip("="),
        "issuer": issuer,
        "algorithm": "SHA1",
        "digits": DIGITS,
        "period": STEP_SECONDS,
    }
    label = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    return f"otpauth://totp/{label}?{urlencode(query, quote_via=quote)}"


def _near(step: int) -> Iterable[int]:
    return range(max(0, step - _AROUND), step + _AROUND + 1)
