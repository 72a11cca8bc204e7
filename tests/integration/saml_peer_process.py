"""A SAML identity provider of others: pysaml2, behind a few lines of HTTP, in a process of its own.

Every document is the library's, and every signature is made by xmlsec1. It prints its address and
the file of its metadata, reads the file of the other side's metadata, and serves until its
standard input ends. Whoever comes is signed in as the person whose name they fill in.

Usage: python saml_peer_process.py HOST FOLDER    (its own name in addresses; where files may lie)
"""

from __future__ import annotations

import datetime
import functools
import html
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import saml2.entity
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
from saml2.config import IdPConfig
from saml2.metadata import create_metadata_string
from saml2.saml import NAME_FORMAT_URI, NAMEID_FORMAT_PERSISTENT
from saml2.server import Server
from saml2.sigver import (
    CryptoBackendXmlSec1,
    get_xmlsec_binary,
    pre_encryption_part,
    verify_redirect_signature,
)
from saml2.xmldsig import DIGEST_SHA256, SIG_RSA_SHA256

SUBSTANTIAL = "http://eidas.europa.eu/LoA/substantial"
PEOPLE: dict[str, dict[str, list[str]]] = {
    "claire": {"uid": ["claire"], "eduPersonAffiliation": ["clerk"], "title": ["lu:restricted"]},
    "paul": {"uid": ["paul"], "eduPersonAffiliation": ["clerk"], "title": ["lu:restricted"]},
    "gast": {"uid": ["gast"], "eduPersonAffiliation": ["visitor"]},
}
ENCRYPTED = ("claire",)  # whose assertions are
FORM = """<form method="post" action="/sso"><input type="hidden" name="SAMLRequest" value="{asked}">
<input type="hidden" name="SigAlg" value="{algorithm}">
<input type="hidden" name="Signature" value="{signature}">
<label>Username <input name="username"></label><button>Log in</button></form>"""
ANSWER = """<form method="post" action="{address}">
<input type="hidden" name="SAMLResponse" value="{answer}"><button>Go on</button></form>"""


def configuration(base: str, folder: Path, other: str | None) -> dict[str, Any]:
    return {
        "entityid": f"{base}/idp",
        "service": {
            "idp": {
                "endpoints": {
                    "single_sign_on_service": [(f"{base}/sso", BINDING_HTTP_REDIRECT)],
                    "single_logout_service": [(f"{base}/slo", BINDING_HTTP_REDIRECT)],
                },
                "want_authn_requests_signed": True,
                "name_id_format": [NAMEID_FORMAT_PERSISTENT],
                "policy": {"default": {"lifetime": {"minutes": 5}, "name_form": NAME_FORMAT_URI}},
            }
        },
        "key_file": str(folder / "idp.key"),
        "cert_file": str(folder / "idp.crt"),
        "xmlsec_binary": get_xmlsec_binary(),
        "metadata": {"local": [other]} if other else {},
    }


def make_key(folder: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name.from_rfc4514_string("CN=idp.example")
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, SHA256())
    )
    pem, form = Encoding.PEM, PrivateFormat.TraditionalOpenSSL
    (folder / "idp.crt").write_bytes(made.public_bytes(pem))
    (folder / "idp.key").write_bytes(key.private_bytes(pem, form, NoEncryption()))


class Handler(BaseHTTPRequestHandler):
    idp: Server

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, dict(parse_qsl(urlsplit(self.path).query))
        if path == "/leave":
            self.leave(query["username"])
        elif path == "/slo":
            self.left(query)
        else:
            fields = [("SAMLRequest", "asked"), ("SigAlg", "algorithm"), ("Signature", "signature")]
            self.answer(FORM.format(**{key: html.escape(query[name]) for name, key in fields}))

    def leave(self, name: str) -> None:
        """Send a browser to the other side, to say that ``name`` has signed out here."""
        (other,) = self.idp.metadata.service_providers()
        name_id = self.idp.ident.find_nameid(name)[0]
        (place,) = self.idp.metadata.single_logout_service(other, BINDING_HTTP_REDIRECT, "spsso")
        _, request = self.idp.create_logout_request(
            place["location"], other, name_id=name_id, sign=False
        )
        bound = self.idp.apply_binding(
            BINDING_HTTP_REDIRECT,
            str(request),
            place["location"],
            relay_state="done there",
            sign=True,
            sigalg=SIG_RSA_SHA256,
        )
        self.send_response(303)
        self.send_header("Location", dict(bound["headers"])["Location"])
        self.end_headers()

    def left(self, query: dict[str, str]) -> None:
        """What the other side answers, checked by the library, its signature included."""
        said = self.idp.parse_logout_request_response(query["SAMLResponse"], BINDING_HTTP_REDIRECT)
        signed = verify_redirect_signature(
            query,
            self.idp.sec.sec_backend,
            self.idp.metadata.certs(said.issuer(), "any", "signing")[0][1],
        )
        self.answer(f"{said.status_ok()} {bool(signed)} {query['RelayState']}")

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        form = dict(parse_qsl(self.rfile.read(size).decode()))
        request = self.idp.parse_authn_request(
            form["SAMLRequest"],
            BINDING_HTTP_REDIRECT,
            sigalg=form["SigAlg"],
            signature=form["Signature"],
        )
        wanted = self.idp.response_args(request.message)
        said = self.idp.create_authn_response(
            PEOPLE[form["username"]],
            userid=form["username"],
            authn={"class_ref": SUBSTANTIAL, "authn_auth": self.idp.config.entityid},
            sign_assertion=True,
            sign_response=False,
            sign_alg=SIG_RSA_SHA256,
            digest_alg=DIGEST_SHA256,
            encrypt_assertion=form["username"] in ENCRYPTED,
            **{name: wanted[name] for name in _WANTED if name in wanted},
        )
        bound = self.idp.apply_binding(
            BINDING_HTTP_POST, str(said), wanted["destination"], response=True
        )
        fields = dict(_fields(bound["data"]))
        page = ANSWER.format(
            address=html.escape(wanted["destination"]), answer=fields["SAMLResponse"]
        )
        self.answer(page)

    def answer(self, body: str) -> None:
        raw = body.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        return


_WANTED = ("in_response_to", "destination", "sp_entity_id", "name_id_policy")


def _fields(page: str) -> list[tuple[str, str]]:
    import re

    return re.findall(r'name="(\w+)" value="([^"]*)"', page)


def encrypt_as_of_today() -> None:
    """The library encrypts with triple DES unless its own functions are told otherwise."""
    cipher = "http://www.w3.org/2009/xmlenc11#aes256-gcm"
    saml2.entity.pre_encryption_part = functools.partial(pre_encryption_part, msg_enc=cipher)
    encrypt = CryptoBackendXmlSec1.encrypt_assertion

    def longer(self: Any, statement: Any, key: str, template: Any, _: str, xpath: str) -> Any:
        return encrypt(self, statement, key, template, "aes-256", xpath)

    CryptoBackendXmlSec1.encrypt_assertion = longer


def main(host: str, folder: str) -> None:
    place = Path(folder)
    encrypt_as_of_today()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    base = f"http://{host}:{http.server_address[1]}"
    make_key(place)
    own = IdPConfig().load(configuration(base, place, None))
    (place / "idp.xml").write_bytes(create_metadata_string(None, config=own))
    print(base, flush=True)
    other = sys.stdin.readline().strip()
    Handler.idp = Server(config=IdPConfig().load(configuration(base, place, other)))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    print("registered", flush=True)
    sys.stdin.read()
    http.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
