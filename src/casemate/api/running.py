"""Driving a run for a client: to its end, or event by event, and only while the client is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from casemate.api.departure import KEY as DEPARTURE
from casemate.api.departure import Departure
from casemate.api.door import leave
from casemate.api.errors import known, stopping
from casemate.api.metrics import Metrics, metrics_of
from casemate.api.resource import RUN, Face
from casemate.errors import CasemateError
from casemate.reasoning.event import Admitted, Event, Finished
from casemate.reasoning.event import Request as Asked
from casemate.reasoning.relay import Tell

if TYPE_CHECKING:
    from casemate.gate.caller import Caller

T = TypeVar("T")

Events = AsyncGenerator[Event, None]

_FAREWELL_SECONDS = 1.0  # for the end of a stream that is cut off, to a client that may not read


@dataclass(frozen=True)
class Desk:
    """Where a program's questions are put: who asks, and who waits for the answer.

    ``label``: that questions put here have at least, because of where they come from. ``priority``:
    lower than that of the use case, where nobody waits. ``request``: of whoever waits.
    """

    face: Face
    caller: Caller
    metrics: Metrics
    follow: Callable[[Events], Awaitable[tuple[Admitted, Finished]]]
    label: str | None = None
    priority: str | None = None
    request: Request | None = None

    @classmethod
    def of(cls, face: Face, request: Request, caller: Caller) -> Self:
        """For one HTTP request: its runs end when the client goes away."""
        metrics, follow = metrics_of(request.scope), partial(concluded, request)
        return cls(face, caller, metrics, follow, request=request)

    @property
    def site(self) -> str:
        """What links begin with."""
        return self.face.settings.public_url.rstrip("/")

    @property
    def created(self) -> int:
        """Now, in seconds since 1970."""
        return int(self.face.now())

    def events(self, asked: Asked) -> Events:
        """The run of a question, counted."""
        run = self.face.installation.ask(self.caller, self.labelled(asked), self.priority)
        return self.metrics.observed(run)

    async def answer(self, asked: Asked) -> tuple[Admitted, Finished]:
        """The first and the last event of the run of a question. Raises what the run raises."""
        heard = _Heard(None if self.request is None else self.request.scope)
        telling = self.tell(asked, heard.tell)
        if self.request is None:
            await telling
        else:
            await _while_there(self.request.scope, self.request.receive, telling)
        return heard.told

    async def tell(self, asked: Asked, tell: Tell) -> None:
        """The run of a question, counted, with its events given to ``tell``. Raises like it."""
        installation, labelled = self.face.installation, self.labelled(asked)
        scope: Scope = {} if self.request is None else self.request.scope
        # The next may come in while this one's first entry becomes durable.
        inside = partial(leave, scope)
        await self.metrics.counted(
            lambda counting: installation.tell(
                self.caller, labelled, counting, self.priority, inside
            ),
            tell,
        )

    def labelled(self, asked: Asked, *more: str | None) -> Asked:
        """``asked`` with at least the label of this desk, and of what ``more`` entered it."""
        labels = [text for text in (asked.label, self.label, *more) if text is not None]
        if not labels:
            return asked
        policy = self.face.installation.gate.country.policy
        joined = policy.parse(labels[0])
        for text in labels[1:]:
            joined = joined.join(policy.parse(text))
        return msgspec.structs.replace(asked, label=str(joined))


async def concluded(request: Request, events: Events) -> tuple[Admitted, Finished]:
    """Run to the end. Raises what the run raises; ClientDisconnect, once the run is closed."""
    return await while_there(request, drained(events, request.scope))


async def while_there(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` gives. Raises ClientDisconnect once it was cancelled for want of a client."""
    return await _while_there(request.scope, request.receive, work)


class EventStream:
    """A response that renders a run as server-sent events while it happens.

    Nothing leaves before the run is admitted: a refusal still has its own status, and the
    headers name the run. ``render`` gives the bytes for one event; ``render_error`` those for a
    run that breaks off, after which the stream ends.
    """

    def __init__(
        self,
        events: Events,
        render: Callable[[Event], bytes],
        render_error: Callable[[CasemateError], bytes],
    ) -> None:
        self._events = events
        self._render = render
        self._render_error = render_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the run while the client is there."""
        await _while_there(scope, receive, self._tell(scope, send))

    async def _tell(self, scope: Scope, send: Send) -> None:
        async with aclosing(self._events) as events:
            first = await anext(events)
            _admitted(first, scope)
            await _start(send)
            await _write(send, self._render(first))
            try:
                async for event in events:
                    await _write(send, self._render(event))
            except ClientDisconnect:
                raise
            except asyncio.CancelledError:
                await _farewell(send, self._render_error)
                raise
            except Exception as problem:
                await _write(send, self._render_error(known(problem)))
        await send({"type": "http.response.body", "body": b""})


class ToldStream:
    """As ``EventStream``, of runs that tell what happens: ``run`` is given whom to tell."""

    def __init__(
        self,
        run: Callable[[Tell], Awaitable[None]],
        render: Callable[[Event], bytes],
        render_error: Callable[[CasemateError], bytes],
    ) -> None:
        self._run = run
        self._render = render
        self._render_error = render_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the runs while the client is there."""
        await _while_there(scope, receive, self._send(scope, send))

    async def _send(self, scope: Scope, send: Send) -> None:
        begun = False

        async def tell(events: Sequence[Event]) -> None:
            nonlocal begun
            if not begun:
                _admitted(events[0], scope)
                await _start(send)
                begun = True
            await _write(send, b"".join(map(self._render, events)))

        try:
            await self._run(tell)
        except ClientDisconnect:
            raise
        except asyncio.CancelledError:
            if begun:
                await _farewell(send, self._render_error)
            raise
        except Exception as problem:
            if not begun:
                raise
            await _write(send, self._render_error(known(problem)))
        await send({"type": "http.response.body", "body": b""})


class _Heard:
    """The first and the last event of a run that is told to nobody else."""

    def __init__(self, scope: Scope | None) -> None:
        self._scope = scope
        self._admitted: Admitted | None = None
        self._finished: Finished | None = None

    async def tell(self, events: Sequence[Event]) -> None:
        """Take events in."""
        first, last = events[0], events[-1]
        if isinstance(first, Admitted):
            self._admitted = first
            if self._scope is not None:
                _admitted(first, self._scope)
        if isinstance(last, Finished):
            self._finished = last

    @property
    def told(self) -> tuple[Admitted, Finished]:
        """Both, once the run is over."""
        if self._admitted is None or self._finished is None:
            raise RuntimeError("a run ended without its first or last event")
        return self._admitted, self._finished


def _admitted(first: Event, scope: Scope) -> None:
    """Let the response name the run, and the next request come in."""
    if not isinstance(first, Admitted):
        raise RuntimeError("a run began without being admitted")
    scope[RUN] = first.run
    leave(scope)


async def _farewell(send: Send, render_error: Callable[[CasemateError], bytes]) -> None:
    # The server stops. (Or the client is gone, and nothing of this is sent.)
    with suppress(TimeoutError):
        async with asyncio.timeout(_FAREWELL_SECONDS):
            await _write(send, render_error(stopping()))
            await send({"type": "http.response.body", "body": b""})


async def drained(events: Events, scope: Scope | None = None) -> tuple[Admitted, Finished]:
    """Run to the end, with or without a client. Raises what the run raises."""
    admitted, finished = None, None
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Admitted):
                admitted = event
                if scope is not None:
                    scope[RUN] = event.run
                    leave(scope)
            elif isinstance(event, Finished):
                finished = event
    if admitted is None or finished is None:
        raise RuntimeError("a run ended without its first or last event")
    return admitted, finished


async def _while_there(scope: Scope, receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    # The whole run lives in this task: what ends it reaches whatever it waits for, and its end is
    # recorded before anything goes on here.
    departure: Departure = scope.get(DEPARTURE) or Departure()
    leaving = None if DEPARTURE in scope else asyncio.create_task(_left(receive, departure))
    gone = False

    def left() -> None:
        nonlocal gone
        gone = True
        deadline.reschedule(asyncio.get_running_loop().time())

    try:
        async with asyncio.timeout(None) as deadline:
            forget = departure.when(left)
            try:
                return await work
            finally:
                forget()
    except TimeoutError:
        if not gone:
            raise
        raise ClientDisconnect from None
    finally:
        work.close()  # if it never began
        if leaving is not None:
            leaving.cancel()


async def _left(receive: Receive, departure: Departure) -> None:
    # A client that went too far, so that receiving raises, is as good as gone.
    with suppress(Exception):
        while (await receive())["type"] != "http.disconnect":
            pass
    departure.depart()


async def _start(send: Send) -> None:
    headers = [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),  # nginx would collect the stream before passing it on
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _write(send: Send, piece: bytes) -> None:
    if not piece:
        return
    try:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    except OSError:  # how a server may say that the client is gone (ASGI 2.4)
        raise ClientDisconnect from None
