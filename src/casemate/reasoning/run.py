"""A run: the one path from question to answer, as a stream of events.

The question's entry is durable before the first event leaves, the answer's before the last. A
sentence leaves only after its citations were verified against the passages. Whatever happens in
between, failure or a reader who goes away, ends in an entry too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from casemate.engines.engine import Engine, Found, Part, Sampling
from casemate.errors import CasemateError, Invalid, Refused, TooLarge
from casemate.language import words
from casemate.reasoning import prompt as prompts
from casemate.reasoning.citation import Binder, Bound
from casemate.reasoning.event import (
    Admitted,
    Answer,
    Citation,
    Cited,
    Event,
    Finished,
    Request,
    Sentence,
    Source,
    Step,
    StepFinished,
    StepStarted,
    Text,
    Thinking,
)
from casemate.reasoning.record import Opened, Runs, answer_content, source_content

if TYPE_CHECKING:
    from casemate.gate.admission import Admission
    from casemate.gate.label import Label
    from casemate.library.document import Hit
    from casemate.library.library import Library

PASSAGES = 10  # for each part of a question
_MOST_PARTS = 6


@dataclass
class _State:
    """What a run has gathered so far."""

    language: str
    label: Label
    sources: list[Source] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    text: str = ""
    sentences: list[Sentence] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)

    def answer(self) -> Answer:
        return Answer(
            text=self.text,
            language=self.language,
            sentences=tuple(self.sentences),
            citations=tuple(self.citations),
            sources=tuple(self.sources),
            thinking="".join(self.thinking),
        )


class Reasoner:
    """Runs questions."""

    def __init__(self, library: Library, runs: Runs, *, most_characters: int) -> None:
        self._library = library
        self._runs = runs
        self._most_characters = most_characters

    async def run(
        self,
        admission: Admission,
        request: Request,
        engine: Engine,
        model_digest: str,
        label: Label,
    ) -> AsyncGenerator[Event, None]:
        """Answer ``request`` under ``admission``; ``label`` joins the question's and the model's.

        Raises Invalid, TooLarge or Refused before anything is recorded; what the engine
        or the library raises, after the run's end was recorded as failed.
        """
        self._check(request)
        if not admission.label.dominates(label):
            raise Refused(
                "The question's or the model's label is above what you may use here.",
                "Choose another use case or model, or ask whoever gave you access.",
            )
        opened = await asyncio.to_thread(self._runs.open, admission, request, model_digest, label)
        language = _language(request)
        state = _State(language, label)
        ended = False
        try:
            yield Admitted(
                run=opened.id,
                use_case=admission.use_case.id,
                model=admission.model,
                entry=opened.admitted.index,
            )
            async with aclosing(self._search(admission, request, engine, state)) as events:
                async for event in events:
                    yield event
            # Joined labels can be higher than each of them: asked again before the engine sees
            # anything.
            if not admission.label.dominates(state.label):
                raise Refused(
                    "What was found is, taken together, above what you may use here.",
                    "Ask about fewer collections at a time.",
                )
            # Closed here and now when the reader goes away, so that a model server stops as well.
            async with aclosing(self._write(request, engine, opened, state)) as events:
                async for event in events:
                    yield event
            finishing = asyncio.ensure_future(self._finish(opened, state))
            ended = True  # the record is being written, also for a reader who goes away now
            try:
                finished = await asyncio.shield(finishing)
            except CasemateError:
                ended = False
                raise
            yield finished
        finally:
            if not ended:
                # Shielded: a reader who goes away cancels the run, never its record.
                await asyncio.shield(
                    asyncio.to_thread(self._runs.close, opened, "failed", state.label, {})
                )

    def _check(self, request: Request) -> None:
        for text in (request.question, *(said for _, said in request.history)):
            if any("\ud800" <= char <= "\udfff" for char in text):
                raise Invalid("The question is not valid text.", "Write it in UTF-8.")
        if not request.question.strip():
            raise Invalid("The question is empty.", "Write what you want to know.")
        if len(request.question) > self._most_characters:
            raise TooLarge(
                f"The question is longer than {self._most_characters:,} characters.",
                "Shorten it, or add the long text as a document and ask about it.",
            )

    async def _search(
        self, admission: Admission, request: Request, engine: Engine, state: _State
    ) -> AsyncGenerator[Event, None]:
        parts = engine.plan(request.question)[:_MOST_PARTS]
        passages = await asyncio.to_thread(self._library.readable, admission)
        for part in parts:
            number = len(state.steps) + 1
            yield StepStarted(number=number, kind="search", subject=part.question)
            hits = await asyncio.to_thread(
                self._library.find, part.query, admission, limit=PASSAGES
            )
            rarity = await asyncio.to_thread(self._library.rarity, part.query, admission)
            evidence = tuple(self._take(hit, state) for hit in hits)
            state.found.append(
                Found(
                    part=part,
                    passages=passages,
                    evidence=evidence,
                    scores=tuple(round(hit.score * 1000) for hit in hits),
                    rarity=tuple(sorted(rarity.items())),
                    alike=tuple(
                        (word, tuple(sorted(others.own)), tuple(sorted(others.foreign)))
                        for word, others in sorted(self._library.alike(part.query).items())
                    ),
                )
            )
            step = Step(
                kind="search",
                subject=part.question,
                found=tuple(dict.fromkeys(_place(hit) for hit in hits)),
                count=len(hits),
            )
            state.steps.append(step)
            yield StepFinished(number=number, step=step)

    def _take(self, hit: Hit, state: _State) -> int:
        """Add a passage to the run's sources, once; the run's label rises with it."""
        passage = hit.passage
        for number, source in enumerate(state.sources, 1):
            if source.document_id == passage.document and source.start == passage.start:
                return number
        state.label = state.label.join(passage.label)
        state.sources.append(
            Source(
                document_id=passage.document,
                document=passage.document_name,
                digest=passage.document_digest,
                collection=passage.collection,
                page=passage.page,
                start=passage.start,
                end=passage.end,
                title=passage.title,
                heading=passage.heading,
                label=str(passage.label),
                text=passage.text,
            )
        )
        return len(state.sources)

    async def _write(
        self, request: Request, engine: Engine, opened: Opened, state: _State
    ) -> AsyncGenerator[Event, None]:
        quotes = "quotes" in engine.capabilities
        kind = "quote" if quotes else "write"
        number = len(state.steps) + 1
        yield StepStarted(number=number, kind=kind)
        prompt = prompts.build(
            request, state.language, state.found, state.sources, opened.id, state.label
        )
        sampling = Sampling(request.temperature, request.top_p, request.seed, request.max_tokens)
        binder = Binder(state.sources)
        async with aclosing(engine.generate(prompt, sampling)) as tokens:
            async for token in tokens:
                if token.kind == "thinking":
                    state.thinking.append(token.text)
                    yield Thinking(text=token.text)
                    continue
                for bound in binder.feed(token):
                    for event in _show(bound, state):
                        yield event
        for bound in binder.finish():
            for event in _show(bound, state):
                yield event
        step = Step(kind=kind, count=len(state.sentences))
        state.steps.append(step)
        yield StepFinished(number=number, step=step)
        check = Step(kind="verify", count=len(state.citations))
        yield StepStarted(number=number + 1, kind="verify")
        state.steps.append(check)
        yield StepFinished(number=number + 1, step=check)

    async def _finish(self, opened: Opened, state: _State) -> Finished:
        answer = state.answer()
        # Words that rest on no verified passage are shown, but they do not count as an answer.
        outcome = "answered" if answer.citations else "unanswered"
        contents = {
            "answer": answer_content(answer),
            "sources": [source_content(source) for source in state.sources],
            "steps": {
                "steps": msgspec.to_builtins(state.steps),
                "thinking": answer.thinking,
                "found": [found_content(one) for one in state.found],
            },
        }
        finished = await asyncio.to_thread(self._runs.close, opened, outcome, state.label, contents)
        return Finished(
            run=opened.id,
            outcome=outcome,
            label=str(state.label),
            entry=finished.index,
            answer=answer,
            steps=tuple(state.steps),
        )


def _language(request: Request) -> str:
    """The language to answer in: the reader's if it is spoken here, else the question's."""
    wanted = (request.language or "").lower().split("-")[0]
    return wanted if wanted in words.FUNCTION_WORDS else words.language_of(request.question)


def found_content(found: Found) -> dict[str, object]:
    """What was searched and found for one part, as it is committed to; enough to replay it."""
    return {
        "question": found.part.question,
        "query": found.part.query,
        "passages": found.passages,
        "evidence": list(found.evidence),
        "scores": list(found.scores),
        "rarity": dict(found.rarity),
        "alike": {word: [list(own), list(foreign)] for word, own, foreign in found.alike},
    }


def found_from(content: dict[str, object]) -> Found:
    """The reverse of ``found_content``."""
    typed = msgspec.convert(content, _Kept)
    return Found(
        part=Part(typed.question, typed.query),
        passages=typed.passages,
        evidence=typed.evidence,
        scores=typed.scores,
        rarity=tuple(sorted(typed.rarity.items())),
        alike=tuple((word, own, foreign) for word, (own, foreign) in sorted(typed.alike.items())),
    )


class _Kept(msgspec.Struct):
    question: str
    query: str
    passages: int
    evidence: tuple[int, ...]
    scores: tuple[int, ...]
    rarity: dict[str, int]
    alike: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]


def _show(bound: Bound, state: _State) -> list[Event]:
    """Add a verified piece to the answer, with its markers; the events that show it."""
    before = bound.before if state.text else bound.before.lstrip()
    start = len(state.text) + len(before)
    numbers: list[int] = []
    indices: list[int] = []
    events: list[Event] = []
    for span in bound.cites:
        source = state.sources[span.source]
        citation = Citation(
            number=_number(span.source, state),
            source=span.source,
            start=span.start,
            end=span.end,
            quote=source.text[span.start - source.start : span.end - source.start],
        )
        indices.append(len(state.citations))
        state.citations.append(citation)
        events.append(Cited(citation=citation, source=source))
        if citation.number not in numbers:
            numbers.append(citation.number)
    markers = "".join(f" [{number}]" for number in numbers)
    piece = before + bound.text + markers
    state.text += piece
    state.sentences.append(
        Sentence(start=start, end=start + len(bound.text), citations=tuple(indices))
    )
    return [*events, Text(text=piece)]


def _number(source: int, state: _State) -> int:
    """The number under which a source is shown: in the order of first mention."""
    shown = {citation.source: citation.number for citation in state.citations}
    return shown.get(source, len(set(shown.values())) + 1)


def _place(hit: Hit) -> str:
    page = hit.passage.page
    return (
        hit.passage.document_name if page is None else f"{hit.passage.document_name}, page {page}"
    )
