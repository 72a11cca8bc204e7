"""The ``remote`` engine: any OpenAI-compatible server inside the perimeter.

vLLM, llama.cpp, Ollama, TGI and SGLang answer ``POST …/chat/completions`` with server-sent events.
Scores need what vLLM adds: ``/tokenize``, which stands beside ``/v1``, and ``prompt_logprobs``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from casemate.engines import question
from casemate.engines.engine import Embeddings, Part, Prompt, Sampling, Scores, Token
from casemate.engines.remote.exchange import Exchange
from casemate.engines.remote.phases import Phases
from casemate.engines.remote.replica import Health, Replica, Request
from casemate.engines.remote.upstream import Upstream
from casemate.engines.wire import Reading, broken, chat, choosing, drawing, gap, no_events, refused
from casemate.errors import Unsupported
from casemate.models.profile import Profile

if TYPE_CHECKING:
    from casemate.gate.label import Label
    from casemate.gate.perimeter import Perimeter

_WAY = "prompt logprobs"
_EVENTS, _JSON = "text/event-stream", "application/json"
_USUAL = Phases()
_LONGEST_EVENT = 1 << 20
_LONGEST_ANSWER = 1 << 28
_AT_ONCE = 32  # prompts or texts in one request
_NOT_THERE = frozenset({404, 405, 501})
_T = TypeVar("_T")
_S = TypeVar("_S")


class RemoteEngine:
    """Asks the servers at ``addresses``, which all run one model and call it ``model``.

    ``perimeter`` refuses an address outside it or below the label of what is sent, and gives the
    IPs that it checked; connections go to these and to no others. ``fills``: its manifest says that
    the model fills in gaps. Raises Invalid if an address or ``key`` cannot be used for HTTP.
    """

    def __init__(
        self,
        name: str,
        addresses: Sequence[str],
        model: str,
        perimeter: Perimeter,
        *,
        key: str = "",
        profile: Profile | None = None,
        phases: Phases = _USUAL,
        fills: bool = False,
    ) -> None:
        self.name = name
        self._profile = profile or Profile()
        self._model = model
        self._fills = fills
        self._upstream = Upstream(
            [
                Replica(number, address, perimeter, phases, key)
                for number, address in enumerate(addresses, 1)
            ],
            phases,
        )

    def relay(self, path: str, body: bytes, label: Label, *, stream: bool) -> Exchange:
        """POST ``body``, JSON, to ``path`` (such as /chat/completions) below an address.

        label: of what is in ``body``. stream: whether ``body`` asks for a stream of events.
        The exchange is to be entered with ``async with``; see there what it gives and raises.
        """
        accept, phase = (_EVENTS, "first") if stream else (_JSON, "whole")
        return self._upstream.exchange(Request("POST", path, accept, body, label, phase))

    def health(self) -> tuple[Health, ...]:
        """How each replica is, in the order of their addresses."""
        return self._upstream.health()

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
        encoded = msgspec.json.encode(body)
        async with self.relay(f"/{place}", encoded, prompt.label, stream=True) as answer:
            if fills and answer.status in (400, *_NOT_THERE):
                raise _no_gaps()
            if answer.status != 200:
                raise refused(answer.status)
            async for token in _tokens(answer):
                yield token
            await answer.ended()

    async def score(self, prompts: Sequence[Prompt], continuation: str) -> list[Scores]:
        """See Engine. Equal prompts are asked once."""
        if not prompts:
            return []
        label = reduce(type(prompts[0].label).join, (prompt.label for prompt in prompts))
        asked = {"prompt": continuation, "add_special_tokens": False, "return_token_strs": True}
        said = await self._tokenized(asked, label)
        words = tuple(said.token_strs or ())
        if len(words) != len(said.tokens):
            raise _no_scores()
        ids = [await self._ids(prompt) for prompt in prompts]
        if not said.tokens:
            return [Scores((), (), _WAY) for _ in prompts]
        found: dict[tuple[int, ...], tuple[float, ...]] = {}
        for some in _batches(list(dict.fromkeys(ids))):
            found |= zip(some, await self._scored(some, said.tokens, label), strict=True)
        return [Scores(words, found[one], _WAY) for one in ids]

    async def embed(self, texts: Sequence[str], *, label: Label) -> Embeddings:
        """See Engine."""
        if not texts:
            return Embeddings([], 0)
        found: list[list[float]] = []
        read: int | None = 0
        for some in _batches(texts):
            body = {"model": self._model, "input": some, "encoding_format": "float"}
            answer = await self._ask("/embeddings", body, label, _Vectors, _no_vectors)
            vectors = sorted(answer.data, key=lambda one: one.index)
            if [one.index for one in vectors] != list(range(len(some))):
                raise broken("gave other vectors than it was asked for")
            found += [one.embedding for one in vectors]
            told = answer.usage.prompt_tokens if answer.usage else None
            read = None if read is None or told is None else read + told
        if len({len(vector) for vector in found}) != 1 or not found[0]:
            raise broken("gave vectors of different lengths")
        return Embeddings(found, read)

    async def close(self) -> None:
        """See Engine."""
        await self._upstream.close()

    async def _ids(self, prompt: Prompt) -> tuple[int, ...]:
        asked = {**chat(prompt), "add_generation_prompt": True}
        told = await self._tokenized(asked, prompt.label)
        if not told.tokens:
            raise broken("made nothing of a prompt")
        return tuple(told.tokens)

    async def _tokenized(self, what: dict[str, Any], label: Label) -> _Tokenized:
        body = {"model": self._model, **what}
        told = await self._ask("/tokenize", body, label, _Tokenized, _no_scores)
        if told.count is None:  # llama.cpp has a /tokenize of another kind
            raise _no_scores()
        if told.count != len(told.tokens):
            raise broken("miscounted the tokens of a text")
        return told

    async def _scored(
        self, prompts: Sequence[tuple[int, ...]], said: Sequence[int], label: Label
    ) -> list[tuple[float, ...]]:
        body = {
            "model": self._model,
            "prompt": [[*prompt, *said] for prompt in prompts],
            "max_tokens": 1,  # none would need an echo
            "temperature": 0.0,
            "prompt_logprobs": 1,  # the token that stands there is told beside the likeliest
        }
        answer = await self._ask("/completions", body, label, _Completed, _no_scores)
        choices = sorted(answer.choices, key=lambda choice: choice.index)
        if [choice.index for choice in choices] != list(range(len(prompts))):
            raise broken("gave other scores than it was asked for")
        return [
            _read(choice, prompt, said) for choice, prompt in zip(choices, prompts, strict=True)
        ]

    async def _ask(
        self,
        path: str,
        body: dict[str, Any],
        label: Label,
        kind: type[_T],
        missing: Callable[[], Unsupported],
    ) -> _T:
        async with self.relay(path, msgspec.json.encode(body), label, stream=False) as answer:
            if answer.status in _NOT_THERE:
                raise missing()
            if answer.status != 200:
                raise refused(answer.status)
            content = await answer.whole(_LONGEST_ANSWER)
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.DecodeError as problem:
            raise broken("sent something that is no answer") from problem


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
        raise broken("gave other scores than it was asked for")
    found = []
    for token, place in zip(said, told[len(prompt) :], strict=True):
        if place is None or token not in place:
            raise broken("gave other scores than it was asked for")
        found.append(place[token].logprob)
    return tuple(found)


async def _tokens(stream: AsyncIterator[bytes]) -> AsyncIterator[Token]:
    """Parse server-sent events; a stream that ends without ``[DONE]`` was cut off."""
    reading = Reading()
    pending = b""
    async for piece in stream:
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
    raise broken("stopped in the middle of its answer")


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
