"""A model server as a script: OpenAI's dialect, as vLLM and llama.cpp speak it.

Asked something with the word "slowly", it waits in the middle of its answer for ``hold`` to be set.
It calls every tool it is offered, with pieces of the calls mixed, answers in JSON where a schema
asks for that, and otherwise says what it was asked. What is asked of it is kept in ``asked``.
``next`` holds what it does instead with the next chats, one after the other.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import web

DIMENSIONS = 8
_NUMBERS = itertools.count(1)  # of calls, which clients tell apart by their ids

Act = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Upstream:
    """Serves on a free port of loopback, in a thread."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.next: deque[Act] = deque()
        self.port = 0
        self.hold = threading.Event()
        self.holding = threading.Event()
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

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._complete)
        app.router.add_post("/v1/embeddings", self._embed)
        app.router.add_get("/v1/models", self._models)
        runner = web.AppRunner(app, shutdown_timeout=1)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
        self.port = runner.addresses[0][1]
        self._ready.set()
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(runner.cleanup())
            self._loop.close()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        if self.next:
            return await self.next.popleft()(request)
        chunks = script(body)
        if "slowly" not in str(body["messages"][-1]["content"]):
            return await _streamed(request, chunks)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number, chunk in enumerate(chunks):
            if number == 3:
                self.holding.set()
                await asyncio.to_thread(self.hold.wait)
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        if "suffix" not in body:
            return web.json_response({"error": "no"}, status=400)
        text = f"<{body['prompt'][-4:]}|{body['suffix'][:4]}>"
        choices = [{"index": 0, "text": one, "finish_reason": None} for one in text]
        chunks = [{"choices": [one]} for one in choices]
        chunks[-1]["choices"][0]["finish_reason"] = "stop"
        return await _streamed(request, [*chunks, _usage(9, len(text))])

    async def _models(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": [{"id": "tiny-upstream"}]})

    async def _embed(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        data = [
            {"index": number, "embedding": vector(text)}
            for number, text in enumerate(body["input"])
        ]
        read = sum(map(len, body["input"]))  # a token for each letter
        return web.json_response({"data": data, "usage": {"prompt_tokens": read}})


async def _streamed(request: web.Request, chunks: list[dict[str, Any]]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for chunk in chunks:
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def refusing(status: int, **headers: str) -> Act:
    """Answers with this status."""

    async def act(request: web.Request) -> web.StreamResponse:
        told = {name.replace("_", "-"): text for name, text in headers.items()}
        return web.json_response({"error": "no"}, status=status, headers=told)

    return act


async def breaking_off(request: web.Request) -> web.StreamResponse:
    """Says two words, and breaks the connection."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for word in ("Two ", "words "):
        await response.write(b"data: " + json.dumps(_delta(content=word)).encode() + b"\n\n")
    assert request.transport is not None
    request.transport.abort()
    return response


def vector(text: str) -> list[float]:
    """Eight numbers that float32 holds exactly."""
    return [byte / 256 for byte in hashlib.sha256(text.encode()).digest()[:DIMENSIONS]]


def script(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The chunks that answer a chat."""
    last = body["messages"][-1]
    tools = [
        one["function"] for one in body.get("tools", []) if one["function"]["name"] != "search"
    ]
    if tools and last["role"] != "tool":
        return [*_calls(tools, body.get("tool_choice")), _end("tool_calls"), _usage(20, 5)]
    if "response_format" in body:
        words = ['{"town": ', '"Fictional', 'ville"}']
    elif last["role"] == "tool":
        words = ["The tool says: ", last["content"], "."]
    else:
        said = last["content"].rsplit("\n\n", 1)[-1]
        words = ["You ", "asked: ", said, " One. Two. Three."]
    chunks = [_delta(reasoning_content="Let me "), _delta(reasoning_content="see.")]
    for word in words:
        chunks.append(_delta(content=word))
        if body.get("logprobs"):
            top = [{"token": word, "logprob": -0.25}, {"token": "else", "logprob": -1.5}]
            chunks[-1]["choices"][0]["logprobs"] = {
                "content": [{"token": word, "logprob": -0.25, "top_logprobs": top}]
            }
    most = body.get("max_tokens")
    if most is not None and most < len(chunks):
        return [*chunks[:most], _end("length"), _usage(11, most)]
    return [*chunks, _end("stop"), _usage(11, len(chunks))]


def _calls(tools: list[dict[str, Any]], choice: Any) -> list[dict[str, Any]]:
    """A call of each tool, or of the one that has to be called."""
    if isinstance(choice, dict):
        tools = [one for one in tools if one["name"] == choice["function"]["name"]]

    def piece(index: int, **function: str) -> dict[str, Any]:
        return _delta(tool_calls=[{"index": index, "function": function}])

    begun = [
        _delta(
            tool_calls=[
                {
                    "index": index,
                    "id": f"call{next(_NUMBERS):05}",
                    "type": "function",
                    "function": {"name": tool["name"], "arguments": ""},
                }
            ]
        )
        for index, tool in enumerate(tools)
    ]
    return [
        _delta(reasoning_content="A tool knows."),
        *begun,
        *(piece(index, arguments='{"town": ') for index in range(len(tools))),
        *(piece(index, arguments='"Esch"}') for index in range(len(tools))),
    ]


def _delta(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def _end(reason: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


def _usage(read: int, written: int) -> dict[str, Any]:
    return {"choices": [], "usage": {"prompt_tokens": read, "completion_tokens": written}}
