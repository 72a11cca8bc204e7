"""The ``remote`` engine: any OpenAI-compatible server inside the perimeter.

vLLM, llama.cpp, Ollama, TGI and SGLang answer ``POST …/chat/completions`` with server-sent events.
Scores need what vLLM adds: ``/tokenize``, which stands beside ``/v1``, and ``prompt_logprobs``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from casemate.engines import question
from casemate.engines.engine import Embeddings, Part, Prompt, Sampling, Scores, Token
from casemate.engines.wire import Reading, chat, choosing, drawing, gap, no_events, unavailable
from casemate.errors import Unsupported
from casemate.gate.connection import Ways, session
from casemate.models.profile import Profile

if TYPE_CHECKING:
    import aiohttp

    from casemate.gate.label import Label
    from casemate.gate.perimeter import Route

_WAY = "prompt logprobs"
_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 120.0  # between two pieces
_LONGEST_EVENT = 1 << 20
_LONGEST_ANSWER = 1 << 28
_AT_ONCE = 32  # prompts or texts in one request
_NOT_THERE = frozenset({404, 405, 501})
_T = TypeVar("_T")
_S = TypeVar("_S")


class RemoteEngine:
    """Asks one server.

    ``route`` refuses an address outside the perimeter or below the label of what is sent, and
    gives the IPs that it checked; the connection goes to these and to no others. ``fills``: its
    manifest says that the model fills in gaps.
    """

    def __init__(
        self,
        address: str,
        model: str,
        route: Callable[[str, Label], Route],
        *,
        key: str = "",
        profile: Profile | None = None,
        fills: bool = False,
    ) -> None:
        self._profile = profile or Profile()
        self._address = address.rstrip("/")
        self._model = model
        self._route = route
        self._ways = Ways()
        self._key = key
        self._fills = fills
        self._client: aiohttp.ClientSession | None = None

    @property
    def capabilities(self) -> frozenset[str]:
        """See Engine. Which of them the server lacks, it says when it is asked."""
        able = {"generate", "thinking", "tools", "choice", "schema", "logprobs", "score", "embed"}
        return frozenset(able | {"fim"} if self._fills else able)

    @property
    def profile(self) -> Profile:
        """See Engine."""
        return self._profile

    def plan(self, text: str) -> tuple[Part, ...]:
        """See Engine."""
        return question.parts(text)

    async def generate(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Token, None]:
        """See Engine."""
        fills = prompt.suffix is not None
        asked, place = (gap(prompt), "completions") if fills else (chat(prompt), "chat/completions")
        body = {"model": self._model, "stream": True, **asked, **drawing(sampling)}
        body |= {"stream_options": {"include_usage": True}, **choosing(sampling)}
        await self._allow(prompt.label)
        async with self._sent(f"{self._address}/{place}", body) as response:
            if fills and response.status in (400, *_NOT_THERE):
                raise _no_gaps()
            if response.status != 200:
                raise unavailable(f"answered with status {response.status}")
            async for token in _tokens(response.content):
                yield token

    async def score(self, prompts: Sequence[Prompt], continuation: str) -> list[Scores]:
        """See Engine. Equal prompts are asked once."""
        if not prompts:
            return []
        for label in {prompt.label for prompt in prompts}:
            await self._allow(label)
        said = await self._tokenized(
            {"prompt": continuation, "add_special_tokens": False, "return_token_strs": True}
        )
        words = tuple(said.token_strs or ())
        if len(words) != len(said.tokens):
            raise _no_scores()
        ids = [await self._ids(prompt) for prompt in prompts]
        if not said.tokens:
            return [Scores((), (), _WAY) for _ in prompts]
        found: dict[tuple[int, ...], tuple[float, ...]] = {}
        for some in _batches(list(dict.fromkeys(ids))):
            found |= zip(some, await self._scored(some, said.tokens), strict=True)
        return [Scores(words, found[one], _WAY) for one in ids]

    async def embed(self, texts: Sequence[str], *, label: Label) -> Embeddings:
        """See Engine."""
        if not texts:
            return Embeddings([], 0)
        await self._allow(label)
        found: list[list[float]] = []
        read: int | None = 0
        for some in _batches(texts):
            body = {"model": self._model, "input": some, "encoding_format": "float"}
            answer = await self._ask(f"{self._address}/embeddings", body, _Vectors, _no_vectors)
            vectors = sorted(answer.data, key=lambda one: one.index)
            if [one.index for one in vectors] != list(range(len(some))):
                raise unavailable("gave other vectors than it was asked for")
            found += [one.embedding for one in vectors]
            told = answer.usage.prompt_tokens if answer.usage else None
            read = None if read is None or told is None else read + told
        if len({len(vector) for vector in found}) != 1 or not found[0]:
            raise unavailable("gave vectors of different lengths")
        return Embeddings(found, read)

    async def close(self) -> None:
        """See Engine."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _ids(self, prompt: Prompt) -> tuple[int, ...]:
        told = await self._tokenized({**chat(prompt), "add_generation_prompt": True})
        if not told.tokens:
            raise unavailable("made nothing of a prompt")
        return tuple(told.tokens)

    async def _tokenized(self, what: dict[str, Any]) -> _Tokenized:
        address = f"{self._address.removesuffix('/v1')}/tokenize"
        told = await self._ask(address, {"model": self._model, **what}, _Tokenized, _no_scores)
        if told.count is None:  # llama.cpp has a /tokenize of another kind
            raise _no_scores()
        if told.count != len(told.tokens):
            raise unavailable("miscounted the tokens of a text")
        return told

    async def _scored(
        self, prompts: Sequence[tuple[int, ...]], said: Sequence[int]
    ) -> list[tuple[float, ...]]:
        body = {
            "model": self._model,
            "prompt": [[*prompt, *said] for prompt in prompts],
            "max_tokens": 1,  # none would need an echo
            "temperature": 0.0,
            "prompt_logprobs": 1,  # the token that stands there is told beside the likeliest
        }
        answer = await self._ask(f"{self._address}/completions", body, _Completed, _no_scores)
        choices = sorted(answer.choices, key=lambda choice: choice.index)
        if [choice.index for choice in choices] != list(range(len(prompts))):
            raise unavailable("gave other scores than it was asked for")
        return [
            _read(choice, prompt, said) for choice, prompt in zip(choices, prompts, strict=True)
        ]

    async def _allow(self, label: Label) -> None:
        self._ways.allow(await asyncio.to_thread(self._route, self._address, label))

    async def _ask(
        self, address: str, body: dict[str, Any], kind: type[_T], missing: Callable[[], Unsupported]
    ) -> _T:
        async with self._sent(address, body) as response:
            if response.status in _NOT_THERE:
                raise missing()
            if response.status != 200:
                raise unavailable(f"answered with status {response.status}")
            content = bytearray()
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > _LONGEST_ANSWER:
                    raise unavailable("sent more than anybody can read")
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.DecodeError as problem:
            raise unavailable("sent something that is no answer") from problem

    @asynccontextmanager
    async def _sent(
        self, address: str, body: dict[str, Any]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        import aiohttp  # a quarter of a second, and only this engine needs it

        try:
            async with self._session().post(
                address,
                data=msgspec.json.encode(body),
                headers={"content-type": "application/json", "accept": _accepted(body)},
                allow_redirects=False,  # a redirect could lead outside the perimeter
            ) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as problem:
            raise unavailable("does not answer") from problem

    def _session(self) -> aiohttp.ClientSession:
        if self._client is None or self._client.closed:
            self._client = session(
                self._ways,
                connect_seconds=_CONNECT_SECONDS,
                silence_seconds=_SILENCE_SECONDS,
                headers={"authorization": f"Bearer {self._key}"} if self._key else None,
            )
        return self._client


class _Tokenized(msgspec.Struct):
    tokens: list[int]
    count: int | None = None
    token_strs: list[str] | None = None


class _Probability(msgspec.Struct):
    logprob: float


class _Choice(msgspec.Struct):
    index: int
    prompt_logprobs: list[dict[int, _Probability] | None] | None = None


class _Completed(msgspec.Struct):
    choices: list[_Choice]


class _Vector(msgspec.Struct):
    index: int
    embedding: list[float]


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    usage: _Usage | None = None


def _read(choice: _Choice, prompt: Sequence[int], said: Sequence[int]) -> tuple[float, ...]:
    """What a choice tells of the tokens ``said``; of each, the id that stands there."""
    told = choice.prompt_logprobs
    if told is None:
        raise _no_scores()
    if len(told) != len(prompt) + len(said):
        raise unavailable("gave other scores than it was asked for")
    found = []
    for token, place in zip(said, told[len(prompt) :], strict=True):
        if place is None or token not in place:
            raise unavailable("gave other scores than it was asked for")
        found.append(place[token].logprob)
    return tuple(found)


async def _tokens(stream: aiohttp.StreamReader) -> AsyncIterator[Token]:
    """Parse server-sent events; a stream that ends without ``[DONE]`` was cut off."""
    reading = Reading()
    pending = b""
    async for piece in stream.iter_any():
        pending += piece
        *lines, pending = pending.split(b"\n")
        if len(pending) > _LONGEST_EVENT:
            raise no_events()
        for line in lines:
            payload = line.strip()
            if not payload.startswith(b"data:"):
                continue
            payload = payload[5:].strip()
            if payload == b"[DONE]":
                for token in reading.end():
                    yield token
                return
            for token in reading.read(payload):
                yield token
    raise unavailable("stopped in the middle of its answer")


def _accepted(body: dict[str, Any]) -> str:
    return "text/event-stream" if body.get("stream") else "application/json"


def _batches(these: Sequence[_S]) -> Iterator[Sequence[_S]]:
    for start in range(0, len(these), _AT_ONCE):
        yield these[start : start + _AT_ONCE]


def _no_scores() -> Unsupported:
    return Unsupported(
        "This model server gives no scores.",
        "Choose a model that runs here, or one whose server is vLLM.",
    )


def _no_gaps() -> Unsupported:
    return Unsupported(
        "The model server did not take this gap.",
        "Ask whoever runs it whether it takes a suffix at …/completions, and how long a text.",
    )


def _no_vectors() -> Unsupported:
    return Unsupported(
        "This model server gives no vectors.",
        "Choose a model whose engine can embed; vLLM and llama.cpp have to be started for it.",
    )
