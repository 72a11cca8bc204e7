"""TLS of the server itself: its certificate, and those that it asks of machines.

A client may come without a certificate: people do. One that comes with a bad one is turned away
in the handshake, with an alert that names the reason (RFC 8446, section 6.2).
"""

from __future__ import annotations

import logging
import ssl
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from casemate.errors import Invalid

if TYPE_CHECKING:
    import asyncio

    from casemate.settings import Settings

PEER = "casemate.peer"  # in the ASGI scope: the address that the connection comes from
_log = logging.getLogger("casemate.api.tls")


def context(settings: Settings, folder: Path) -> ssl.SSLContext | None:
    """The server's TLS, if the settings give it a certificate; files lie below ``folder``.

    Raises Invalid, naming the setting whose file is wrong.
    """
    if not settings.tls_certificate:
        return None
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.sslobject_class = _Handshake
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= ssl.OP_NO_RENEGOTIATION  # RFC 9113, section 9.2.1
    made.set_alpn_protocols(["h2", "http/1.1"] if settings.http2 else ["http/1.1"])
    key = folder / (settings.tls_key or settings.tls_certificate)
    _check_private(key)
    try:
        # Asked for on a terminal otherwise, where nobody may be.
        made.load_cert_chain(folder / settings.tls_certificate, key, password=_no_password)
    except (OSError, ssl.SSLError):
        raise Invalid(
            "The server's certificate and key cannot be used.",
            "Look at the settings `tls_certificate` and `tls_key`: PEM files that belong together, "
            "the key without a password.",
        ) from None
    if settings.tls_client_ca:
        try:
            made.load_verify_locations(folder / settings.tls_client_ca)
        except (OSError, ssl.SSLError):
            raise Invalid(
                "The authorities of client certificates cannot be used.",
                "Look at the setting `tls_client_ca`: a PEM file.",
            ) from None
        made.verify_mode = ssl.CERT_OPTIONAL
        made.verify_flags |= ssl.VERIFY_X509_STRICT
    return made


class Protocol(HttpToolsProtocol):
    """HTTP, with the certificate of the client in the scope, as ASGI's ``tls`` extension has it."""

    _shown: tuple[str, ...] | None = None  # None: plain HTTP

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._shown = shown(transport)

    def on_message_begin(self) -> None:
        """See httptools."""
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        # "client" may be whom the header X-Forwarded-For names: nothing to give rights by.
        scope[PEER] = self.client[0] if self.client else ""
        if self._shown is not None:
            scope.setdefault("extensions", {})["tls"] = {"client_cert_chain": self._shown}


def shown(transport: asyncio.BaseTransport) -> tuple[str, ...] | None:
    """The certificate that the client came with, if it has one, as PEM; None over plain HTTP."""
    encrypted = transport.get_extra_info("ssl_object")
    if encrypted is None:
        return None
    der = encrypted.getpeercert(binary_form=True)
    return (ssl.DER_cert_to_PEM_cert(der),) if der else ()


class _Handshake(ssl.SSLObject):
    """A handshake whose end is told.

    asyncio drops a connection whose handshake fails, with the alert that says why still unsent.
    Here the failure waits for one more turn, in which the alert goes out.
    """

    _refusal: ssl.SSLCertVerificationError | None = None

    def do_handshake(self) -> None:
        """See ssl.SSLObject."""
        if self._refusal is not None:
            raise self._refusal
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as problem:
            self._refusal = problem
            _log.warning("a client certificate was refused: %s", problem.verify_message)
            raise ssl.SSLWantReadError from None


def _check_private(key: Path) -> None:
    try:
        mode = key.stat().st_mode
    except OSError:
        return  # said better where it is loaded
    if stat.S_IMODE(mode) & 0o007:
        raise Invalid(
            "The server's private key lies in a file that everybody may read.",
            "Take that right away: chmod 600.",
        )


def _no_password() -> bytes:
    return b""
