"""A witness's HTTP face: ``add-checkpoint``, and the latest checkpoint of each log for monitors.

Protocol: C2SP tlog-witness (C2SP/C2SP, commit 5ba5ee8). An application of its own: a witness
runs without a platform.
"""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from casemate.api.body import bounded
from casemate.api.errors import known
from casemate.errors import CasemateError
from casemate.ledger.witness import MAX_BODY, Malformed, Stale, Witness

_TEXT = "text/plain; charset=utf-8"
_SIZE = "text/x.tlog.size"
_BODY_SECONDS = 30


def app(witness: Witness, prefix: str = "") -> Starlette:
    """The application of ``witness``. ``prefix``: the path before ``/add-checkpoint``."""
    base = prefix.strip("/")
    base = f"/{base}" if base else ""

    async def add_checkpoint(request: Request) -> Response:
        receive = bounded(request.receive, request.scope, MAX_BODY)
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await Request(request.scope, receive).body()
        except (TimeoutError, ClientDisconnect):
            raise Malformed("The request did not arrive whole.", "Send it again.") from None
        return _answer(await asyncio.to_thread(witness.add_checkpoint, body))

    async def checkpoint(request: Request) -> Response:
        found = await asyncio.to_thread(witness.checkpoint, request.path_params["origin"])
        return _answer(found)

    async def about(request: Request) -> Response:
        text = f"A witness of transparency logs (c2sp.org/tlog-witness). Its key:\n{witness.vkey}\n"
        return _answer(text.encode())

    return Starlette(
        routes=[
            Route(f"{base}/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route(f"{base}/{{origin}}/checkpoint", checkpoint, methods=["GET"]),
            Route(f"{base}/", about, methods=["GET"]),
        ],
        exception_handlers={
            CasemateError: _problem,
            HTTPException: _problem,
            Exception: _problem,
        },
    )


async def _problem(request: Request, problem: Exception) -> Response:
    if isinstance(problem, Stale):
        return _answer(f"{problem.size}\n".encode(), 409, _SIZE)
    if isinstance(problem, HTTPException):
        response = _answer(f"{problem.detail}.\n".encode(), problem.status_code)
        response.headers.update(problem.headers or {})
        return response
    shown = known(problem)
    return _answer(f"{shown}\n".encode(), shown.status)


def _answer(content: bytes, status: int = 200, kind: str = _TEXT) -> Response:
    # A raw header: Starlette would add a charset to text/x.tlog.size, and the protocol names it so.
    headers = {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Type": kind,
    }
    return Response(content, status, headers)
