"""Where a request comes from, and where a person may be sent.

A cookie alone proves nothing about intent: another site could make the browser send a form.
Source: W3C Fetch Metadata Request Headers; RFC 6454 (Origin).
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

from casemate.errors import Refused


def require_same_origin(request: Request, public_url: str = "") -> None:
    """Let only our own pages send forms. Raises Refused for any other origin, or none.

    public_url: the address in the settings, when a proxy changes the Host header.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        allowed = site in ("same-origin", "none")
    else:  # browsers leave it out on plain HTTP outside loopback
        host = urlsplit(request.headers.get("origin", "")).netloc
        allowed = bool(host) and host in (request.headers.get("host"), urlsplit(public_url).netloc)
    if not allowed:
        raise Refused(
            "This form was not sent from a page of this installation.",
            "Open the page here and send it again.",
        )


def local_path(wanted: str) -> str:
    """``wanted`` if it is a path of this installation, else ``/``: never a way to another site."""
    if not wanted.startswith("/") or wanted.startswith(("//", "/\\")):
        return "/"
    if any(character < "!" or character == "\\" for character in wanted):
        return "/"
    return wanted


def is_https(request: Request, public_url: str) -> bool:
    """Whether the person's browser reaches us over TLS."""
    return request.url.scheme == "https" or public_url.startswith("https://")
