"""A run as Mistral's clients read it: chunks of thinking, text and references.

The text chunks, joined, are the answer to the letter, markers " [n]" included: it is what the
receipt commits to. After each text with markers stands a reference chunk with the same numbers.
They lead to ``casemate.references``, where the passages themselves are.

Beyond Mistral's fields: ``casemate`` (the run, its label, its references, where its receipt is).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Struct, UnsetType

from casemate.api.calling import CallShape, shape_of
from casemate.api.openai import response as openai
from casemate.reasoning.event import Answer, Event, Finished, Request, Thinking


class TextChunk(Struct, frozen=True, kw_only=True, tag="text"):
    """Words."""

    text: str


class ReferenceChunk(Struct, frozen=True, kw_only=True, tag="reference"):
    """Numbers of the references that the text before it rests on."""

    reference_ids: list[int]


class ThinkChunk(Struct, frozen=True, kw_only=True, tag="thinking"):
    """What the model thought."""

    thinking: list[TextChunk]


Content = str | list[TextChunk | ReferenceChunk | ThinkChunk]


class QuotationShape(Struct, frozen=True, kw_only=True):
    """Exact words; ``start`` and ``end`` count code points of the document's text."""

    start: int
    end: int
    quote: str
    url: str


class ReferenceShape(Struct, frozen=True, kw_only=True):
    """Where a number leads: a passage, and the words of it that were used."""

    id: int
    document: str
    name: str
    collection: str
    page: int | None
    heading: str
    label: str
    start: int
    end: int
    text: str
    quotations: list[QuotationShape]


class CasemateShape(Struct, frozen=True, kw_only=True):
    """What Mistral's shape has no place for."""

    run: str
    use_case: str
    label: str
    outcome: str
    references: list[ReferenceShape]
    receipt: str


class Usage(Struct, frozen=True, kw_only=True):
    """How much was read and written, in words."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class MessageShape(Struct, frozen=True, kw_only=True):
    """The assistant's message."""

    role: Literal["assistant"] = "assistant"
    content: Content
    tool_calls: list[CallShape] | None = None
    prefix: bool = False


class Choice(Struct, frozen=True, kw_only=True):
    """The only choice."""

    index: int = 0
    message: MessageShape
    finish_reason: openai.FinishReason


class Completion(Struct, frozen=True, kw_only=True):
    """Mistral's "chat.completion" object. ``id`` is the run's."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    casemate: CasemateShape


class ProblemShape(Struct, frozen=True, kw_only=True):
    """Why a stream broke off, and what to do."""

    what: str
    next: str


class Metadata(Struct, frozen=True, kw_only=True):
    """In the last delta. Mistral's package keeps it, and drops fields of a chunk it cannot name."""

    casemate: CasemateShape | UnsetType = UNSET
    error: ProblemShape | UnsetType = UNSET


class Delta(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a chunk adds to the message."""

    role: str | None = None
    content: Content | None = None
    tool_calls: list[CallShape] | None = None
    metadata: Metadata | None = None


class ChunkChoice(Struct, frozen=True, kw_only=True):
    """The only choice of a chunk."""

    index: int = 0
    delta: Delta
    finish_reason: openai.FinishReason | Literal["error"] | None = None


class Chunk(Struct, frozen=True, kw_only=True):
    """Mistral's "chat.completion.chunk" object."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | UnsetType = UNSET


def completion(
    finished: Finished,
    *,
    use_case: str,
    asked: Request,
    model: str,
    created: int,
    site: str,
    untold: tuple[type[Event], ...] = (),
) -> Completion:
    """The whole answer. ``model`` is the id that was asked for; ``site`` begins the links."""
    answer = finished.answer
    choice = Choice(
        message=MessageShape(
            content=content_of(told_of(answer, untold)),
            tool_calls=[shape_of(call, n) for n, call in enumerate(answer.calls)] or None,
        ),
        finish_reason=openai.finish_reason(finished),
    )
    return Completion(
        id=finished.run,
        created=created,
        model=model,
        choices=[choice],
        usage=usage(asked, finished),
        casemate=casemate_shape(finished, use_case, site),
    )


def told_of(answer: Answer, untold: tuple[type[Event], ...]) -> Answer:
    """The answer without what is not told."""
    return msgspec.structs.replace(answer, thinking="") if Thinking in untold else answer


def content_of(answer: Answer) -> Content:
    """The message's content: a string where it has neither thinking nor references."""
    chunks: list[TextChunk | ReferenceChunk | ThinkChunk] = []
    if answer.thinking:
        chunks.append(thought(answer.thinking))
    told = 0
    for sentence in answer.sentences:
        numbers = distinct(answer.citations[index].number for index in sentence.citations)
        if not numbers:
            continue
        markers = "".join(f" [{number}]" for number in numbers)
        end = sentence.end
        if answer.text.startswith(markers, end):
            end += len(markers)
        chunks += [TextChunk(text=answer.text[told:end]), ReferenceChunk(reference_ids=numbers)]
        told = end
    if not chunks:
        return answer.text
    if answer.text[told:]:
        chunks.append(TextChunk(text=answer.text[told:]))
    return chunks


def thought(text: str) -> ThinkChunk:
    """A piece of thinking, wrapped as Mistral does."""
    return ThinkChunk(thinking=[TextChunk(text=text)])


def distinct(numbers: Iterable[int]) -> list[int]:
    """Each number once, in the order of first mention."""
    return list(dict.fromkeys(numbers))


def casemate_shape(finished: Finished, use_case: str, site: str) -> CasemateShape:
    """Run, label, references and receipt."""
    return CasemateShape(
        run=finished.run,
        use_case=use_case,
        label=finished.label,
        outcome=finished.outcome,
        references=references_of(finished.answer, site),
        receipt=f"/api/runs/{finished.run}/receipt",
    )


def references_of(answer: Answer, site: str) -> list[ReferenceShape]:
    """The passages that the answer cites, by number."""
    sources = {cited.number: cited.source for cited in answer.citations}
    found = []
    for number, index in sorted(sources.items()):
        source = answer.sources[index]
        address = f"{site}/documents/{quote(source.document_id, safe='')}"
        found.append(
            ReferenceShape(
                id=number,
                document=source.document_id,
                name=source.document,
                collection=source.collection,
                page=source.page,
                heading=source.heading,
                label=source.label,
                start=source.start,
                end=source.end,
                text=source.text,
                quotations=[
                    QuotationShape(
                        start=cited.start,
                        end=cited.end,
                        quote=cited.quote,
                        url=f"{address}?start={cited.start}&end={cited.end}",
                    )
                    for cited in answer.citations
                    if cited.number == number
                ],
            )
        )
    return found


def usage(asked: Request, finished: Finished) -> Usage:
    """Tokens, or words, as at ``/v1``."""
    counted = openai.usage(asked, finished)
    return Usage(
        prompt_tokens=counted.prompt_tokens,
        completion_tokens=counted.completion_tokens,
        total_tokens=counted.total_tokens,
    )


def encode(shape: Struct) -> bytes:
    """``shape`` as JSON."""
    return msgspec.json.encode(shape)
