"""Asking: the question box, and the answer as it arrives or, without script, as one page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from casemate.errors import CasemateError, Refused, TooLarge
from casemate.reasoning.event import Event, Finished, Request
from casemate.web import errors
from casemate.web.answer import lay_out
from casemate.web.forms import Fields, fields
from casemate.web.front import Front, Reader
from casemate.web.page import part
from casemate.web.stream import Telling, frame

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.usecase import UseCase
    from casemate.library.document import Collection

_STREAM = "text/event-stream"
_QUIET = 15.0  # seconds after which a silent stream shows that it lives: proxies close others


def routes(front: Front) -> list[BaseRoute]:
    """``/`` and ``/ask``."""
    desk = _Desk(front)
    return [
        Route("/", front.member(desk.form), methods=["GET"]),
        Route("/ask", front.everyone(desk.again), methods=["GET"]),
        Route("/ask", front.everyone(desk.ask), methods=["POST"]),
    ]


@dataclass(frozen=True)
class _Choice:
    """What one may choose from, and what was chosen."""

    question: str = ""
    use_case: str = ""
    collections: tuple[str, ...] | None = None  # None: nothing chosen yet, so all
    problem: str = ""

    def has(self, name: str) -> bool:
        return self.collections is None or name in self.collections


class _Desk:
    def __init__(self, front: Front) -> None:
        self._front = front
        self._house = front.house

    async def form(self, request: HttpRequest, reader: Reader) -> Response:
        return await self._page(reader, _Choice())

    async def again(self, request: HttpRequest, reader: Reader) -> Response:
        return RedirectResponse("/", 303)  # a reload of an answer that came without script

    async def ask(self, request: HttpRequest, reader: Reader) -> Response:
        streams = _STREAM in request.headers.get("accept", "")
        try:
            caller = reader.known
            choice = await self._choice(request, reader)
            if choice.problem:
                if streams:
                    return _stream(_only(frame("problem", {"text": choice.problem})), 400)
                return await self._page(reader, choice, status=400)
            asked = Request(
                question=choice.question,
                use_case=choice.use_case or None,
                collections=choice.collections or (),
            )
            events = self._house.ask(caller, asked)
            first = await anext(events)
        except CasemateError as error:
            if not streams:
                raise
            return _stream(_only(_failed(error, reader)), error.status)
        if streams:
            return _stream(self._tell(first, events, reader))
        return await self._whole(first, events, choice, reader)

    async def _choice(self, request: HttpRequest, reader: Reader) -> _Choice:
        most = self._house.settings.question_characters
        # 12: the longest a character gets in a form, four bytes each written as %XX
        try:
            form = await fields(request, max(4 * 2**20, 12 * most + 2**16))
        except TooLarge:
            return _Choice(problem=reader.words("ask.long", most=most))
        chosen = _chosen(form)
        if not chosen.question:
            return _replaced(chosen, reader.words("ask.empty"))
        if len(chosen.question) > most:
            return _replaced(chosen, reader.words("ask.long", most=most))
        if form.text("choice") and not chosen.collections:
            return _replaced(chosen, reader.words("ask.nowhere"))
        everything = set(form.texts("offered")) == set(chosen.collections or ())
        # all of them means every one there is, also one that appears meanwhile
        return _Choice(chosen.question, chosen.use_case, () if everything else chosen.collections)

    async def _page(
        self, reader: Reader, choice: _Choice, *, status: int = 200, **answer: Any
    ) -> Response:
        caller = reader.known
        collections, usable = await asyncio.gather(
            asyncio.to_thread(self._house.library.collections, caller),
            asyncio.to_thread(self._use_cases, caller),
        )
        return reader.page(
            "ask.html",
            status=status,
            choice=choice,
            collections=_sorted(collections),
            use_cases=usable,
            most=self._house.settings.question_characters,
            **{"answer": None, "failure": None, **answer},
        )

    def _use_cases(self, caller: Caller) -> list[UseCase]:
        """Those one may choose from; none if one may not even list them: then the gate chooses."""
        try:
            found = self._house.gate.use_cases.list(caller)
        except Refused:
            return []
        return [
            one for one in found if one.state == "approved" and caller.use_case in (None, one.id)
        ]

    async def _whole(
        self, first: Event, events: AsyncIterator[Event], choice: _Choice, reader: Reader
    ) -> Response:
        last = first
        try:
            async for event in events:
                last = event
        except CasemateError as error:
            return await self._page(
                reader, choice, status=error.status, failure=errors.told(error, reader.words)
            )
        if not isinstance(last, Finished):
            failure = {**errors.told(CasemateError(""), reader.words)}
            return await self._page(reader, choice, status=500, failure=failure)
        laid_out = lay_out(last, self._front, reader.words)
        return await self._page(reader, choice, answer=laid_out)

    async def _tell(
        self, first: Event, events: AsyncIterator[Event], reader: Reader
    ) -> AsyncIterator[str]:
        telling = Telling(self._front, reader.words)
        try:
            for told in telling.tell(first):
                yield told
            async for event in _alive(events):
                for told in (": \n\n",) if event is None else telling.tell(event):
                    yield told
        except CasemateError as error:
            yield _failed(error, reader)


def _chosen(form: Fields) -> _Choice:
    return _Choice(
        form.text("question").replace("\r\n", "\n").strip(),
        form.text("use_case"),
        form.texts("collection") if form.text("choice") else None,
    )


def _replaced(choice: _Choice, problem: str) -> _Choice:
    return _Choice(choice.question, choice.use_case, choice.collections, problem)


def _sorted(collections: list[Collection]) -> list[Collection]:
    return sorted(collections, key=lambda one: one.name.casefold())


async def _alive(events: AsyncIterator[Event]) -> AsyncIterator[Event | None]:
    """The events, and None whenever none has come for a while."""
    coming: asyncio.Task[Event | None] | None = None
    try:
        while True:
            coming = coming or asyncio.create_task(_next(events))
            done, _ = await asyncio.wait({coming}, timeout=_QUIET)
            if not done:
                yield None
                continue
            event, coming = coming.result(), None
            if event is None:
                return
            yield event
    finally:
        if coming is not None:
            coming.cancel()  # the person has left: so does the work


async def _next(events: AsyncIterator[Event]) -> Event | None:
    return await anext(events, None)


async def _only(text: str) -> AsyncIterator[str]:
    yield text


def _failed(error: CasemateError, reader: Reader) -> str:
    html = part("failure.html", reader.words, failure=errors.told(error, reader.words))
    return frame("failed", {"html": html})


def _stream(content: AsyncIterator[str], status: int = 200) -> StreamingResponse:
    # X-Accel-Buffering: nginx would hold the answer back until it is whole
    return StreamingResponse(content, status, {"X-Accel-Buffering": "no"}, media_type=_STREAM)
