"""The files that pages are made of: style, script, and the mark of the house.

They are few and small, so they are read once. Their address holds a digest of them all: browsers
keep them for ever, modules find each other by relative names, and a new version is a new address.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@dataclass(frozen=True)
class Assets:
    """All static files by name, and the digest that stands in their address."""

    digest: str
    contents: dict[str, bytes] = field(repr=False)

    def address(self, name: str) -> str:
        """Where a page finds the file ``name``. Raises KeyError if there is none."""
        if name not in self.contents:
            raise KeyError(name)
        return f"/static/{self.digest}/{name}"


@cache
def assets() -> Assets:
    """The static files of this version."""
    contents = {
        entry.name: entry.read_bytes()
        for entry in files("casemate.web").joinpath("static").iterdir()
        if entry.name.rpartition(".")[2] in _TYPES
    }
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        digest.update(b"%b\0%d\0%b" % (name.encode(), len(content), content))
    return Assets(digest.hexdigest()[:12], contents)


def routes() -> list[BaseRoute]:
    """``/static/DIGEST/NAME``."""
    return [Route("/static/{digest}/{name}", _serve, methods=["GET"])]


async def _serve(request: Request) -> Response:
    found = assets()
    name = request.path_params["name"]
    content = found.contents.get(name)
    if content is None:
        return PlainTextResponse("There is no such file.", 404)
    current = request.path_params["digest"] == found.digest
    return Response(
        content,
        media_type=_TYPES[name.rpartition(".")[2]],
        headers={
            # an old page may ask for a new file under an old address: then nothing is kept
            "Cache-Control": "public, max-age=31536000, immutable" if current else "no-store",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
        },
    )
