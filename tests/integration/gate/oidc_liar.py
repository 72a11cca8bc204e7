"""An OpenID provider that can be told to lie: for attacks, which honest ones do not carry out.

It is honest until a test changes something. Honest flows are also tested with a provider that we
did not write, see ``test_oidc_peer``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

CLIENT, SECRET = "casemate", "a secret of nobody's"
EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass
class Liar:
    """``claims``: those of the person. ``change``: what a lie does to the claims of a token."""

    issuer: str
    clock: Callable[[], Any]
    key: RSAKey | ECKey
    published: list[Any] = field(default_factory=list)
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    change: Callable[[dict[str, Any]], Any] = lambda claims: None
    header: dict[str, Any] = field(default_factory=dict)
    sign: Callable[[dict[str, Any], bytes], str] | None = None
    description: dict[str, Any] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)  # path → address
    answer: dict[str, Any] = field(default_factory=dict)  # of the token endpoint
    asked: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)  # Authorization headers
    forms: list[dict[str, str]] = field(default_factory=list)  # what was posted
    pushed: dict[str, dict[str, str]] = field(default_factory=dict)
    pushes: Callable[[dict[str, str]], tuple[int, Any]] | None = None

    def visit(self, address: str) -> dict[str, str]:
        """What the browser of somebody who signs in at ``address`` brings back."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        if "request_uri" in query:
            assert set(query) == {"client_id", "request_uri"}
            query = self.pushed.pop(query["request_uri"])
        assert query["response_type"] == "code"
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        return {"code": code, "state": query["state"]}

    def token(self, claims: dict[str, Any], kind: str = "JWT") -> str:
        """A token of ours about ``claims``, after the lies."""
        self.change(claims)
        header = {"alg": "RS256", "kid": self.key.kid, "typ": kind} | self.header
        header = {name: value for name, value in header.items() if value is not None}
        payload = json.dumps(claims).encode()
        if self.sign is not None:
            return self.sign(header, payload)
        return jws.serialize_compact(header, payload, self.key, algorithms=[header["alg"]])

    def id_token(self, nonce: str, access_token: str) -> str:
        now = int(self.clock().timestamp())
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        return self.token(
            {
                "iss": self.issuer,
                "aud": CLIENT,
                "exp": now + 300,
                "iat": now,
                "nonce": nonce,
                "sub": "248289761001",
                "sid": "session-1",
                "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
                **self.claims,
            }
        )

    def logout_token(self, **changes: Any) -> str:
        now = int(self.clock().timestamp())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 120,
            "jti": "logout-1",
            "events": {EVENT: {}},
            "sub": "248289761001",
            "sid": "session-1",
        }
        claims = {n: v for n, v in (claims | changes).items() if v is not None}
        return self.token(claims, "logout+jwt")

    def get(self, path: str, authorization: str) -> tuple[int, dict[str, Any]]:
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "end_session_endpoint": f"{self.issuer}/end",
                "response_types_supported": ["code"],
                "code_challenge_methods_supported": ["S256"],
                **self.description,
            }
        if path == "/keys":
            return 200, {"keys": [key.as_dict(private=False) for key in self.published]}
        if path == "/userinfo" and authorization == "Bearer access":
            return 200, {"sub": "248289761001", **self.userinfo}
        return 404, {}

    def post(self, path: str, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        self.seen.append(authorization)
        self.forms.append(form)
        if path == "/par":
            if self.pushes is not None:
                return self.pushes(form)
            uri = f"urn:ietf:params:oauth:request_uri:{len(self.forms)}"
            self.pushed[uri] = form
            return 201, {"request_uri": uri, "expires_in": 60}
        asked = self.codes.pop(form.get("code", ""), None)
        if path != "/token" or asked is None or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        hashed = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(hashed).rstrip(b"=").decode() != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        return 200, {
            "access_token": "access",
            "token_type": "Bearer",
            "id_token": self.id_token(asked["nonce"], "access"),
            **self.answer,
        }


def a_key(kid: str) -> RSAKey:
    """A key of its own for each name; made once, since making one takes a while."""
    if kid not in _KEYS:
        _KEYS[kid] = RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})
    return _KEYS[kid]


_KEYS: dict[str, RSAKey] = {}


@contextmanager
def a_liar(clock: Callable[[], Any], tls: ssl.SSLContext | None = None) -> Iterator[Liar]:
    """A provider on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(lambda: liar.get(self.path, self.headers.get("Authorization", "")))

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            form = {n: v[0] for n, v in parse_qs(self.rfile.read(size).decode()).items()}
            self._answer(lambda: liar.post(self.path, form, self.headers.get("Authorization", "")))

        def _answer(self, make: Callable[[], tuple[int, Any]]) -> None:
            liar.asked.append(self.path)
            if self.path in liar.redirects:
                self.send_response(302)
                self.send_header("Location", liar.redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            status, said = make()
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    key, scheme = a_key("first"), "http" if tls is None else "https"
    liar = Liar(f"{scheme}://127.0.0.1:{server.server_address[1]}", clock, key, [key])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield liar
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
