"""Asking: the question box, and the answer as it arrives or, without script, as one page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from casemate.errors import CasemateError, TooLarge
from casemate.reasoning.event import Event, Finished, Request
from casemate.web import errors
from casemate.web.answer import lay_out
from casemate.web.forms import Fields, fields
from casemate.web.front import Front, Reader
from casemate.web.offer import Offer, Offers, offers
from casemate.web.page import part
from casemate.web.stream import Telling, frame

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
        """Whether the collection called ``name`` is to be searched."""
        return self.collections is None or name in self.collections


class _Desk:
    def __init__(self, front: Front) -> None:
        self._front = front
        self._house = front.house

    async def form(self, request: HttpRequest, reader: Reader) -> Response:
        return await self._page(reader, _Choice(), await self._offers(reader))

    async def again(self, request: HttpRequest, reader: Reader) -> Response:
        return RedirectResponse("/", 303)  # a reload of an answer that came without script

    async def ask(self, request: HttpRequest, reader: Reader) -> Response:
        streams = _STREAM in request.headers.get("accept", "")
        try:
            caller = reader.known
            offered = await self._offers(reader)
            choice = await self._choice(request, reader, offered)
            if choice.problem:
                if streams:
                    return _stream(_only(frame("problem", {"text": choice.problem})), 400)
                return await self._page(reader, choice, offered, status=400)
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
        return await self._whole(first, events, choice, offered, reader)

    async def _offers(self, reader: Reader) -> Offers:
        return await asyncio.to_thread(offers, self._house, reader.known)

    async def _choice(self, request: HttpRequest, reader: Reader, offered: Offers) -> _Choice:
        most = self._house.settings.question_characters
        # 12: the longest a character gets in a form, four bytes each written as %XX
        try:
            form = await fields(request, max(4 * 2**20, 12 * most + 2**16))
        except TooLarge:
            return _Choice(problem=reader.words("ask.long", most=most))
        chosen, offer = _chosen(form), offered.of(form.text("use_case"))
        shown = frozenset(form.texts("offered"))
        changed = bool(offer) and form.text("shown_for") not in ("", chosen.use_case)
        if offer and changed and shown != offer.names:
            # without script the page still shows what the earlier use case reaches
            chosen = replace(chosen, collections=None)
        else:
            changed = False
        if not chosen.question:
            return replace(chosen, problem=reader.words("ask.empty"))
        if len(chosen.question) > most:
            return replace(chosen, problem=reader.words("ask.long", most=most))
        if offer and offered.readable and not offer.collections:
            return replace(chosen, problem=self._nothing(offer, reader))
        if changed:
            return replace(chosen, problem=reader.words("ask.changed"))
        if form.text("choice") and not chosen.collections:
            return replace(chosen, problem=reader.words("ask.nowhere"))
        if chosen.collections is not None and shown == set(chosen.collections):
            # all of them means every one there is, also one that appears meanwhile
            return replace(chosen, collections=None)
        return chosen

    def _nothing(self, offer: Offer, reader: Reader) -> str:
        """Why a use case reaches none of the collections that the reader may read."""
        if not offer.too_high:
            return reader.words("ask.none_named", use_case=offer.use_case.id)
        label = self._front.marking(offer.use_case.ceiling, reader.words.language)
        return reader.words("ask.none_under", use_case=offer.use_case.id, label=label)

    async def _page(
        self, reader: Reader, choice: _Choice, offered: Offers, *, status: int = 200, **answer: Any
    ) -> Response:
        current = offered.of(choice.use_case) or offered.of("")
        return reader.page(
            "ask.html",
            status=status,
            choice=choice,
            offers=offered,
            current=current.use_case.id if current else "",
            collections=[
                (one, self._front.high_marking(one.label, reader.words.language), reached_by)
                for one, reached_by in offered.collections
            ],
            unreachable=[
                (one.use_case.id, self._nothing(one, reader))
                for one in offered.each
                if offered.readable and not one.collections
            ],
            most=self._house.settings.question_characters,
            **{"answer": None, "failure": None, **answer},
        )

    async def _whole(
        self,
        first: Event,
        events: AsyncIterator[Event],
        choice: _Choice,
        offered: Offers,
        reader: Reader,
    ) -> Response:
        last = first
        try:
            async for event in events:
                last = event
        except CasemateError as error:
            told = errors.told(error, reader.words, "ask")
            return await self._page(reader, choice, offered, status=error.status, failure=told)
        if not isinstance(last, Finished):
            told = errors.told(CasemateError(""), reader.words)
            return await self._page(reader, choice, offered, status=500, failure=told)
        laid_out = lay_out(last, self._front, reader.words)
        return await self._page(reader, choice, offered, answer=laid_out)

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
    html = part("failure.html", reader.words, failure=errors.told(error, reader.words, "ask"))
    return frame("failed", {"html": html})


def _stream(content: AsyncIterator[str], status: int = 200) -> StreamingResponse:
    # X-Accel-Buffering: nginx would hold the answer back until it is whole
    return StreamingResponse(content, status, {"X-Accel-Buffering": "no"}, media_type=_STREAM)
