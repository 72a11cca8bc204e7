"""The ``llama`` engine: generates, scores and embeds with a model in GGUF, inside these walls.

The model lives in processes of its own without a network (``confined``). They start when they are
first needed: one generates, one scores in full precision, one makes vectors; the weights lie in
memory once. A prompt reaches them as token ids only.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from casemate.engines import question
from casemate.engines.engine import Embeddings, Part, Prompt, Sampling, Scores, Token
from casemate.engines.llama import grammar, scoring
from casemate.engines.llama.connection import Gone, Tokenized, tokenizing, unavailable
from casemate.engines.llama.events import Events, Spoiled
from casemate.engines.llama.life import Isolated, Load, Work
from casemate.engines.llama.process import Process, Running
from casemate.engines.llama.speech import Speech, call_id
from casemate.engines.llama.stream import Reading, Spoken
from casemate.errors import Invalid, NotFound, Refused, TooLarge
from casemate.models.profile import Profile

if TYPE_CHECKING:
    import aiohttp

    from casemate.engines.llama.template import Piece
    from casemate.gate.label import Label
    from casemate.models.manifest import Manifest

_CONTEXT = 8192  # tokens, where neither profile nor manifest says
_SLOTS = 4
_MEMORY_ASIDE = 4 << 30  # addresses that the interpreter and its threads take
_SCHEMAS = 64  # that are remembered as understood


@dataclass(frozen=True)
class House:
    """What an engine needs of the house it runs in.

    files: the folder that holds a model's files, checked against their digests; raises Tampered.
    required_layers: of isolation, for information with a label.
    on_started, on_stopped: called with the manifest for each process that starts and ends.
    slots: how many answers are computed side by side. threads: None for all processors.
    """

    files: Callable[[Manifest], Path]
    required_layers: Callable[[Label], frozenset[str]]
    on_started: Callable[[Manifest, Isolated], None]
    on_stopped: Callable[[Manifest, str], None]
    slots: int = _SLOTS
    threads: int | None = None


class LlamaEngine:
    """Runs one model."""

    def __init__(self, manifest: Manifest, house: House) -> None:
        self._manifest = manifest
        self._profile = manifest.profile or Profile()
        self._house = house
        self._speech: Speech | None = None
        self._understood: dict[str, None] = {}
        self._texts = self._process("generate")
        self._scores = self._process("score")
        self._vectors = self._process("embed")

    @property
    def capabilities(self) -> frozenset[str]:
        """See Engine."""
        able = {"generate", "score", "embed", "schema", "logprobs", "deterministic"}
        if self._profile.thinking != "none":
            able.add("thinking")
        if self._profile.tools:
            able.add("tools")
        if self._manifest.fills:
            able.add("fim")
        return frozenset(able)

    @property
    def profile(self) -> Profile:
        """See Engine."""
        return self._profile

    def plan(self, text: str) -> tuple[Part, ...]:
        """See Engine."""
        return question.parts(text)

    async def generate(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Token, None]:
        """See Engine. Closing it frees its slot at once.

        Raises Refused if the kernel gives less isolation than the prompt's label requires,
        TooLarge if the prompt leaves no room for an answer, Invalid for a schema that cannot be
        enforced, NotFound for an unknown adapter, Tampered for weights that are not a model.
        """
        async with AsyncExitStack() as open_:
            try:
                answer = await self._opened(open_, prompt, sampling)
            except Gone:
                answer = await self._opened(open_, prompt, sampling)
            try:
                async for piece in answer.stream.iter_any():
                    for token in answer.events.read(piece):
                        yield token
                    if answer.events.over:
                        self._texts.worked()
                        return
            except Spoiled as problem:
                answer.running.life.kill("it said what cannot be understood")
                raise unavailable("said what cannot be understood and was ended") from problem
            raise unavailable("stopped in the middle of its answer")

    async def score(self, prompts: Sequence[Prompt], continuation: str) -> list[Scores]:
        """See Engine."""
        running = await self._scores.running()
        for prompt in prompts:
            self._check_layers(running, prompt.label)
        if not prompts or not continuation:
            return [Scores((), (), running.scores) for _ in prompts]
        speech = self._spoken()
        after = await self._encoded(running, [continuation])
        before = []
        for prompt in prompts:
            pieces = await asyncio.to_thread(speech.pieces, prompt)
            before.append(await self._encoded(running, pieces))
            if len(before[-1]) + len(after) > running.life.load.context:
                raise _too_large(len(before[-1]) + len(after), running.life.load.context)

        found = await scoring.scores(running, before, after)
        self._scores.worked()
        names = await self._texts_of(running, after)
        return [Scores(names, logprobs, running.scores) for logprobs in found]

    async def embed(self, texts: Sequence[str], *, label: Label) -> Embeddings:
        """See Engine. Means over the tokens, of length 1. Raises TooLarge for a text too long."""
        if not texts:
            return Embeddings([], 0)
        try:
            return await self._embedded(await self._vectors.running(), texts, label)
        except Gone:
            return await self._embedded(await self._vectors.running(), texts, label)

    async def _opened(self, open_: AsyncExitStack, prompt: Prompt, sampling: Sampling) -> _Answer:
        """Start an answer; ``open_`` ends it. Raises Gone if its process was."""
        running = await self._texts.running()
        self._check_layers(running, prompt.label)
        speech, profile = self._spoken(), self._profile
        pieces = await asyncio.to_thread(speech.pieces, prompt)
        ids = await self._encoded(running, pieces)
        most = self._room(running, ids, sampling)
        body = self._body(ids, most, sampling)
        begun = prompt.suffix is None and speech.begun(pieces)
        if sampling.schema is not None:
            body["grammar"] = await self._grammar(running, prompt, sampling.schema, begun)
        async with AsyncExitStack() as opening:
            await opening.enter_async_context(running.connection.place(alone=sampling.repeatable))
            stream = await opening.enter_async_context(running.connection.stream(body))
            open_.push_async_exit(opening.pop_all())
        kind = "thinking" if begun and profile.thinking == "tokens" else "text"
        reading = Reading(speech.controls, kind, lambda number: call_id(ids, number))
        thinks = profile.thinking == "text" and prompt.suffix is None
        spoken = Spoken(begun) if thinks else None
        return _Answer(running, stream, Events(reading, spoken, most, len(ids)))

    async def _texts_of(self, running: Running, ids: list[int]) -> tuple[str, ...]:
        """What each of these tokens writes; half a character is U+FFFD."""
        tekken = self._spoken().tekken
        if tekken is not None:
            return tuple(tekken.bytes_of(id).decode("utf-8", "replace") for id in ids)
        written = []
        for id in ids:
            answer = await running.connection.ask("/detokenize", {"tokens": [id]}, _Written)
            written.append(answer.content)
        return tuple(written)

    async def _embedded(self, running: Running, texts: Sequence[str], label: Label) -> Embeddings:
        self._check_layers(running, label)
        content = [await self._encoded_alone(running, text) for text in texts]
        for ids in content:
            if len(ids) > running.life.load.context:
                raise _too_large(len(ids), running.life.load.context)
        async with running.connection.place():
            found = await running.connection.ask(
                "/embedding", {"content": content}, list[_Embedded]
            )
        self._vectors.worked()
        vectors = {one.index: one.embedding[0] for one in found if one.embedding}
        if sorted(vectors) != list(range(len(texts))):
            raise unavailable("gave fewer vectors than it was asked for")
        made = [vectors[number] for number in range(len(texts))]
        return Embeddings(made, sum(map(len, content)))

    async def close(self) -> None:
        """See Engine."""
        async with AsyncExitStack() as stopping:
            for process in (self._texts, self._scores, self._vectors):
                stopping.push_async_callback(process.stop)

    def _process(self, work: Work) -> Process:
        def prepare() -> Load:
            folder = self._house.files(self._manifest)
            weights = folder / self._weights()
            self._speech = Speech.of(self._manifest, self._profile, folder, weights)
            adapters = self._manifest.adapters or {}
            return Load(
                weights,
                adapters=()
                if work == "embed"
                else tuple(folder / path for path in adapters.values()),
                context=self._context(),
                slots=self._house.slots,
                threads=self._house.threads or len(os.sched_getaffinity(0)),
                work=work,
                memory_bytes=_memory() + weights.stat().st_size + _MEMORY_ASIDE,
            )

        return Process(
            self._manifest.name,
            prepare,
            on_started=lambda isolated: self._house.on_started(self._manifest, isolated),
            on_stopped=lambda reason: self._house.on_stopped(self._manifest, reason),
        )

    def _weights(self) -> str:
        if self._manifest.weights is not None:
            return self._manifest.weights
        weights = sorted(path for path in self._manifest.files if path.endswith(".gguf"))
        if not weights:
            raise Invalid(
                f"None of the files of model {self._manifest.name} is GGUF.",
                "Convert it to GGUF, and propose that.",
            )
        return weights[0]

    def _context(self) -> int:
        known = (self._profile.context_tokens, self._manifest.context_length)
        return min((length for length in known if length is not None), default=_CONTEXT)

    def _spoken(self) -> Speech:
        assert self._speech is not None  # noqa: S101 - set before a process starts
        return self._speech

    def _check_layers(self, running: Running, label: Label) -> None:
        missing = self._house.required_layers(label) - set(running.isolated.layers)
        if missing:
            why = [
                f"{layer} ({running.isolated.missing.get(layer, 'unknown reason')})"
                for layer in sorted(missing)
            ]
            raise Refused(
                f"What is labelled {label} may only be given to a model that is isolated by more "
                f"than this system offers. Missing: {', '.join(why)}.",
                "Run Casemate on a kernel that gives these layers, or ask about something with a "
                "lower label.",
            )

    async def _encoded(self, running: Running, pieces: list[Piece]) -> list[int]:
        tekken = self._spoken().tekken
        if tekken is not None:
            return await asyncio.to_thread(tekken.encode, pieces)
        answer = await running.connection.ask("/tokenize", tokenizing(pieces), Tokenized)
        return answer.tokens

    async def _encoded_alone(self, running: Running, text: str) -> list[int]:
        speech = self._spoken()
        if speech.tekken is not None:
            begin: list[Piece] = [] if speech.begin is None else [speech.begin]
            return await self._encoded(running, [*begin, text])
        body = tokenizing(text, whole=True)
        return (await running.connection.ask("/tokenize", body, Tokenized)).tokens

    def _room(self, running: Running, ids: list[int], sampling: Sampling) -> int:
        """How many tokens the answer may have."""
        room = running.life.load.context - len(ids)
        if room < 1:
            raise _too_large(len(ids), running.life.load.context)
        wanted = self._profile.answer_tokens
        if sampling.max_tokens is not None:
            wanted = min(wanted, sampling.max_tokens)
        return max(1, min(wanted, room))

    def _body(self, ids: list[int], most: int, sampling: Sampling) -> dict[str, Any]:
        body: dict[str, Any] = {
            "prompt": ids,
            "n_predict": most,
            "stream": True,
            "n_probs": max(1, sampling.likeliest or 0),
            "return_tokens": True,
            "cache_prompt": not sampling.repeatable,
            "response_fields": ["stop_type", "tokens_predicted"],
            "lora": self._adapter(sampling.adapter),
        }
        profile = self._profile
        chosen = {
            "temperature": _share(sampling.temperature, profile.temperature_thousandths),
            "top_p": _share(sampling.top_p, profile.top_p_thousandths),
            "seed": sampling.seed,
        }
        return body | {name: value for name, value in chosen.items() if value is not None}

    def _adapter(self, name: str | None) -> list[dict[str, Any]]:
        if name is None:
            return []
        names = list(self._manifest.adapters or {})
        if name not in names:
            raise NotFound(
                f"Model {self._manifest.name} has no such adapter.",
                f"It has: {', '.join(names) or 'none'}.",
            )
        return [{"id": names.index(name), "scale": 1.0}]

    async def _grammar(self, running: Running, prompt: Prompt, schema: str, begun: bool) -> str:
        line = grammar.parse(schema)
        speech = self._spoken()
        if line not in self._understood:
            id = speech.controls.get("<unk>", 0)
            async with running.connection.place():
                answer = await running.connection.ask(
                    "/completion", grammar.probe(line, id), Tokenized
                )
            if answer.tokens != [id]:
                raise Invalid(
                    "This JSON Schema asks for something that cannot be enforced here.",
                    "Use types, properties, required, items, enum, const, anyOf, pattern and "
                    "bounds, and nothing else.",
                )
            self._understood[line] = None
            if len(self._understood) > _SCHEMAS:
                del self._understood[next(iter(self._understood))]
        return grammar.grammar(
            line,
            speech.marks,
            thinking=self._profile.thinking,
            begun=begun,
            tools=bool(prompt.tools),
        )


@dataclass(frozen=True)
class _Answer:
    """An answer that is being written."""

    running: Running
    stream: aiohttp.StreamReader
    events: Events


class _Written(msgspec.Struct):
    content: str


class _Embedded(msgspec.Struct):
    index: int
    embedding: list[list[float]]


def _too_large(tokens: int, most: int) -> TooLarge:
    return TooLarge(
        f"This takes {tokens} tokens, and the model reads at most {most}.",
        "Ask something shorter, with fewer passages or documents.",
    )


def _share(chosen: float | None, thousandths: int | None) -> float | None:
    if chosen is not None or thousandths is None:
        return chosen
    return thousandths / 1000


def _memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
