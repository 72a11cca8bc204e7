"""Who is asking: the bearer of a key or certificate, or a person with a signed-in browser."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.requests import Request

from casemate.api.certificate import presented
from casemate.api.door import recognise
from casemate.at_hand import promptly
from casemate.errors import Refused

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation

COOKIE = "casemate_session"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


async def bearer(installation: Installation, request: Request) -> Caller:
    """The bearer of the key in the Authorization header, else the holder of the certificate.

    Raises Unauthenticated; Refused if another site made a browser use its certificate.
    """
    header = request.headers.get("authorization")
    if header is None and (shown := presented(request, installation.settings)) is not None:
        if request.method not in _SAFE and _from_page(request) and not _same_origin(request):
            raise _elsewhere()
        caller = await asyncio.to_thread(installation.gate.certificates.caller, shown)
    else:
        caller = await promptly(installation.gate.caller_from_authorization, header)
    recognise(request.scope, caller)
    return caller


async def bearer_or_session(installation: Installation, request: Request) -> Caller:
    """The bearer of a key or certificate, else the person whose session the cookie names.

    Raises Unauthenticated; Refused if another site made a browser send its cookie along.
    """
    session = request.cookies.get(installation.settings.cookie(COOKIE))
    if session is None or "authorization" in request.headers:
        return await bearer(installation, request)
    if request.method not in _SAFE and not _same_origin(request):
        raise _elsewhere()
    caller = await asyncio.to_thread(installation.gate.sessions.caller, session)
    recognise(request.scope, caller)
    return caller


async def auditor(installation: Installation, request: Request) -> Caller:
    """The asker, whom the policies must let see the ledger. Raises Unauthenticated or Refused."""
    caller = await bearer_or_session(installation, request)
    await asyncio.to_thread(installation.gate.require, caller, "audit")
    return caller


def _elsewhere() -> Refused:
    return Refused("This request comes from another site.", "Send it from this one, or with a key.")


def _from_page(request: Request) -> bool:
    """Whether a browser sends this for a page: programs set neither of these."""
    return "sec-fetch-site" in request.headers or "origin" in request.headers


def _same_origin(request: Request) -> bool:
    # Browsers set Sec-Fetch-Site and no script can change it; Origin is for those that do not.
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = urlsplit(request.headers.get("origin", ""))
    return bool(origin.netloc) and origin.netloc == request.headers.get("host")
