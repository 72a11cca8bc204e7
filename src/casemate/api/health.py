"""``/healthz``, ``/readyz`` and ``/metrics``: what those who run the machine ask."""

from __future__ import annotations

import asyncio
import ipaddress

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from casemate.api.caller import auditor
from casemate.api.door import door_of
from casemate.api.errors import known
from casemate.api.gauges import families
from casemate.api.metrics import CONTENT_TYPE, metrics_of
from casemate.api.resource import Face, Operation
from casemate.errors import Unavailable

_RELAYED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


async def alive(face: Face, request: Request) -> Response:
    """The process answers."""
    return PlainTextResponse("alive\n")


async def ready(face: Face, request: Request) -> Response:
    """The database and the ledger answer."""
    installation = face.installation
    try:
        await asyncio.to_thread(installation.library.count)
        await asyncio.to_thread(installation.ledger.log.checkpoint)
    except Exception as problem:
        known(problem)  # for the log; the asker needs no more than "not ready"
        raise Unavailable("Not ready.", "Wait, or see the log of the server.") from None
    return PlainTextResponse("ready\n")


async def metrics(face: Face, request: Request) -> Response:
    """Counts for Prometheus, to this machine and to auditors."""
    if not _local(request):
        await auditor(face.installation, request)
    installation = face.installation
    entries = installation.ledger.log.size
    documents = await asyncio.to_thread(installation.library.count)
    more = families(installation, door_of(request.scope).turns)
    elsewhere = await installation.counted_elsewhere()
    text = metrics_of(request.scope).text(
        ledger_entries=entries, documents=documents, more=more, elsewhere=elsewhere
    )
    return Response(text, headers={"Content-Type": CONTENT_TYPE})


def _local(request: Request) -> bool:
    # A proxy on this machine also connects from loopback; what it relays is not local.
    if request.client is None or any(name in request.headers for name in _RELAYED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


OPERATIONS = (
    Operation("GET", "/healthz", alive),
    Operation("GET", "/readyz", ready),
    Operation("GET", "/metrics", metrics),
)
