"""Signing in and out, and the language menu: the pages that need no session."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from casemate.errors import CasemateError, Invalid
from casemate.gate.session import SecondStep
from casemate.web import errors
from casemate.web.forms import fields
from casemate.web.front import SESSION, Front, Reader
from casemate.web.origin import is_https, local_path
from casemate.web.page import LANGUAGE
from casemate.web.with_provider import ID_TOKEN
from casemate.web.words import LANGUAGES

_YEAR = 365 * 24 * 3600


def routes(front: Front) -> list[BaseRoute]:
    """``/sign-in``, its second step, ``/sign-in/TOKEN``, ``/sign-out``, ``/language``."""
    desk = _Desk(front)
    return [
        Route("/sign-in", front.everyone(desk.form), methods=["GET"]),
        Route("/sign-in", front.everyone(desk.sign_in), methods=["POST"]),
        Route("/sign-in/code", front.everyone(desk.form), methods=["GET"]),
        Route("/sign-in/code", front.everyone(desk.code), methods=["POST"]),
        Route("/sign-in/{token}", front.everyone(desk.link), methods=["GET"]),
        Route("/sign-in/{token}", front.everyone(desk.redeem), methods=["POST"]),
        Route("/sign-out", front.everyone(desk.sign_out), methods=["POST"]),
        Route("/language", front.everyone(desk.language), methods=["POST"]),
    ]


class _Desk:
    def __init__(self, front: Front) -> None:
        self._front = front
        self._house = front.house

    async def form(self, request: Request, reader: Reader) -> Response:
        after = local_path(request.query_params.get("next", "/"))
        if reader.caller is not None:
            return RedirectResponse(after, 303)
        return reader.page(
            "sign_in.html", after=after, name="", problem=None, providers=self._front.providers
        )

    async def sign_in(self, request: Request, reader: Reader) -> Response:
        form = await fields(request)
        name, password = form.text("name").strip(), form.text("password")
        after = local_path(form.text("next") or "/")
        sessions = self._house.gate.sessions
        try:
            token = await asyncio.to_thread(sessions.sign_in, name, password, address_of(request))
        except SecondStep as step:
            return reader.page("sign_in_code.html", after=after, ticket=step.ticket, problem=None)
        except CasemateError as error:
            told = errors.told(error, reader.words, "sign_in")
            return reader.page(
                "sign_in.html",
                status=error.status,
                after=after,
                name=name,
                problem=told,
                providers=self._front.providers,
            )
        return await self._entered(request, token, after)

    async def code(self, request: Request, reader: Reader) -> Response:
        form = await fields(request)
        ticket, code = form.text("ticket"), form.text("code")
        after = local_path(form.text("next") or "/")
        sessions = self._house.gate.sessions
        try:
            token = await asyncio.to_thread(sessions.complete, ticket, code, address_of(request))
        except CasemateError as error:
            told = errors.told(error, reader.words, "code")
            return reader.page(
                "sign_in_code.html", status=error.status, after=after, ticket=ticket, problem=told
            )
        return await self._entered(request, token, after)

    async def link(self, request: Request, reader: Reader) -> Response:
        # Only a button: programs that preview links open them, and would use this one up.
        return reader.page("sign_in_link.html", token=request.path_params["token"])

    async def redeem(self, request: Request, reader: Reader) -> Response:
        link = request.path_params["token"]
        try:
            token = await asyncio.to_thread(self._house.gate.sessions.redeem, link)
        except SecondStep as step:
            return reader.page("sign_in_code.html", after="/", ticket=step.ticket, problem=None)
        return await self._entered(request, token, "/")

    async def sign_out(self, request: Request, reader: Reader) -> Response:
        token, name = self._front.session(request), None
        if token:
            sessions = self._house.gate.sessions
            name = await asyncio.to_thread(sessions.provider_of, token)
            await asyncio.to_thread(sessions.sign_out, token)
        response = await self._farewell(request, reader, name)
        cookie, secure = self._house.settings.cookie, self._house.settings.encrypted
        # A browser takes a cookie with a prefix away only if it is told so over TLS, as it was set.
        gone: dict[str, Any] = {"httponly": True, "samesite": "strict", "secure": secure}
        response.delete_cookie(cookie(SESSION), path="/", **gone)
        response.delete_cookie(cookie(ID_TOKEN, whole=False), path="/sign-out", **gone)
        response.headers["Clear-Site-Data"] = '"cache", "storage"'
        return response

    async def _farewell(self, request: Request, reader: Reader, name: str | None) -> Response:
        """The sign-in page; or, for who came through a provider, a page that goes on to it.

        A page and not a redirect: browsers hold redirects after a form to its `form-action`.
        """
        house, address = self._house, None
        if name is not None:
            address = await house.gate.sign_ins.farewell(
                name,
                house.settings.base,
                request.cookies.get(house.settings.cookie(ID_TOKEN, whole=False)),
            )
        if name is None or address is None:
            return RedirectResponse("/sign-in", 303)
        title = house.gate.sign_ins.providers[name].title  # only these have an address to go to
        left = replace(reader, caller=None)
        return left.page("signed_out.html", address=address, title=title)

    async def language(self, request: Request, reader: Reader) -> Response:
        chosen = (await fields(request)).text("language")
        if chosen not in LANGUAGES:
            raise Invalid("These pages are not written in that language.", "Choose one below.")
        came_from = urlsplit(request.headers.get("referer", ""))
        back = local_path(came_from.path + (f"?{came_from.query}" if came_from.query else ""))
        response = RedirectResponse(back, 303)
        response.set_cookie(
            self._house.settings.cookie(LANGUAGE),
            chosen,
            max_age=_YEAR,
            path="/",
            httponly=True,
            samesite="lax",
            secure=is_https(request, self._house.settings.public_url),
        )
        return response

    async def _entered(self, request: Request, token: str, after: str) -> Response:
        return await self._front.enter(request, RedirectResponse(after, 303), token)


def address_of(request: Request) -> str:
    """Where it comes from: the peer, or whom a proxy on this machine says it speaks for."""
    return "" if request.client is None else request.client.host
