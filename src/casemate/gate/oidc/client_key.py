"""A client's own key: how Casemate proves itself to a provider without a secret that both know.

JWT client authentication: RFC 7523, section 3; OpenID Connect Core 1.0, section 9
(``private_key_jwt``). The assertion names the provider as its one audience, as the FAPI 2.0
Security Profile asks, so that it is of no use anywhere else, and lives a minute. The public half is
served, so that a provider can fetch it when it changes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from casemate.errors import Unavailable
from casemate.gate.oidc.secret import Secret

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = {"RSA": ("PS256", "RS256"), "EC": ("ES256", "ES384", "ES512"), "OKP": ("EdDSA",)}
"""What a key of each kind can sign with; the first is the usual one."""
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_SMALLEST_RSA = 2048  # bits
_SECONDS = 60  # that an assertion lives


@dataclass(frozen=True)
class ClientKey:
    """A reference to a private key (PEM), read each time it is used. algorithm: empty: the usual.

    Its value is where it lies, as with ``Secret``.
    """

    secret: Secret
    algorithm: str

    def assertion(self, client: str, audience: str, id: str, now: int) -> str:
        """A signed word of ``client``, for ``audience`` alone. Raises Unavailable (key)."""
        from joserfc import jws

        key = self._key()
        claims = {
            "iss": client,
            "sub": client,
            "aud": audience,
            "jti": id,
            "iat": now,
            "exp": now + _SECONDS,
        }
        algorithm = self._algorithm(key)
        header = {"typ": "JWT", "alg": algorithm, "kid": key.thumbprint()}
        content = json.dumps(claims).encode()
        return jws.serialize_compact(header, content, key, algorithms=[algorithm])

    def published(self) -> dict[str, Any]:
        """The public half as a JSON Web Key (RFC 7517). Raises Unavailable."""
        key = self._key()
        public = key.as_dict(private=False)
        return {**public, "kid": key.thumbprint(), "use": "sig", "alg": self._algorithm(key)}

    def _algorithm(self, key: RSAKey | ECKey | OKPKey) -> str:
        possible = ALGORITHMS[key.key_type]
        if key.key_type == "EC":
            possible = (_CURVES.get(str(key.as_dict(private=False)["crv"]), ""),)
        chosen = self.algorithm or possible[0]
        if not chosen or chosen not in possible:
            raise _unfit()
        return chosen

    def _key(self) -> RSAKey | ECKey | OKPKey:
        from joserfc.errors import JoseError
        from joserfc.jwk import ECKey, OKPKey, RSAKey

        pem = self.secret.read()
        for kind in (RSAKey, ECKey, OKPKey):
            try:
                key: RSAKey | ECKey | OKPKey = kind.import_key(pem)
            except (JoseError, ValueError, TypeError):
                continue
            small = isinstance(key, RSAKey) and key.raw_value.key_size < _SMALLEST_RSA
            if small or not key.is_private:
                break
            return key
        raise _unfit()


def _unfit() -> Unavailable:
    return Unavailable(
        "The key with which this installation proves itself to a sign-in service cannot be used.",
        "Put a private key in PEM form, RSA of 2,048 bits or more, an elliptic curve of NIST or "
        "Ed25519, where the file of identity providers says.",
    )
