"""The front door: every page passes it, so that no page forgets a check.

It knows the reader's language and session, lets forms come from our own pages only, and turns
errors into pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from casemate.errors import CasemateError, Unauthenticated
from casemate.web import errors
from casemate.web.origin import is_https, require_same_origin
from casemate.web.page import page, secured, words_for
from casemate.web.words import Words

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.label import Label
    from casemate.gate.oidc.provider import Provider
    from casemate.gate.saml.provider import SamlProvider
    from casemate.installation import Installation

SESSION = "casemate_session"


@dataclass(frozen=True)
class Reader:
    """Who reads: their words, and who they are once they have signed in."""

    words: Words
    path: str
    caller: Caller | None

    @property
    def known(self) -> Caller:
        """The caller. Raises Unauthenticated if nobody has signed in."""
        if self.caller is None:
            raise Unauthenticated("You are not signed in.", "Sign in and try again.")
        return self.caller

    def page(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A page in the reader's language, with the frame that fits them."""
        return page(
            template, self.words, status=status, caller=self.caller, path=self.path, **values
        )


_Response = TypeVar("_Response", bound=Response)
Handler = Callable[[Request, Reader], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Front:
    """Opens pages: to everyone, or to people who have signed in."""

    def __init__(self, installation: Installation) -> None:
        self.house = installation

    @property
    def providers(self) -> list[Provider | SamlProvider]:
        """The identity providers that people may sign in with, as declared."""
        gate = self.house.gate
        return [*gate.sign_ins.providers.values(), *gate.saml.providers.values()]

    def everyone(self, handler: Handler) -> Endpoint:
        """An endpoint that needs no session."""

        async def endpoint(request: Request) -> Response:
            return await self._answer(request, handler, await self._reader(request))

        return endpoint

    def elsewhere(self, handler: Handler) -> Endpoint:
        """An endpoint for forms that another site's page sends. It must trust no cookie."""

        async def endpoint(request: Request) -> Response:
            reader = Reader(words_for(request), request.url.path, None)
            try:
                return secured(await handler(request, reader))
            except CasemateError as error:
                return errors.page(request, error)

        return endpoint

    def member(self, handler: Handler) -> Endpoint:
        """An endpoint for people who have signed in; a page sends others to sign in first."""

        async def endpoint(request: Request) -> Response:
            reader = await self._reader(request)
            if reader.caller is None and request.method in ("GET", "HEAD"):
                wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                after = "" if wanted == "/" else f"?next={quote(wanted, safe='')}"
                return secured(RedirectResponse(f"/sign-in{after}", 303))
            return await self._answer(request, self._with_caller(handler), reader)

        return endpoint

    def marking(self, label: Label | str | None, language: str) -> str:
        """What people read on a label strip; empty for what has no label yet."""
        if not label:
            return ""
        if isinstance(label, str):
            label = self.house.gate.country.policy.parse(label)
        return label.marking(language)

    def high_marking(self, label: Label, language: str) -> str:
        """As ``marking``, and empty for the lowest label: what goes without saying in a list."""
        lowest = str(label) == str(self.house.gate.country.policy.lowest())
        return "" if lowest else self.marking(label, language)

    @staticmethod
    def _with_caller(handler: Handler) -> Handler:
        async def checked(request: Request, reader: Reader) -> Response:
            _ = reader.known
            return await handler(request, reader)

        return checked

    async def _answer(self, request: Request, handler: Handler, reader: Reader) -> Response:
        try:
            if request.method not in ("GET", "HEAD"):
                require_same_origin(request, self.house.settings.public_url)
            return secured(await handler(request, reader))
        except CasemateError as error:
            return errors.page(request, error, caller=reader.caller)

    async def _reader(self, request: Request) -> Reader:
        return Reader(words_for(request), request.url.path, await self._caller(request))

    def session(self, request: Request) -> str:
        """The token of the session that the browser says it has; empty for none."""
        return request.cookies.get(self.house.settings.cookie(SESSION), "")

    async def enter(self, request: Request, response: _Response, token: str) -> _Response:
        """Let the browser keep a new session; the one that it had before is over."""
        before = self.session(request)
        if before:
            await asyncio.to_thread(self.house.gate.sessions.sign_out, before)
        response.set_cookie(
            self.house.settings.cookie(SESSION),
            token,
            path="/",
            httponly=True,
            samesite="strict",
            secure=is_https(request, self.house.settings.public_url),
        )
        return response

    async def _caller(self, request: Request) -> Caller | None:
        token = self.session(request)
        if not token:
            return None
        try:
            return await asyncio.to_thread(self.house.gate.sessions.caller, token)
        except Unauthenticated:
            return None  # over, or never was: the same as no session
