"""Signed tokens: claims that the holder of one of a provider's keys has signed.

JSON Web Signature, RFC 7515, compact form; keys are JSON Web Keys, RFC 7517. What RFC 8725 (best
current practice) warns of is refused: a token says which algorithm it uses, and never decides it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from casemate.gate.sign_in_refusal import Untrusted

LONGEST = 64 * 1024  # characters
_SMALLEST_RSA = 2048  # bits
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}

Key = Mapping[str, Any]


class UnknownKey(Exception):
    """None of the keys is the one that the token names: perhaps there are newer ones."""


@dataclass(frozen=True)
class Token:
    """A token that was taken apart. Nothing in it is to be believed before ``claims`` says so."""

    text: str
    algorithm: str
    kid: str | None
    kind: str | None  # "typ", in lower case and without "application/"

    @classmethod
    def parse(cls, text: str, allowed: Iterable[str]) -> Token:
        """The token ``text``. Raises Untrusted if it is malformed or of another algorithm."""
        if len(text) > LONGEST or text.count(".") != 2:
            raise Untrusted("it is not a signed token")
        header = _json(_decoded(text.partition(".")[0]), "header")
        algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")
        if not isinstance(algorithm, str) or algorithm not in frozenset(allowed):
            raise Untrusted("it is signed with an algorithm that is not allowed")
        if "crit" in header or header.get("b64") is False:
            raise Untrusted("its header asks for what is not known here")
        if not isinstance(kid, str | None) or not isinstance(kind, str | None):
            raise Untrusted("its header is malformed")
        return cls(text, algorithm, kid, kind and kind.lower().removeprefix("application/"))

    def claims(self, keys: Sequence[Key]) -> dict[str, Any]:
        """What the token says, once its signature is found good.

        Raises UnknownKey if none of ``keys`` is meant; Untrusted if the signature is not good.
        """
        from joserfc import jws
        from joserfc.errors import JoseError
        from joserfc.jwk import RSAKey, import_key

        fitting = [key for key in keys if self._fits(key)]
        if not fitting:
            raise UnknownKey
        if len(fitting) > 1:
            raise Untrusted("it does not say which of several keys signed it")
        try:
            # Only what makes a public key is taken over, whatever else the provider published.
            parts = ("kty", "n", "e", "crv", "x", "y")
            key = import_key({part: fitting[0][part] for part in parts if part in fitting[0]})
            if isinstance(key, RSAKey) and key.raw_value.key_size < _SMALLEST_RSA:
                raise Untrusted("it is signed with a key that is too small")
            # Its registry knows no names but those given here; "none" and HMAC are never given.
            good = jws.deserialize_compact(self.text, key, algorithms=[self.algorithm])
        except (JoseError, ValueError, TypeError, KeyError) as problem:
            raise Untrusted("its signature is not good") from problem
        return _json(good.payload, "content")

    def _fits(self, key: Key) -> bool:
        curve = _CURVES.get(self.algorithm)
        return (
            isinstance(key, Mapping)
            and key.get("kty") == _KINDS[self.algorithm[:2]]
            and (self.kid is None or key.get("kid") == self.kid)
            and key.get("use", "sig") == "sig"
            and key.get("alg", self.algorithm) == self.algorithm
            and (curve is None or key.get("crv") == curve)
            and "verify" in (key.get("key_ops") or ["verify"])
        )


def _decoded(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Untrusted("it is not a signed token") from None


def _json(content: bytes, what: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise Untrusted(f"its {what} is not a JSON object") from None
