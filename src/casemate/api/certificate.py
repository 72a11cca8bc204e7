"""The client certificate of a request: of our own TLS, or handed over by a proxy.

ASGI's ``tls`` extension (client_cert_chain); RFC 9440, the header fields ``Client-Cert`` and
``Client-Cert-Chain``, which only a proxy that the settings name can set.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from starlette.requests import Request

from casemate.api.tls import PEER
from casemate.errors import Unauthenticated
from casemate.gate.certificate import Presented

if TYPE_CHECKING:
    from casemate.settings import Settings

_LEAF, _CHAIN = "client-cert", "client-cert-chain"
_LONGEST = 64 * 1024  # characters of one field
_BINARY = re.compile(r":([A-Za-z0-9+/]*={0,2}):")  # a byte sequence of RFC 8941, section 3.3.5
_MOST = 10


def presented(request: Request, settings: Settings) -> Presented | None:
    """The certificate that the client came with; None if it came with none.

    Of a trusted proxy only the header counts: its own certificate, if it has one, is not the
    client's. Raises Unauthenticated for the header from anybody else, and for a malformed one.
    """
    leaves = request.headers.getlist(_LEAF)
    chains = request.headers.getlist(_CHAIN)
    if _from_proxy(request, settings):
        if not leaves and not chains:
            return None
        if len(leaves) != 1:
            raise _malformed()
        chain = [_decoded(part.strip(" \t")) for one in chains for part in one.split(",")]
        if len(chain) > _MOST:
            raise _malformed()
        return Presented.parse([_decoded(leaves[0].strip(" \t")), *chain], "proxy")
    if leaves or chains:
        raise Unauthenticated(
            "A client certificate was handed over by somebody who is no trusted proxy.",
            "Name the proxy in the setting `trusted_proxies`, or connect without the header.",
        )
    shown = request.scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", ())
    if not shown:
        return None
    return Presented.parse([_from_pem(one) for one in shown], "tls")


def _from_proxy(request: Request, settings: Settings) -> bool:
    if not settings.trusted_proxies:
        return False
    return settings.trusts(request.scope.get(PEER) or "")


def _decoded(item: str) -> bytes:
    form = _BINARY.fullmatch(item) if len(item) <= _LONGEST else None
    if form is None:
        raise _malformed()
    try:
        return base64.b64decode(form[1], validate=True)
    except binascii.Error:
        raise _malformed() from None


def _from_pem(text: str) -> bytes:
    return base64.b64decode("".join(text.split("-----")[2].split()))


def _malformed() -> Unauthenticated:
    return Unauthenticated(
        "The header Client-Cert is malformed.", "Send one, as RFC 9440 says: `Client-Cert: :…:`."
    )
