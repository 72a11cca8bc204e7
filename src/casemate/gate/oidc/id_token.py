"""ID tokens: who signed in at a provider just now, for us, because of what this browser asked.

OpenID Connect Core 1.0 with errata 2, sections 2, 3.1.3.6 and 3.1.3.7. ``check`` is pure: claims
whose signature is good go in, and come out unless one of them is wrong.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from collections.abc import Mapping
from typing import Any

from casemate.gate.oidc.provider import Provider
from casemate.gate.sign_in_refusal import Untrusted

_OLDEST = 600  # seconds: a token that was fetched just now was not made long ago


def check(
    claims: Mapping[str, Any],
    provider: Provider,
    *,
    now: float,
    nonce: str,
    algorithm: str,
    access_token: str | None,
) -> None:
    """Refuse claims that are not about this sign-in. Raises Untrusted, naming the check."""
    check_issuer(claims, provider)
    check_audience(claims, provider)
    check_times(claims, provider, now)
    given = claims.get("nonce")
    # compare_digest refuses text outside ASCII, so both are compared as bytes
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
        raise Untrusted("it answers another sign-in (nonce)")
    hashed = claims.get("at_hash")
    if hashed is not None and (access_token is None or hashed != at_hash(access_token, algorithm)):
        raise Untrusted("the access token is not the one it came with (at_hash)")
    subject(claims)


def check_issuer(claims: Mapping[str, Any], provider: Provider) -> None:
    """Refuse claims of another issuer."""
    if claims.get("iss") != provider.issuer:
        raise Untrusted("another provider issued it (iss)")


def check_audience(claims: Mapping[str, Any], provider: Provider) -> None:
    """Refuse claims that are not for us, or also for somebody who is not named in the settings."""
    audience = claims.get("aud")
    several = audience if isinstance(audience, list) else [audience]
    if provider.client_id not in several:
        raise Untrusted("it is for another application (aud)")
    others = [one for one in several if one != provider.client_id]
    if any(not isinstance(one, str) or one not in provider.other_audiences for one in others):
        raise Untrusted("it is also for an application that is not named here (aud)")
    party = claims.get("azp", provider.client_id if not others else None)
    if party != provider.client_id:
        raise Untrusted("it was made for another application (azp)")


def check_times(claims: Mapping[str, Any], provider: Provider, now: float) -> None:
    """Refuse claims from another time, as far as the provider's clock may differ from ours."""
    expires, issued = _time(claims, "exp"), _time(claims, "iat")
    if expires <= now - provider.skew:
        raise Untrusted("it has expired (exp)")
    if issued > now + provider.skew:
        raise Untrusted("it was made in the future (iat)")
    if issued < now - _OLDEST - provider.skew:
        raise Untrusted("it was made too long ago (iat)")
    if claims.get("nbf") is not None and _time(claims, "nbf") > now + provider.skew:
        raise Untrusted("it is not valid yet (nbf)")


def too_old(claims: Mapping[str, Any], provider: Provider) -> float:
    """The time from which ``check_times`` refuses these claims for good."""
    until = min(_time(claims, "exp"), _time(claims, "iat") + _OLDEST)
    return until + provider.skew + 1


def subject(claims: Mapping[str, Any]) -> str:
    """The provider's own name for the person: 1 to 255 ASCII characters."""
    found = claims.get("sub")
    if not isinstance(found, str) or not 1 <= len(found) <= 255 or not found.isascii():
        raise Untrusted("it does not say who signed in (sub)")
    return found


def at_hash(access_token: str, algorithm: str) -> str:
    """What an ID token says of the access token: half of its digest. Core, section 3.1.3.6."""
    # Ed25519 signs with SHA-512 inside, and that is what providers take here.
    bits = algorithm[-3:] if algorithm[-3:].isdecimal() else "512"
    whole = hashlib.new(f"sha{bits}", access_token.encode()).digest()
    return base64.urlsafe_b64encode(whole[: len(whole) // 2]).rstrip(b"=").decode()


def _time(claims: Mapping[str, Any], name: str) -> float:
    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise Untrusted(f"it does not say when ({name})")
    return found
