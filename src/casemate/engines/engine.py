"""The engine protocol: from a prompt to a stream of tokens.

A prompt is structured: the parts of the question with the evidence found for each, and the same
rendered as chat messages. A quoting engine reads the parts, a generating one the messages.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from casemate.gate.label import Label
    from casemate.models.profile import Profile


@dataclass(frozen=True)
class Evidence:
    """A passage that an engine may rest on; ``number`` counts from 1 within the prompt."""

    number: int
    title: str
    heading: str
    text: str


@dataclass(frozen=True)
class Part:
    """One question that can be searched and answered on its own."""

    question: str
    query: str  # what is searched for it; may add words that the question leaves unsaid


@dataclass(frozen=True)
class Found:
    """A part, the evidence found for it, and what the library knows of its words."""

    part: Part
    passages: int  # how many the library holds for this asker
    evidence: tuple[int, ...]  # numbers, best first
    scores: tuple[int, ...]  # of the search, in thousandths, one for each evidence
    rarity: tuple[tuple[str, int], ...]  # content word → how telling it is, 0…1000
    # Content word, stems of other words for it in its own language, and in other languages.
    alike: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]


@dataclass(frozen=True)
class Chunk:
    """A piece of a message. ``kind``: text | thinking."""

    text: str
    kind: str = "text"


@dataclass(frozen=True)
class ToolCall:
    """What a model asks a tool for. ``arguments``: JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Tool:
    """A tool that a model may call. ``parameters``: JSON Schema, as JSON text.

    ``theirs``: who asks runs it, so that a call of it ends the round and goes out to them.
    """

    name: str
    description: str
    parameters: str
    theirs: bool = False


@dataclass(frozen=True)
class Message:
    """One chat message. ``role``: system, user, assistant or tool.

    An assistant's message may hold thinking and ``calls``; a tool's message ``answers`` the call
    of that id.
    """

    role: str
    chunks: tuple[Chunk, ...]
    calls: tuple[ToolCall, ...] = ()
    answers: str = ""

    @classmethod
    def of(cls, role: str, text: str) -> Message:
        """A message that is plain text."""
        return cls(role, (Chunk(text),))

    @property
    def content(self) -> str:
        """Its text without the thinking."""
        return "".join(chunk.text for chunk in self.chunks if chunk.kind == "text")


@dataclass(frozen=True)
class Prompt:
    """Everything an engine is told.

    ``suffix`` set: what is wanted stands between ``question`` and ``suffix``; ``messages`` then
    hold the same two, for whoever counts.
    """

    question: str
    language: str
    label: Label  # of everything in it
    found: tuple[Found, ...]
    evidence: tuple[Evidence, ...]
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    suffix: str | None = None


@dataclass(frozen=True)
class Sampling:
    """How to draw tokens; None leaves the model's own choice.

    ``schema``: JSON Schema (JSON text) that the answer's text must satisfy. ``adapter``: name of an
    adapter of the manifest. ``repeatable`` False lets an engine reuse what it computed for other
    prompts, which is faster and can change the last bits of a probability. ``stop``: texts before
    which the answer ends; whoever follows the rounds sees to it. ``choice``: "required", or the
    name of the tool that must be called. ``likeliest``: how many alternatives for each token are
    wanted with their log-probabilities; None: not even that of the token. ``most_calls``: how many
    tools of the asker's are called at once; more are left out.
    """

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    schema: str | None = None
    adapter: str | None = None
    repeatable: bool = True
    stop: tuple[str, ...] = ()
    choice: str | None = None
    likeliest: int | None = None
    most_calls: int = 64


@dataclass(frozen=True)
class Token:
    """A piece of output. ``kind``: text | thinking | call | cut | count | waiting.

    ``evidence`` and ``start`` are set by quoting engines: the number of the passage this text was
    copied from, and the character in that passage where it begins.
    ``call`` is set, and ``text`` empty, where the model calls a tool. A ``cut``, empty too, comes
    last and says that the model was stopped at its bound of tokens, not at an end of its own.
    ``logprob`` is the natural logarithm of the probability, where the engine knows it, and
    ``likeliest`` those of the likeliest tokens in its place, if they were asked for. A ``count``,
    empty too, tells how many tokens were ``read`` and ``written`` in all, and of the latter
    ``thought``, where that is known. Of ``waiting``,
    ``position`` says how many go first, and one; 0 when the engine begins.
    """

    text: str
    kind: str = "text"
    evidence: int | None = None
    start: int = 0
    id: int | None = None
    logprob: float | None = None
    call: ToolCall | None = None
    likeliest: tuple[tuple[str, float], ...] = ()
    read: int | None = None
    written: int | None = None
    thought: int | None = None
    position: int | None = None


@dataclass(frozen=True)
class Scores:
    """Log-probabilities (natural logarithm) of a continuation's tokens after a prompt.

    Of the model's raw distribution: temperature 1, before any sampling filter. ``way``: how they
    were made, for the record: forward pass | forced decoding | prompt logprobs.
    """

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]
    way: str


@dataclass(frozen=True)
class Embeddings:
    """One vector for each text. ``read``: tokens of all of them, where the engine counts."""

    vectors: list[list[float]]
    read: int | None = None


class Engine(Protocol):
    """What runs a model."""

    @property
    def capabilities(self) -> frozenset[str]:
        """Of: generate, score, embed, fim, thinking, tools, choice, schema, logprobs,
        deterministic, quotes.
        """

    @property
    def profile(self) -> Profile:
        """How the model wants to be spoken to."""

    def plan(self, question: str) -> tuple[Part, ...]:
        """The parts of a question, each to be searched for on its own; at least one."""

    def generate(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Token, None]:
        """Stream tokens. Raises Unavailable if the engine stops or cannot be reached."""

    async def score(self, prompts: Sequence[Prompt], continuation: str) -> list[Scores]:
        """Log-probability of each token of ``continuation`` after each prompt.

        Many prompts at once share what they have in common. Raises Unsupported if the engine
        cannot score; Unavailable if it has stopped.
        """

    async def embed(self, texts: Sequence[str], *, label: Label) -> Embeddings:
        """One vector for each text; ``label`` is that of all of them together.

        Raises Unsupported if it cannot; Refused if they may not be shown to it.
        """

    async def close(self) -> None:
        """Release connections and processes."""
