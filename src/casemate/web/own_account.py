"""One's own account: open sessions, and another password."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from casemate.errors import CasemateError
from casemate.web import errors
from casemate.web.forms import fields
from casemate.web.front import Front, Reader
from casemate.web.sign_in import address_of


def routes(front: Front) -> list[BaseRoute]:
    """``/account``, and what is done there."""
    desk = _Desk(front)
    return [
        Route("/account", front.member(desk.show), methods=["GET"]),
        Route("/account/password", front.member(desk.change_password), methods=["POST"]),
        Route("/account/sessions/end", front.member(desk.end_others), methods=["POST"]),
    ]


class _Desk:
    def __init__(self, front: Front) -> None:
        self._accounts = front.house.gate.own_accounts
        self._titles = {one.name: one.title for one in front.providers}

    async def show(self, request: Request, reader: Reader) -> Response:
        return await self._page(reader)

    async def end_others(self, request: Request, reader: Reader) -> Response:
        await asyncio.to_thread(self._accounts.end_others, reader.known)
        return RedirectResponse("/account", 303)

    async def change_password(self, request: Request, reader: Reader) -> Response:
        form = await fields(request)
        before, after = form.text("before"), form.text("after")
        try:
            await asyncio.to_thread(
                self._accounts.change_password, reader.known, before, after, address_of(request)
            )
        except CasemateError as error:
            told = errors.told(error, reader.words, "account")
            return await self._page(reader, error.status, problem=told)
        # Every session has ended with it, this one too.
        return replace(reader, caller=None).page("password_changed.html")

    async def _page(self, reader: Reader, status: int = 200, **values: Any) -> Response:
        found = await asyncio.to_thread(self._accounts.sessions, reader.known)
        rows = [(one, self._titles.get(one.provider or "", one.provider)) for one in found]
        return reader.page(
            "account.html", status=status, **{"sessions": rows, "problem": None, **values}
        )
