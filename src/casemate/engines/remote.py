"""The ``remote`` engine: any OpenAI-compatible server inside the perimeter.

vLLM, llama.cpp, Ollama, TGI and SGLang answer ``POST …/chat/completions`` with server-sent events;
reasoning arrives as ``reasoning_content`` (vLLM, llama.cpp, SGLang) or ``reasoning`` (Ollama).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from casemate.engines import question
from casemate.engines.engine import Part, Prompt, Sampling, Scores, Token
from casemate.errors import Unavailable, Unsupported
from casemate.models.profile import Profile

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver, ResolveResult

    from casemate.gate.label import Label
    from casemate.gate.perimeter import Route

_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 120.0  # between two pieces
_LONGEST_EVENT = 1 << 20


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = msgspec.field(default_factory=list)
    error: Any = None


class RemoteEngine:
    """Streams from one server.

    ``route`` refuses an address outside the perimeter or below the label of what is sent, and
    gives the IPs that it checked; the connection goes to these and to no others.
    """

    def __init__(
        self,
        address: str,
        model: str,
        route: Callable[[str, Label], Route],
        *,
        key: str = "",
        profile: Profile | None = None,
    ) -> None:
        self._profile = profile or Profile()
        self._address = address.rstrip("/")
        self._model = model
        self._route = route
        self._checked = _Checked()
        self._key = key
        self._client: aiohttp.ClientSession | None = None

    @property
    def capabilities(self) -> frozenset[str]:
        """See Engine."""
        return frozenset({"generate", "thinking"})

    @property
    def profile(self) -> Profile:
        """See Engine."""
        return self._profile

    def plan(self, text: str) -> tuple[Part, ...]:
        """See Engine."""
        return question.parts(text)

    async def generate(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Token, None]:
        """See Engine."""
        import aiohttp  # a quarter of a second, and only this engine needs it

        self._checked.route = await asyncio.to_thread(self._route, self._address, prompt.label)
        body = {
            "model": self._model,
            "stream": True,
            "messages": [
                {"role": message.role, "content": message.content} for message in prompt.messages
            ],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "max_tokens": sampling.max_tokens,
        }
        try:
            async with self._session().post(
                f"{self._address}/chat/completions",
                data=msgspec.json.encode({k: v for k, v in body.items() if v is not None}),
                headers={"content-type": "application/json", "accept": "text/event-stream"},
                allow_redirects=False,  # a redirect could lead outside the perimeter
            ) as response:
                if response.status != 200:
                    raise _unavailable(f"answered with status {response.status}")
                async for token in _tokens(response.content):
                    yield token
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as problem:
            raise _unavailable("does not answer") from problem

    async def score(self, prompts: Sequence[Prompt], continuation: str) -> list[Scores]:
        """See Engine."""
        raise Unsupported(
            "This model server gives no scores here.", "Choose a model whose engine can score."
        )

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See Engine."""
        raise Unsupported(
            "This model server gives no vectors here.", "Choose a model whose engine can embed."
        )

    async def close(self) -> None:
        """See Engine."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _session(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._client is None or self._client.closed:
            headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
            self._client = aiohttp.ClientSession(
                headers=headers,
                connector=aiohttp.TCPConnector(resolver=_resolver(self._checked), ttl_dns_cache=0),
                trust_env=False,  # a proxy from the environment would lead outside
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS
                ),
            )
        return self._client


class _Checked:
    """The way that the perimeter allowed last."""

    route: Route | None = None


def _resolver(checked: _Checked) -> AbstractResolver:
    """A resolver that knows only the addresses that the perimeter checked."""
    from aiohttp.abc import AbstractResolver

    class Resolver(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> list[ResolveResult]:
            route = checked.route
            if route is None or host != route.host:
                raise OSError("not a checked address")
            return [
                {
                    "hostname": host,
                    "host": address,
                    "port": port,
                    "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                    "proto": 0,
                    "flags": socket.AI_NUMERICHOST,
                }
                for address in route.addresses
            ]

        async def close(self) -> None:
            return

    return Resolver()


async def _tokens(stream: aiohttp.StreamReader) -> AsyncIterator[Token]:
    """Parse server-sent events; a stream that ends without ``[DONE]`` was cut off."""
    pending = b""
    async for piece in stream.iter_any():
        pending += piece
        *lines, pending = pending.split(b"\n")
        if len(pending) > _LONGEST_EVENT:
            raise _unavailable("sent something that is not a stream of events")
        for line in lines:
            payload = line.strip()
            if not payload.startswith(b"data:"):
                continue
            payload = payload[5:].strip()
            if payload == b"[DONE]":
                return
            for token in _parse(payload):
                yield token
    raise _unavailable("stopped in the middle of its answer")


def _parse(payload: bytes) -> list[Token]:
    try:
        chunk = msgspec.json.decode(payload, type=_Chunk)
    except msgspec.DecodeError as problem:
        raise _unavailable("sent something that is not a stream of events") from problem
    if chunk.error is not None:
        raise _unavailable("reported an error of its own")
    found = []
    for choice in chunk.choices[:1]:
        thought = choice.delta.reasoning_content or choice.delta.reasoning
        if thought:
            found.append(Token(thought, kind="thinking"))
        if choice.delta.content:
            found.append(Token(choice.delta.content))
    return found


def _unavailable(what: str) -> Unavailable:
    return Unavailable(
        f"The model server {what}.", "Try again; if it stays so, tell whoever runs that server."
    )
