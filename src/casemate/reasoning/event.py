"""Events: what a run tells as it goes. OpenAI, HTML and terminal output are renderings of these.

The order is fixed: ``Admitted`` first; steps, waiting, thinking, text and citations as they come;
``Finished`` last. Nothing follows ``Finished``; a run that fails raises after its entry is durable.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a face hands in."""

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
    history: tuple[tuple[str, str], ...] = ()  # earlier (role, text) of a conversation


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


class Text(msgspec.Struct, frozen=True, tag="text", kw_only=True):
    """A piece of the answer, whole sentences with verified markers."""

    text: str


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


Event = Admitted | StepStarted | StepFinished | Waiting | Thinking | Text | Cited | Finished
