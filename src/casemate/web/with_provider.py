"""Signing in with a provider: the way there, a SAML provider's answer, and the way back.

The way back comes from another site, so what it starts is still another site's navigation, on
which browsers leave out a ``SameSite=Strict`` cookie. It therefore ends on a page of ours, which
goes on by itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from casemate.errors import CasemateError
from casemate.gate.pending import LIFE
from casemate.web import errors
from casemate.web.forms import fields
from casemate.web.front import Front, Reader
from casemate.web.origin import is_https, local_path

if TYPE_CHECKING:
    from casemate.gate.identity import Vouching

BROWSER = "casemate_sign_in"  # the secret of the browser that began, until it comes back
ID_TOKEN = "casemate_id_token"  # noqa: S105 - a cookie's name: what the provider wants at sign-out
_LARGEST_ANSWER = 1 << 20  # bytes of a SAML provider's form
_LARGEST = 3800  # characters that browsers surely keep in a cookie


def routes(front: Front) -> list[BaseRoute]:
    """``/sign-in/with/NAME``, and below it what providers and the browsers they send ask for."""
    way = _Way(front)
    return [
        Route("/sign-in/with/{name}", front.everyone(way.begin), methods=["GET"]),
        Route("/sign-in/with/{name}/back", front.everyone(way.finish), methods=["GET"]),
        Route("/sign-in/with/{name}/answer", front.elsewhere(way.answer), methods=["POST"]),
        Route("/sign-in/with/{name}/ended", front.elsewhere(way.ended), methods=["GET"]),
        Route("/sign-in/with/{name}/keys", front.everyone(way.keys), methods=["GET"]),
        Route("/sign-in/with/{name}/over", front.elsewhere(way.over), methods=["GET"]),
        Route("/sign-in/with/{name}/metadata", front.everyone(way.metadata), methods=["GET"]),
    ]


class _Way:
    def __init__(self, front: Front) -> None:
        self._front = front
        self._settings = front.house.settings
        self._sign_ins = front.house.gate.sign_ins
        self._saml = front.house.gate.saml

    async def begin(self, request: Request, reader: Reader) -> Response:
        name = request.path_params["name"]
        after = local_path(request.query_params.get("next", "/"))
        try:
            begun = await self._ways(name).begin(name, self._settings.base, after)
        except CasemateError as error:
            return self._failed(error, reader)
        response = RedirectResponse(begun.address, 303)
        response.set_cookie(
            self._settings.cookie(BROWSER, whole=False),
            begun.browser,
            max_age=int(LIFE.total_seconds()),
            path=f"/sign-in/with/{name}/back",
            httponly=True,
            samesite="lax",  # it has to come along from the provider's page
            secure=self._secure(request),
        )
        return response

    async def finish(self, request: Request, reader: Reader) -> Response:
        name = request.path_params["name"]
        browser = request.cookies.get(self._settings.cookie(BROWSER, whole=False), "")
        try:
            done = await self._ways(name).finish(
                name, self._settings.base, request.query_params, browser
            )
        except CasemateError as error:
            return self._failed(error, reader)
        page = reader.page("signed_in.html", after=local_path(done.after))
        response = await self._front.enter(request, page, done.session)
        if 0 < len(done.id_token) <= _LARGEST:
            response.set_cookie(
                self._settings.cookie(ID_TOKEN, whole=False),
                done.id_token,
                path="/sign-out",
                httponly=True,
                samesite="strict",
                secure=self._secure(request),
            )
        response.delete_cookie(
            self._settings.cookie(BROWSER, whole=False),
            path=f"/sign-in/with/{name}/back",
            httponly=True,
            secure=self._secure(request),
        )
        return response

    async def answer(self, request: Request, reader: Reader) -> Response:
        """What a SAML provider has the browser send; it goes on to ``back``, with its cookie."""
        name = request.path_params["name"]
        try:
            text = (await fields(request, _LARGEST_ANSWER)).text("SAMLResponse")
            held = await self._saml.answer(name, self._settings.base, text)
        except CasemateError as error:
            return self._failed(error, reader)
        return RedirectResponse(f"/sign-in/with/{quote(name)}/back?held={held}", 303)

    async def over(self, request: Request, reader: Reader) -> Response:
        """What a SAML provider has the browser bring when somebody signs out there."""
        name, query = request.path_params["name"], request.url.query
        return RedirectResponse(await self._saml.end(name, self._settings.base, query), 303)

    async def ended(self, request: Request, reader: Reader) -> Response:
        """What a provider's page has the browser load, unseen, when somebody signs out there."""
        name, said = request.path_params["name"], request.query_params
        await self._sign_ins.end_by_browser(name, said.get("iss", ""), said.get("sid", ""))
        return Response(media_type="text/plain")

    async def keys(self, request: Request, reader: Reader) -> Response:
        """The public keys by which a provider knows this installation."""
        found = await asyncio.to_thread(self._sign_ins.keys, request.path_params["name"])
        return Response(msgspec.json.encode(found), media_type="application/jwk-set+json")

    async def metadata(self, request: Request, reader: Reader) -> Response:
        """What a SAML provider has to know of this installation."""
        name = request.path_params["name"]
        content = self._saml.description(name, self._settings.base)
        return Response(content, media_type="application/samlmetadata+xml")

    def _ways(self, name: str) -> Vouching:
        return self._saml if name in self._saml.providers else self._sign_ins

    def _failed(self, error: CasemateError, reader: Reader) -> Response:
        told = errors.told(error, reader.words, "provider")
        return reader.page(
            "sign_in.html",
            status=error.status,
            after="/",
            name="",
            problem=told,
            providers=self._front.providers,
        )

    def _secure(self, request: Request) -> bool:
        return is_https(request, self._settings.public_url)
