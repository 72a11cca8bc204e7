"""The page for what goes wrong: what happened, what is safe, what to do next.

``response`` renders whatever was raised, for addresses that are the web's own; ``page`` one error
of ours, when it is known who asks. What people without a shell meet is told in the reader's own
language, by the place and the kind of the error; the rest in the English of the layer that raised
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from casemate.errors import (
    CasemateError,
    Conflict,
    Invalid,
    NotFound,
    Refused,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from casemate.gate.own_account import WrongPassword
from casemate.gate.sign_in_refusal import Barred, Cancelled, Late, Unassured, Unentitled, Untrusted
from casemate.library.parse import Unreadable
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
    415: "unsupported",
    429: "busy",
    501: "unsupported",
    503: "unavailable",
}


# (place, kind) → words; see ``_place`` for what places there are. "" is any place.
_TOLD: dict[tuple[str, type[CasemateError]], str] = {
    ("sign_in", Unauthenticated): "password",
    ("code", Unauthenticated): "code",
    ("link", Unauthenticated): "link",
    ("provider", Cancelled): "provider_cancelled",
    ("provider", Late): "provider_late",
    ("provider", Untrusted): "provider_untrusted",
    ("provider", Unentitled): "provider_rights",
    ("provider", Unassured): "provider_assurance",
    ("provider", Barred): "provider_barred",
    ("provider", Refused): "provider_closed",
    ("provider", NotFound): "provider_unknown",
    ("provider", Unavailable): "provider_silent",
    ("account", WrongPassword): "present_password",
    ("account", Invalid): "weak_password",
    ("account", Refused): "no_password",
    ("", Unauthenticated): "session",
    ("ask", NotFound): "choice",
    ("ask", TooLarge): "question",
    ("run", NotFound): "run",
    ("document", NotFound): "document",
    ("collection", Conflict): "name_taken",
    ("collection", Invalid): "name_bad",
    ("file", NotFound): "collection",
    ("file", Unsupported): "file_kind",
    ("file", TooLarge): "file_large",
    ("files", TooLarge): "files_large",
}
# How the fact of an Unreadable begins → words. Longer beginnings come first.
_UNREAD = (
    ("is encrypted or in a format from before", "file_old"),
    ("is encrypted", "file_encrypted"),
    ("is damaged", "file_damaged"),
    ("is nested too deeply", "file_damaged"),
    ("is empty", "file_empty"),
    ("has no text", "file_textless"),
    ("holds no text", "file_textless"),
    ("is not text", "file_misnamed"),
    ("is not a text document", "file_misnamed"),
    ("is larger than", "file_large"),
    ("has more than", "file_long"),
    ("holds more than", "file_long"),
    ("holds too much", "file_long"),
    ("would unpack to more than", "file_long"),
    ("needs more than", "file_long"),
    ("took longer than", "file_long"),
)


def page(request: Request, error: CasemateError, *, caller: Caller | None = None) -> HTMLResponse:
    """``error`` as a page in the reader's language, with the status of its kind."""
    words = words_for(request)
    made = _page(
        "error.html",
        words,
        status=error.status,
        caller=caller,
        path=request.url.path,
        **told(error, words, _place(request.url.path)),
    )
    if isinstance(error, TooMany):
        made.headers["Retry-After"] = str(error.retry_after)
    return made


def told(error: CasemateError, words: Words, place: str = "") -> dict[str, Any]:
    """What templates need to tell of ``error``: title, what, safe, next, sign_in, tongue.

    place: where it was met, if that tells more of it: see ``_TOLD``. tongue: the language of
    ``what`` and ``next``.
    """
    family = _FAMILIES.get(error.status, "fault")
    known = _known(error, place)
    return {
        "title": words(f"error.{family}"),
        "what": words(f"told.{known}") if known else error.what,
        "safe": words(f"error.{family}_safe"),
        "next": words(f"told.{known}_next") if known else error.next,
        "sign_in": error.status == 401 and place not in ("sign_in", "code", "account"),
        "tongue": words.language if known else "en",
    }


def _known(error: CasemateError, place: str) -> str | None:
    """The key of the words that tell ``error``, if there are any."""
    if isinstance(error, Unreadable):
        return next((key for begins, key in _UNREAD if error.fact.startswith(begins)), None)
    for kind in type(error).__mro__:
        for where in (place, ""):
            if key := _TOLD.get((where, kind)):
                return key
    return None


def _place(path: str) -> str:
    """Where an address belongs: what was not found there is one of these."""
    room, *rest = path.strip("/").split("/")
    match room:
        case "sign-in":
            return "link" if rest else "sign_in"
        case "runs" if rest:
            return "run"
        case "documents" if rest:
            return "document"
        case "ask":
            return "ask"
    return ""


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
        tongue=words.language,
    )
    if isinstance(error, HTTPException) and error.headers:
        made.headers.update(error.headers)  # which methods are allowed
    return made
