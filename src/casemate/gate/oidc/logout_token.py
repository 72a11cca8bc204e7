"""Logout tokens: a provider's word that a session there is over.

OpenID Connect Back-Channel Logout 1.0, sections 2.4 and 2.6. An ID token never passes for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from casemate.gate.oidc import id_token
from casemate.gate.oidc.provider import Provider
from casemate.gate.sign_in_refusal import Untrusted

_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_KINDS = frozenset({None, "jwt", "logout+jwt"})


@dataclass(frozen=True)
class Ended:
    """What is over: all sessions of ``subject``, or the one called ``session``. ``id``: used once.

    until: seconds since 1970 from which the token is too old to be used, whoever has it.
    """

    id: str
    subject: str | None
    session: str | None
    until: float

    @classmethod
    def of(
        cls, claims: Mapping[str, Any], kind: str | None, provider: Provider, now: float
    ) -> Self:
        """What ``claims``, whose signature is good, say. Raises Untrusted, naming the check."""
        if kind not in _KINDS:
            raise Untrusted("it is a token of another kind (typ)")
        id_token.check_issuer(claims, provider)
        id_token.check_audience(claims, provider)
        id_token.check_times(claims, provider, now)
        events = claims.get("events")
        if not isinstance(events, Mapping) or not isinstance(events.get(_EVENT), Mapping):
            raise Untrusted("it says nothing of a logout (events)")
        if "nonce" in claims:
            raise Untrusted("it is a token of another kind (nonce)")
        id = claims.get("jti")
        if not isinstance(id, str) or not 1 <= len(id) <= 255:
            raise Untrusted("it has no name of its own (jti)")
        who = id_token.subject(claims) if "sub" in claims else None
        session = claims.get("sid")
        if session is not None and (not isinstance(session, str) or not 1 <= len(session) <= 2048):
            raise Untrusted("it does not say which session is over (sid)")
        if who is None and session is None:
            raise Untrusted("it does not say whose session is over (sub, sid)")
        return cls(id, who, session, id_token.too_old(claims, provider))
