"""Pages: templates filled with words, and the headers that keep a page to itself."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from casemate.web.assets import assets
from casemate.web.reading import places
from casemate.web.words import LANGUAGES, Words, preferred, words

LANGUAGE = "casemate_language"  # the cookie of the language menu
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    # same-origin, not no-referrer: with the latter, forms would send "Origin: null"
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # what a person may read must not lie in a shared computer's cache
    "Cache-Control": "no-store",
}
_TICKS = re.compile(r"`([^`]+)`")
_Response = TypeVar("_Response", bound=Response)


def page(template: str, words: Words, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A whole page. ``values`` are the template's names, beside ``say`` and ``language``."""
    return secured(HTMLResponse(part(template, words, **values), status))


def part(template: str, words: Words, **values: Any) -> str:
    """A template as HTML, everything in it escaped."""
    return (
        environment()
        .get_template(template)
        .render({"caller": None, "path": "/", **values, "say": words, "language": words.language})
    )


def secured(response: _Response) -> _Response:
    """The response with the headers that every page has."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def words_for(request: Request) -> Words:
    """The words of the language that the person chose, or that their browser prefers."""
    accepted = request.headers.get("accept-language", "")
    # Under the name that it has over TLS, too: see ``Settings.cookie``.
    chosen = request.cookies.get(f"__Host-{LANGUAGE}") or request.cookies.get(LANGUAGE)
    return words(preferred(chosen, accepted))


@cache
def environment() -> Environment:
    """The templates, with automatic escaping and no undefined names."""
    made = Environment(
        loader=PackageLoader("casemate.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(asset=assets().address, languages=LANGUAGES)
    made.filters.update(ticks=_ticks, places=places)
    return made


def _ticks(text: str) -> Markup:
    """`Words between backticks` as code; the rest escaped."""
    # escaping leaves backticks alone, so it can come first
    return Markup(_TICKS.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704
