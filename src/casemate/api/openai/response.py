"""A run as a chat completion, whole or in chunks.

Beyond OpenAI's fields: ``reasoning`` and ``reasoning_content`` (what the model thought), and
``casemate`` (the run, its label, its citations, where its receipt is).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Struct, UnsetType

from casemate.api.calling import CallShape, shape_of
from casemate.reasoning.event import (
    Answer,
    Citation,
    Counted,
    Finished,
    Probable,
    Request,
    Sentence,
    Turn,
)

FinishReason = Literal["stop", "length", "tool_calls"]


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
    runs: list[str] | UnsetType = UNSET  # one for each answer, where there are several


class MessageShape(Struct, frozen=True, kw_only=True):
    """The assistant's message."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    annotations: list[Annotation]
    tool_calls: list[CallShape] | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET


class TopShape(Struct, frozen=True, kw_only=True):
    """A token that could have stood there, and the natural logarithm of its probability."""

    token: str
    logprob: float
    bytes: list[int]


class TokenShape(TopShape, frozen=True, kw_only=True):
    """A token of the answer, and the likeliest in its place."""

    top_logprobs: list[TopShape]


class Logprobs(Struct, frozen=True, kw_only=True):
    """The tokens of an answer with their probabilities."""

    content: list[TokenShape]
    refusal: None = None


class Choice(Struct, frozen=True, kw_only=True):
    """One answer."""

    index: int = 0
    message: MessageShape
    logprobs: Logprobs | None = None
    finish_reason: FinishReason = "stop"


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
    tool_calls: list[CallShape] | None = None


class ChunkChoice(Struct, frozen=True, kw_only=True):
    """What a chunk adds to one answer."""

    index: int = 0
    delta: Delta
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | None = None


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
    answers: list[Finished], *, use_case: str, asked: Request, model: str, created: int, site: str
) -> Completion:
    """The whole answer. ``model`` is the id that was asked for; ``site`` begins the links."""
    return Completion(
        id=completion_id(answers[0].run),
        created=created,
        model=model,
        choices=[choice_of(finished, index, site) for index, finished in enumerate(answers)],
        usage=total([usage(asked, finished) for finished in answers]),
        casemate=casemate_shape(
            answers[0], use_case, [one.run for one in answers] if len(answers) > 1 else None
        ),
    )


def choice_of(finished: Finished, index: int, site: str) -> Choice:
    """One answer of several."""
    answer = finished.answer
    thinking = answer.thinking or UNSET
    calls = [shape_of(call) for call in answer.calls]
    message = MessageShape(
        content=answer.text if answer.text or not calls else None,
        annotations=citations_of(answer, site),
        tool_calls=calls or UNSET,
        reasoning=thinking,
        reasoning_content=thinking,
    )
    return Choice(
        index=index,
        message=message,
        logprobs=logprobs_of(finished.tokens),
        finish_reason=finish_reason(finished),
    )


def logprobs_of(tokens: Sequence[Probable]) -> Logprobs | None:
    """Tokens with their probabilities; None where there are none."""
    if not tokens:
        return None
    return Logprobs(
        content=[
            TokenShape(
                token=one.text,
                logprob=one.logprob,
                bytes=list(one.text.encode()),
                top_logprobs=[
                    TopShape(token=text, logprob=logprob, bytes=list(text.encode()))
                    for text, logprob in one.likeliest
                ],
            )
            for one in tokens
        ]
    )


def completion_id(run: str) -> str:
    """OpenAI's form of a run's id."""
    return f"chatcmpl-{run}"


def casemate_shape(
    finished: Finished, use_case: str, runs: list[str] | None = None
) -> CasemateShape:
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
        runs=runs or UNSET,
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


def finish_reason(finished: Finished) -> FinishReason:
    """Whether the model came to its end, to its bound of tokens, or called the asker's tools."""
    if finished.answer.calls:
        return "tool_calls"
    return "length" if bounded(finished) else "stop"


def bounded(finished: Finished) -> bool:
    """Whether the model came to its bound of tokens."""
    return any(step.kind == "limit" and step.subject == "tokens" for step in finished.steps)


def usage(asked: Request, finished: Finished) -> Usage:
    """Tokens as the engine counted them; words where it has no tokenizer, as the quote engine."""
    counted, answer = finished.counted, finished.answer
    thought = _words(answer.thinking)
    if counted.read is None or counted.written is None:
        read = _words(asked.question) + _words(asked.suffix or "")
        read += sum(map(_said, (*asked.history, *asked.since)))
        counted = Counted(read=read, written=_words(answer.text) + thought, thought=thought)
    return Usage(
        prompt_tokens=counted.read or 0,
        completion_tokens=counted.written or 0,
        total_tokens=(counted.read or 0) + (counted.written or 0),
        completion_tokens_details=CompletionDetails(
            reasoning_tokens=min(counted.thought or 0, counted.written or 0)
        ),
    )


def total(parts: Sequence[Usage]) -> Usage:
    """The usage of several answers together."""
    return Usage(
        prompt_tokens=sum(one.prompt_tokens for one in parts),
        completion_tokens=sum(one.completion_tokens for one in parts),
        total_tokens=sum(one.total_tokens for one in parts),
        completion_tokens_details=CompletionDetails(
            reasoning_tokens=sum(one.completion_tokens_details.reasoning_tokens for one in parts)
        ),
    )


def encode(shape: Struct) -> bytes:
    """``shape`` as JSON."""
    return msgspec.json.encode(shape)


def _said(turn: tuple[str, str] | Turn) -> int:
    return _words(turn.text if isinstance(turn, Turn) else turn[1])


def _words(text: str) -> int:
    return len(text.split())
