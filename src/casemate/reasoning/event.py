"""Events: what a run tells as it goes. OpenAI, HTML and terminal output are renderings of these.

The order is fixed: ``Admitted`` first; steps, waiting, thinking, text and citations as they come;
``Finished`` last. Nothing follows ``Finished``; a run that fails raises after its entry is durable.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A tool of the asker's that the model calls. ``arguments``: JSON text, as it wrote it."""

    id: str
    name: str
    arguments: str


class Turn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A turn in which the asker's tools take part.

    An assistant's may hold ``calls``; a tool's ``answers`` the call of that id.
    """

    role: Annotated[str, Meta(pattern="^(assistant|tool)$")]
    text: str = ""
    calls: tuple[Call, ...] = ()
    answers: str = ""


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the asker runs and the model may call. ``parameters``: JSON Schema, as text."""

    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_.-]{1,128}$")]
    description: str = ""
    parameters: str = "{}"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a face hands in.

    ``history``: earlier turns, as (role, text) or with tools. ``since``: turns after the question,
    in which the model called tools of the asker's and was answered. ``choice``: "auto", "none",
    "required", or the name of the tool to call. ``schema``: JSON Schema, as text, that the answer
    has to satisfy. ``stop``: texts before which it ends. ``logprobs``: for how many alternatives
    the log-probability of each token is wanted as well; 0 for that of the token alone. ``suffix``:
    the question is the begin of a text and this its end, and what stands between is wanted.
    """

    question: str
    label: str | None = None  # of the question and its history; else the policy's lowest
    use_case: str | None = None
    collections: tuple[str, ...] = ()  # names; none: every one the use case and the asker reach
    model: str | None = None
    language: str | None = None  # of the reader, when a face knows it; else that of the question
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    history: tuple[tuple[str, str] | Turn, ...] = ()
    since: tuple[Turn, ...] = ()
    tools: Annotated[tuple[Offered, ...], Meta(max_length=128)] = ()
    choice: str = "auto"
    most_calls: Annotated[int, Meta(ge=1, le=64)] = 64  # of those tools at once
    schema: Annotated[str, Meta(max_length=262_144)] | None = None
    stop: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    suffix: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text in it that was written for a model."""
        return (
            self.question,
            *(turn.text if isinstance(turn, Turn) else turn[1] for turn in self.history),
            *(turn.text for turn in self.since),
            *self.stop,
            self.suffix or "",
        )


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A passage that entered the run."""

    document_id: str
    document: str  # name
    digest: str  # of the original file
    collection: str
    page: int | None
    start: int  # characters into the document's text
    end: int
    title: str
    heading: str
    label: str
    text: str


class Citation(msgspec.Struct, frozen=True, kw_only=True):
    """Exact words of one source, verified: ``source.text[start - source.start : …] == quote``."""

    number: int  # as shown, from 1; one number per source
    source: int  # index into the answer's sources
    start: int  # characters into the document's text
    end: int
    quote: str


class Sentence(msgspec.Struct, frozen=True, kw_only=True):
    """A span of the answer's text and the citations it rests on (indices).

    ``support``: "verbatim", its quotations stand in the passages letter for letter; "words", a
    passage has nearly all of its words, its numbers and names; "none", no source supports it;
    empty in records made before this was told.
    """

    start: int
    end: int
    citations: tuple[int, ...] = ()
    support: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing the run did. ``kind``: search, think, tool, write, quote, verify, limit."""

    kind: str
    subject: str = ""  # what it was about, e.g. the query
    found: tuple[str, ...] = ()  # e.g. "fees.pdf, page 2"
    count: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer as it is shown and committed to.

    ``text`` holds markers " [n]" after what a citation supports; ``sentences`` cover it in order.
    """

    text: str
    language: str
    sentences: tuple[Sentence, ...]
    citations: tuple[Citation, ...]
    sources: tuple[Source, ...]
    thinking: str = ""
    calls: tuple[Call, ...] = ()  # tools of the asker's, to be run before there is an answer


class Admitted(msgspec.Struct, frozen=True, tag="admitted", kw_only=True):
    """The entry for the question is durable; work begins."""

    run: str
    use_case: str
    model: str
    entry: int


class StepStarted(msgspec.Struct, frozen=True, tag="step_started", kw_only=True):
    """A step begins."""

    number: int
    kind: str
    subject: str = ""


class StepFinished(msgspec.Struct, frozen=True, tag="step_finished", kw_only=True):
    """A step is done."""

    number: int
    step: Step


class Waiting(msgspec.Struct, frozen=True, tag="waiting", kw_only=True):
    """Others go first. ``position`` counts them, and one; 0 once the engine begins."""

    position: int


class Thinking(msgspec.Struct, frozen=True, tag="thinking", kw_only=True):
    """A piece of the model's reasoning."""

    text: str


class Probable(msgspec.Struct, frozen=True, kw_only=True):
    """A token of the answer: the natural logarithm of its probability, and of the likeliest."""

    text: str
    logprob: float
    likeliest: tuple[tuple[str, float], ...] = ()


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens as the engine counted them; None: it did not."""

    read: int | None = None
    written: int | None = None
    thought: int | None = None


class Text(msgspec.Struct, frozen=True, tag="text", kw_only=True):
    """A piece of the answer, whole sentences with verified markers.

    ``tokens``: those it is made of, where log-probabilities were asked for.
    """

    text: str
    tokens: tuple[Probable, ...] = ()


class Called(msgspec.Struct, frozen=True, tag="called", kw_only=True):
    """The model calls a tool that the asker runs; the answer comes when it was told the result."""

    call: Call


class Cited(msgspec.Struct, frozen=True, tag="cited", kw_only=True):
    """A citation that the text sent next refers to."""

    citation: Citation
    source: Source


class Finished(msgspec.Struct, frozen=True, tag="finished", kw_only=True):
    """The entry for the answer is durable; the receipt can be had."""

    run: str
    outcome: str  # answered | unanswered
    label: str
    entry: int
    answer: Answer
    steps: tuple[Step, ...]
    tokens: tuple[Probable, ...] = ()  # where log-probabilities were asked for; not recorded
    counted: Counted = Counted()


Event = (
    Admitted | StepStarted | StepFinished | Waiting | Thinking | Text | Called | Cited | Finished
)
