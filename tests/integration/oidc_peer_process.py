"""An OpenID provider of others: idpyoidc, behind a few lines of HTTP, in a process of its own.

Every answer (description, codes, tokens, claims, logout tokens) is the library's. It prints its
issuer, reads the addresses of its client (back, logout, after, keys; one a line), and serves until
its standard input ends.

Usage: python oidc_peer_process.py HOST    (the name of this machine in its addresses)
"""

from __future__ import annotations

import json
import sys
import threading
import warnings
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from idpyoidc.message.oauth2 import ResponseMessage
from idpyoidc.message.oidc import AccessTokenRequest, AuthorizationRequest
from idpyoidc.server import Server
from idpyoidc.server.client_authn import verify_client
from idpyoidc.server.configure import OPConfiguration

CLIENT, SECRET = "casemate", "hemmelig-secret-of-specimens-0123456789"
KEYED = "casemate-keyed"  # the same installation, known by its key
METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
PASSWORD = "moien"
SUBSTANTIAL = "http://eidas.europa.eu/LoA/substantial"
PEOPLE = {
    "claire": {
        "name": "Claire Specimen",
        "preferred_username": "claire",
        "groups": ["clerks"],
        "clearance": "lu:restricted",
    },
    "gast": {"name": "Gast Specimen", "preferred_username": "gast", "groups": ["visitors"]},
}
FORM = """<form method="post" action="{{ action }}">
<input type="hidden" name="token" value="{{ token }}">
<label>{{ user_label }} <input name="username"></label>
<label>{{ passwd_label }} <input name="password" type="password"></label>
<button>{{ submit_btn }}</button></form>"""


def configuration(issuer: str, folder: Path) -> dict[str, Any]:
    place = "idpyoidc.server"
    (folder / "user_pass.jinja2").write_text(FORM)
    (folder / "passwords.json").write_text(json.dumps(dict.fromkeys(PEOPLE, PASSWORD)))
    keys = [
        {"type": "RSA", "key": "", "use": ["sig"]},
        {"type": "EC", "crv": "P-256", "use": ["sig"]},
    ]
    return {
        "issuer": issuer,
        "httpc_params": {"timeout": 10},
        "key_conf": {"key_defs": keys, "uri_path": "keys"},
        "subject_types_supported": ["public"],
        "endpoint": {
            "provider_info": {
                "path": ".well-known/openid-configuration",
                "class": f"{place}.oidc.provider_config.ProviderConfiguration",
                "kwargs": {},
            },
            "authorization": {
                "path": "authorization",
                "class": f"{place}.oidc.authorization.Authorization",
                "kwargs": {
                    "response_types_supported": ["code"],
                    "response_modes_supported": ["query"],
                },
            },
            "token": {
                "path": "token",
                "class": f"{place}.oidc.token.Token",
                "kwargs": {"client_authn_method": METHODS},
            },
            "pushed_authorization": {
                "path": "par",
                "class": f"{place}.oauth2.pushed_authorization.PushedAuthorization",
                "kwargs": {"client_authn_method": METHODS},
            },
            "userinfo": {
                "path": "userinfo",
                "class": f"{place}.oidc.userinfo.UserInfo",
                "kwargs": {"client_authn_method": ["bearer_header"]},
            },
            "session": {
                "path": "session",
                "class": f"{place}.oidc.session.Session",
                "kwargs": {
                    "logout_verify_url": f"{issuer}/verify_logout",
                    "post_logout_uri_path": "post_logout",
                    "signing_alg": "RS256",
                    "frontchannel_logout_supported": False,
                    "backchannel_logout_supported": True,
                    "backchannel_logout_session_supported": True,
                },
            },
        },
        "authentication": {
            "user": {
                "acr": SUBSTANTIAL,
                "class": f"{place}.user_authn.user.UserPassJinja2",
                "kwargs": {
                    "verify_endpoint": f"{issuer}/verify/user",
                    "template": "user_pass.jinja2",
                    "db": {
                        "class": f"{place}.util.JSONDictDB",
                        "kwargs": {"filename": str(folder / "passwords.json")},
                    },
                },
            }
        },
        "template_dir": str(folder),
        "userinfo": {"class": f"{place}.user_info.UserInfo", "kwargs": {"db": PEOPLE}},
        "client_authn": verify_client,
        "scopes_to_claims": {
            "openid": ["sub"],
            "profile": ["name", "preferred_username", "groups", "clearance"],
        },
        "add_ons": {
            "pkce": {
                "function": f"{place}.oauth2.add_on.pkce.add_support",
                "kwargs": {"essential": True, "code_challenge_methods": {"S256": None}},
            }
        },
        "cookie_handler": {
            "class": f"{place}.cookie_handler.CookieHandler",
            "kwargs": {
                "keys": {
                    "key_defs": [
                        {"type": "OCT", "kid": "enc", "use": ["enc"]},
                        {"type": "OCT", "kid": "sig", "use": ["sig"]},
                    ]
                },
                "flags": {"samesite": "Lax", "httponly": True, "secure": False},
            },
        },
        "token_handler_args": {
            "key_conf": {
                "key_defs": [
                    {"type": "oct", "bytes": 24, "use": ["enc"], "kid": "code"},
                ]
            },
            "code": {"lifetime": 300, "kwargs": {}},
            "token": {
                "class": f"{place}.token.jwt_token.JWTToken",
                "kwargs": {"lifetime": 300, "aud": [issuer]},
            },
            "id_token": {
                "class": f"{place}.token.id_token.IDToken",
                "kwargs": {"lifetime": 300, "add_claims_by_scope": True},
            },
        },
    }


def a_server(issuer: str, folder: Path) -> Server:
    conf = configuration(issuer, folder)
    server = Server(OPConfiguration(conf, base_path=str(folder)), cwd=str(folder))
    # It would want a token of the client here, where a browser comes and has none.
    server.endpoint["session"].client_authentication = lambda *_, **__: None
    server.context.provider_info["jwks_uri"] = f"{issuer}/keys"
    return server


def register(server: Server, back: str, logout: str, after: str, keys: str) -> None:
    server.context.cdb[CLIENT] = {
        "client_id": CLIENT,
        "client_secret": SECRET,
        "redirect_uris": [(one, None) for one in back.split()],
        "post_logout_redirect_uri": [(after, None)],
        "response_types_supported": ["code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "client_secret_basic",
        "backchannel_logout_uri": logout,
        "backchannel_logout_session_required": True,
        "id_token_signed_response_alg": "RS256",
        "allowed_scopes": ["openid", "profile"],
        "add_claims": {"by_scope": {"id_token": True}},
    }
    server.keyjar.add_symmetric(CLIENT, SECRET)
    server.context.cdb[KEYED] = {
        **server.context.cdb[CLIENT],
        "client_id": KEYED,
        "client_secret": "",
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks_uri": keys,
    }
    server.keyjar.add_url(KEYED, keys)


class Handler(BaseHTTPRequestHandler):
    server_of_others: Server

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        self.serve(address.path, dict(parse_qsl(address.query)))

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        self.serve(urlsplit(self.path).path, dict(parse_qsl(self.rfile.read(size).decode())))

    def serve(self, path: str, form: dict[str, str]) -> None:
        op = self.server_of_others
        context = op.context
        session = op.endpoint["session"]
        if path == "/keys":
            body = context.keyjar.export_jwks()
            self.answer(200, json.dumps(body), {"Content-Type": "application/json"})
        elif path == "/verify/user":
            self.signed_in(form)
        elif path == "/verify_logout":
            told = session.unpack_signed_jwt(form["sjwt"])
            session.do_verified_logout(sid=told["sid"])
            self.answer(303, "", {"Location": told["redirect_uri"]})
        else:
            for endpoint in op.endpoint.values():
                if path.strip("/") == endpoint.endpoint_path.strip("/"):
                    self.endpoint(endpoint, form)
                    return
            self.answer(404, "nothing", {})

    def signed_in(self, form: dict[str, str]) -> None:
        op = self.server_of_others
        method = op.context.authn_broker.get_method_by_id("user")
        user = method.verify(**form)
        told = method.unpack_token(form["token"])
        request = AuthorizationRequest().from_urlencoded(told["query"])
        endpoint = op.endpoint["authorization"]
        id = endpoint.create_session(request, user, told["authn_class_ref"], told["iat"], method)
        self.said(endpoint, request, endpoint.authz_part2(request=request, session_id=id))

    def endpoint(self, endpoint: Any, form: dict[str, str]) -> None:
        jar = SimpleCookie(self.headers.get("Cookie", ""))
        about = {
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "method": self.command,
            "url": self.path,
            "cookie": [{"name": one.key, "value": one.value} for one in jar.values()],
        }
        if endpoint.name == "authorization" and "request_uri" in form:
            # The library looks for response_type before it looks up what was pushed, where it is.
            pushed = self.server_of_others.context.par_db.pop(form["request_uri"])
            form = dict(parse_qsl(AuthorizationRequest(**pushed).to_urlencoded()))
        try:
            request = endpoint.parse_request(form, http_info=about)
            if isinstance(request, ResponseMessage) and "error" in request:
                self.answer(400, request.to_json(), {"Content-Type": "application/json"})
                return
            if endpoint.name == "token":
                request = AccessTokenRequest(**request)
            self.said(endpoint, request, endpoint.process_request(request, http_info=about))
        except Exception as problem:
            sys.stderr.write(f"{endpoint.name}: {problem!r}\n")
            error = {"error": "invalid_request", "error_description": str(problem)}
            self.answer(400, json.dumps(error), {"Content-Type": "application/json"})

    def said(self, endpoint: Any, request: Any, told: Any) -> None:
        if "redirect_location" in told:
            self.answer(303, "", {"Location": told["redirect_location"]})
            return
        if isinstance(told.get("http_response"), dict):  # what was pushed
            headers = {"Content-Type": "application/json"}
            self.answer(201, json.dumps(told["http_response"]), headers)
            return
        if "http_response" in told:
            self.answer(200, told["http_response"], {"Content-Type": "text/html"})
            return
        if "error" in told:
            self.answer(400, json.dumps(dict(told)), {"Content-Type": "application/json"})
            return
        made = endpoint.do_response(request=request, **told)
        headers = dict(made["http_headers"])
        cookies = made.get("cookie", [])
        placement = made.get("response_placement", endpoint.response_placement)
        if placement == "url":
            self.answer(303, "", {"Location": made["response"]}, cookies)
        else:
            self.answer(made.get("response_code", 200), made["response"], headers, cookies)

    def answer(self, status: int, body: str, headers: dict[str, str], cookies: Any = ()) -> None:
        raw = body.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        for cookie in [cookies] if isinstance(cookies, dict) else cookies:
            jar: SimpleCookie = SimpleCookie({cookie["name"]: cookie["value"]})
            self.send_header("Set-Cookie", jar[cookie["name"]].OutputString() + "; Path=/")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        return


def main(host: str) -> None:
    warnings.simplefilter("ignore")
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = f"http://{host}:{http.server_address[1]}"
    with TemporaryDirectory() as folder:
        Handler.server_of_others = a_server(issuer, Path(folder))
        serving = threading.Thread(target=http.serve_forever, daemon=True)
        serving.start()
        print(issuer, flush=True)
        back, logout, after, keys = (sys.stdin.readline().strip() for _ in range(4))
        register(Handler.server_of_others, back, logout, after, keys)
        print("registered", flush=True)
        sys.stdin.read()
        http.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
