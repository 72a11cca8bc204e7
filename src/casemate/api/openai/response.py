"""A run as a chat completion, whole or in chunks.

Beyond OpenAI's fields: ``reasoning`` and ``reasoning_content`` (what the model thought), and
``casemate`` (the run, its label, its citations, where its receipt is).
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Struct, UnsetType

from casemate.reasoning.event import Answer, Citation, Finished, Request, Sentence


class UrlCitation(Struct, frozen=True, kw_only=True):
    """Where in the message (code points) a marker stands, and the words it points to."""

    start_index: int
    end_index: int
    url: str
    title: str


class Annotation(Struct, frozen=True, kw_only=True):
    """OpenAI's wrapping of a citation."""

    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation


class CitationShape(Struct, frozen=True, kw_only=True):
    """Exact words of a document; ``start`` and ``end`` count code points of its text."""

    number: int
    document: str
    page: int | None
    start: int
    end: int
    quote: str


class CasemateShape(Struct, frozen=True, kw_only=True):
    """What OpenAI's shape has no place for."""

    run: str
    use_case: str
    label: str
    outcome: str
    citations: list[CitationShape]
    receipt: str


class MessageShape(Struct, frozen=True, kw_only=True):
    """The assistant's message."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    annotations: list[Annotation]
    reasoning: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET


class Choice(Struct, frozen=True, kw_only=True):
    """The only choice."""

    index: int = 0
    message: MessageShape
    logprobs: None = None
    finish_reason: Literal["stop", "length"] = "stop"


class CompletionDetails(Struct, frozen=True, kw_only=True):
    """How much of the completion was thinking."""

    reasoning_tokens: int


class Usage(Struct, frozen=True, kw_only=True):
    """How much was read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    completion_tokens_details: CompletionDetails


class Completion(Struct, frozen=True, kw_only=True):
    """OpenAI's "chat.completion" object."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    casemate: CasemateShape


class Delta(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a chunk adds to the message."""

    role: str | None = None
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    annotations: list[Annotation] | None = None


class ChunkChoice(Struct, frozen=True, kw_only=True):
    """The only choice of a chunk."""

    index: int = 0
    delta: Delta
    logprobs: None = None
    finish_reason: Literal["stop", "length"] | None = None


class Chunk(Struct, frozen=True, kw_only=True):
    """OpenAI's "chat.completion.chunk" object."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    casemate: CasemateShape | UnsetType = UNSET


def completion(
    finished: Finished, *, use_case: str, asked: Request, model: str, created: int, site: str
) -> Completion:
    """The whole answer. ``model`` is the id that was asked for; ``site`` begins the links."""
    answer = finished.answer
    thinking = answer.thinking or UNSET
    message = MessageShape(
        content=answer.text,
        annotations=citations_of(answer, site),
        reasoning=thinking,
        reasoning_content=thinking,
    )
    return Completion(
        id=completion_id(finished.run),
        created=created,
        model=model,
        choices=[Choice(message=message, finish_reason=finish_reason(finished))],
        usage=usage(asked, answer),
        casemate=casemate_shape(finished, use_case),
    )


def completion_id(run: str) -> str:
    """OpenAI's form of a run's id."""
    return f"chatcmpl-{run}"


def casemate_shape(finished: Finished, use_case: str) -> CasemateShape:
    """Run, label, citations and receipt."""
    answer = finished.answer
    citations = []
    for cited in answer.citations:
        source = answer.sources[cited.source]
        citations.append(
            CitationShape(
                number=cited.number,
                document=source.document_id,
                page=source.page,
                start=cited.start,
                end=cited.end,
                quote=cited.quote,
            )
        )
    return CasemateShape(
        run=finished.run,
        use_case=use_case,
        label=finished.label,
        outcome=finished.outcome,
        citations=citations,
        receipt=f"/api/runs/{finished.run}/receipt",
    )


def citations_of(answer: Answer, site: str) -> list[Annotation]:
    """A link for each citation of each sentence, at the marker that stands for it."""
    found = []
    ends = [sentence.start for sentence in answer.sentences[1:]] + [len(answer.text)]
    for sentence, end in zip(answer.sentences, ends, strict=False):
        for index in sentence.citations:
            cited = answer.citations[index]
            span = _marker(answer.text, cited.number, sentence, end)
            found.append(Annotation(url_citation=_link(cited, answer, span, site)))
    return found


def _marker(text: str, number: int, sentence: Sentence, end: int) -> tuple[int, int]:
    # Markers follow their sentence, before the next one. The last of the kind is the marker:
    # the sentence itself may quote a text that looks like one.
    marker = f"[{number}]"
    start = text.rfind(marker, sentence.start, end)
    return (sentence.start, sentence.end) if start < 0 else (start, start + len(marker))


def _link(cited: Citation, answer: Answer, span: tuple[int, int], site: str) -> UrlCitation:
    source = answer.sources[cited.source]
    page = f", page {source.page}" if source.page is not None else ""
    address = f"{site}/documents/{quote(source.document_id, safe='')}"
    return UrlCitation(
        start_index=span[0],
        end_index=span[1],
        url=f"{address}?start={cited.start}&end={cited.end}",
        title=source.document + page,
    )


def finish_reason(finished: Finished) -> Literal["stop", "length"]:
    """Whether the model came to its end or to its bound of tokens."""
    bounded = any(step.kind == "limit" and step.subject == "tokens" for step in finished.steps)
    return "length" if bounded else "stop"


def usage(asked: Request, answer: Answer) -> Usage:
    """Words for tokens.

    The quote engine has no tokenizer, and a run's events carry no counts of another engine's;
    words are what both can be compared by.
    """
    read = _words(asked.question) + sum(_words(text) for _, text in asked.history)
    thought = _words(answer.thinking)
    written = _words(answer.text) + thought
    return Usage(
        prompt_tokens=read,
        completion_tokens=written,
        total_tokens=read + written,
        completion_tokens_details=CompletionDetails(reasoning_tokens=thought),
    )


def encode(shape: Struct) -> bytes:
    """``shape`` as JSON."""
    return msgspec.json.encode(shape)


def _words(text: str) -> int:
    return len(text.split())
