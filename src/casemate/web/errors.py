"""The page for what goes wrong: what happened, what is safe, what to do next.

``response`` renders whatever was raised, for addresses that are the web's own; ``page`` one error
of ours, when it is known who asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from casemate.errors import CasemateError
from casemate.web.page import page as _page
from casemate.web.page import words_for
from casemate.web.words import Words

if TYPE_CHECKING:
    from casemate.gate.caller import Caller

# One family of words a status; anything else reads as a fault of ours.
_FAMILIES = {
    400: "invalid",
    401: "unknown",
    403: "refused",
    404: "missing",
    405: "missing",
    409: "conflict",
    413: "large",
    429: "busy",
    501: "unsupported",
    503: "unavailable",
}


def page(request: Request, error: CasemateError, *, caller: Caller | None = None) -> HTMLResponse:
    """``error`` as a page in the reader's language, with the status of its kind."""
    words = words_for(request)
    return _page(
        "error.html",
        words,
        status=error.status,
        caller=caller,
        path=request.url.path,
        **told(error, words),
    )


def told(error: CasemateError, words: Words) -> dict[str, Any]:
    """What templates need to tell of ``error``: title, what, safe, next, sign_in."""
    family = _FAMILIES.get(error.status, "fault")
    return {
        "title": words(f"error.{family}"),
        "what": error.what,
        "safe": words(f"error.{family}_safe"),
        "next": error.next,
        "sign_in": error.status == 401,
    }


def response(request: Request, error: Exception) -> Response:
    """Whatever was raised, as a page: our errors, Starlette's, and what nobody foresaw.

    Of the last, nothing is shown: its text may quote what a person asked.
    """
    if isinstance(error, CasemateError):
        return page(request, error)
    words = words_for(request)
    status = error.status_code if isinstance(error, HTTPException) else 500
    family = _FAMILIES.get(status, "fault")
    made = _page(
        "error.html",
        words,
        status=status,
        path=request.url.path,
        title=words(f"error.{family}"),
        what="",
        safe=words(f"error.{family}_safe"),
        next="",
        sign_in=False,
    )
    if isinstance(error, HTTPException) and error.headers:
        made.headers.update(error.headers)  # which methods are allowed
    return made
