"""``/ledger``: the transparency log at the addresses that witnesses and auditors expect.

Format: C2SP tlog-tiles v0.1.0. The checkpoint is open to all; tiles and entry bundles are for
auditors, or for everyone where the installation says so.
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from casemate.api.caller import auditor
from casemate.api.errors import nowhere
from casemate.api.resource import Face, Operation
from casemate.ledger.tile import FULL, Tile, TileError

_FOREVER = "max-age=31536000, immutable"


async def checkpoint(face: Face, request: Request) -> Response:
    """The newest signed checkpoint."""
    raw = await asyncio.to_thread(face.installation.ledger.log.checkpoint)
    return _text(raw)


async def key(face: Face, request: Request) -> Response:
    """The key that verifies the log's signatures, as a vkey line."""
    return _text(face.installation.ledger.vkey.strip().encode() + b"\n")


async def tile(face: Face, request: Request) -> Response:
    """A hash tile or an entry bundle."""
    audience = "public"
    if not face.settings.open_ledger:
        await auditor(face.installation, request)
        audience = "private"
    path = "tile/" + request.path_params["path"]
    try:
        address = Tile.parse(path)
    except TileError:
        raise nowhere() from None
    content = await asyncio.to_thread(face.installation.ledger.log.resource, path)
    if content is None:
        raise nowhere()
    # A partial tile is dropped once a wider one exists; a full one never changes.
    caching = f"{audience}, {_FOREVER}" if address.width == FULL else "no-store"
    return Response(
        content, media_type="application/octet-stream", headers={"Cache-Control": caching}
    )


def _text(content: bytes) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(content, media_type="text/plain; charset=utf-8", headers=headers)


OPERATIONS = (
    Operation("GET", "/ledger/checkpoint", checkpoint),
    Operation("GET", "/ledger/key", key),
    Operation("GET", "/ledger/tile/{path:path}", tile),
)
