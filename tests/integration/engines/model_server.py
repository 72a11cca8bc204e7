"""A small OpenAI-compatible model server on loopback, which says what a test tells it to."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from aiohttp import web

DONE = b"data: [DONE]\n\n"


def a_chunk(**delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"


def a_script(*texts: str, thinking: Sequence[str] = (), field: str = "reasoning_content") -> bytes:
    """A whole stream: role, thoughts, texts, an empty last chunk, the end."""
    return b"".join(
        [
            a_chunk(role="assistant", content=""),
            *(a_chunk(**{field: text}) for text in thinking),
            *(a_chunk(content=text) for text in texts),
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
            b'data: {"choices":[],"usage":{"total_tokens":7}}\n\n',
            DONE,
        ]
    )


def a_call(index: int, *, id: str | None = None, **function: str) -> bytes:
    """A piece of a call of a tool."""
    part = {"index": index, "id": id, "type": "function", "function": function}
    return a_chunk(tool_calls=[{name: value for name, value in part.items() if value is not None}])


Answer = Callable[[dict[str, Any]], Any]


class ModelServer:
    """Answers every question with ``pieces``, byte strings that are sent one by one.

    ``answers``: path → what makes an answer of the request's body; other paths are not there.
    Bytes are sent as they are, a number as a status, anything else as JSON.
    """

    def __init__(self) -> None:
        self.pieces: list[bytes] = [a_script("Hello.")]
        self.status = 200
        self.headers: dict[str, str] = {}
        self.cut = False  # break the connection instead of ending the response
        self.holds = False  # keep the response open after the last piece
        self.answers: dict[str, Answer] = {}
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        app.router.add_post("/elsewhere/chat/completions", self._answer)
        app.router.add_post("/{path:.*}", self._answer_whole)
        runner = web.AppRunner(app, shutdown_timeout=1, handler_cancellation=True)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        self._ready.set()
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(runner.cleanup())
            self._loop.close()

    async def _answer_whole(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.paths.append(request.path)
        self.keys.append(request.headers.get("Authorization"))
        if request.path not in self.answers:
            return web.json_response({"detail": "Not Found"}, status=404)
        answer = self.answers[request.path](self.asked[-1])
        if isinstance(answer, int):
            return web.json_response({"error": {"code": answer}}, status=answer)
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        return web.json_response(answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("Authorization"))
        response = web.StreamResponse(
            status=self.status, headers={"Content-Type": "text/event-stream", **self.headers}
        )
        await response.prepare(request)
        for piece in self.pieces:
            await response.write(piece)
        if self.holds:
            await asyncio.Event().wait()  # until the server stops
        if self.cut:
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write_eof()
        return response
