"""``/ledger``: the transparency log at the addresses that witnesses and auditors expect.

Format: C2SP tlog-tiles v0.1.0. The checkpoint is open to all; tiles and entry bundles are for
auditors, or for everyone where the installation says so. Whoever accepts gzip gets bundles in it.
"""

from __future__ import annotations

import asyncio
import gzip
import re

from starlette.requests import Request
from starlette.responses import Response

from casemate.api.caller import auditor
from casemate.api.errors import nowhere, platform
from casemate.api.resource import Face, Operation
from casemate.errors import CasemateError
from casemate.ledger.tile import Tile, TileError

_FOREVER = "max-age=31536000, immutable"
_NEVER = "no-store"
_ZERO = re.compile(r"q=0(?:\.0{0,3})?")


async def checkpoint(face: Face, request: Request) -> Response:
    """The newest signed checkpoint."""
    raw = await asyncio.to_thread(face.installation.ledger.log.checkpoint)
    return _text(raw)


async def key(face: Face, request: Request) -> Response:
    """The key that verifies the log's signatures, as a vkey line; two while the key changes."""
    return _text("".join(f"{one}\n" for one in face.installation.ledger.vkeys).encode())


async def tile(face: Face, request: Request) -> Response:
    """A hash tile or an entry bundle."""
    try:
        return await _tile(face, request)
    except CasemateError as problem:
        # What is not there yet may be there in a second, and whoever may not see it may later.
        refusal = platform(problem)
        refusal.headers["Cache-Control"] = _NEVER
        return refusal


async def _tile(face: Face, request: Request) -> Response:
    audience = "public"
    if not face.settings.open_ledger:
        await auditor(face.installation, request)
        audience = "private"
    path = "tile/" + request.path_params["path"]
    try:
        address = Tile.parse(path)
    except TileError:
        raise nowhere() from None
    if not request.scope["path"].endswith(path):  # the router drops a newline behind it
        raise nowhere()
    content = await asyncio.to_thread(face.installation.ledger.log.resource, path)
    if content is None:
        raise nowhere()
    # The address names the width: what it gave once, it gives for ever, partial or full.
    headers = {"Cache-Control": f"{audience}, {_FOREVER}"}
    if address.level is None:
        headers["Vary"] = "Accept-Encoding"
        if _accepts_gzip(",".join(request.headers.getlist("accept-encoding"))):
            content = await asyncio.to_thread(gzip.compress, content, 6, mtime=0)
            headers["Content-Encoding"] = "gzip"
    return Response(content, media_type="application/octet-stream", headers=headers)


def _accepts_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header admits gzip by its name. Source: RFC 9110, 12.5.3."""
    for one in accepted.lower().split(","):
        coding, *parameters = (part.strip() for part in one.split(";"))
        if coding in ("gzip", "x-gzip"):
            return not any(_ZERO.fullmatch(parameter) for parameter in parameters)
    return False


def _text(content: bytes) -> Response:
    headers = {"Cache-Control": _NEVER}
    return Response(content, media_type="text/plain; charset=utf-8", headers=headers)


OPERATIONS = (
    Operation("GET", "/ledger/checkpoint", checkpoint),
    Operation("GET", "/ledger/key", key),
    Operation("GET", "/ledger/tile/{path:path}", tile),
)
