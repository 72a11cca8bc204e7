"""A draft: what a run has gathered so far, and the answer that grows in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from casemate.engines.engine import Found, Token, ToolCall
from casemate.reasoning.citation import Bound
from casemate.reasoning.event import (
    Answer,
    Call,
    Citation,
    Cited,
    Counted,
    Event,
    Probable,
    Sentence,
    Source,
    Step,
    StepFinished,
    StepStarted,
    Text,
)

if TYPE_CHECKING:
    from casemate.gate.label import Label
    from casemate.library.document import Hit


@dataclass(frozen=True)
class Looked:
    """A tool that the model called, and the numbers of the passages it was given for it."""

    call: ToolCall
    given: tuple[int, ...] | None  # None: there is no such tool, or the call made no sense


@dataclass
class Draft:
    """Sources, steps, thinking, text, sentences and citations of one run."""

    language: str
    label: Label
    sources: list[Source] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    looked: list[tuple[Looked, ...]] = field(default_factory=list)  # of each round
    steps: list[Step] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    text: str = ""
    sentences: list[Sentence] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    tokens: list[Probable] = field(default_factory=list)
    thought: int = 0  # pieces of thinking
    counted: Counted = field(default_factory=Counted)

    def answer(self) -> Answer:
        """The answer as it stands."""
        return Answer(
            text=self.text,
            language=self.language,
            sentences=tuple(self.sentences),
            citations=tuple(self.citations),
            sources=tuple(self.sources),
            thinking="".join(self.thinking),
            calls=tuple(self.calls),
        )

    def begin(self, kind: str, subject: str = "") -> StepStarted:
        """A step begins."""
        return StepStarted(number=len(self.steps) + 1, kind=kind, subject=subject)

    def end(
        self, kind: str, subject: str = "", *, found: Sequence[str] = (), count: int = 0
    ) -> StepFinished:
        """The step that began last is done."""
        step = Step(kind=kind, subject=subject, found=tuple(found), count=count)
        self.steps.append(step)
        return StepFinished(number=len(self.steps), step=step)

    def take(self, hit: Hit) -> int:
        """Add a passage to the sources, once; the run's label rises with it. Its number."""
        passage = hit.passage
        for number, source in enumerate(self.sources, 1):
            if source.document_id == passage.document and source.start == passage.start:
                return number
        self.label = self.label.join(passage.label)
        self.sources.append(
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
        return len(self.sources)

    def show(self, bound: Bound) -> list[Event]:
        """Add a verified piece to the answer, with its markers; the events that show it."""
        before = bound.before if self.text else bound.before.lstrip()
        start = len(self.text) + len(before)
        numbers: list[int] = []
        indices: list[int] = []
        events: list[Event] = []
        for span in bound.cites:
            source = self.sources[span.source]
            citation = Citation(
                number=self._number(span.source),
                source=span.source,
                start=span.start,
                end=span.end,
                quote=source.text[span.start - source.start : span.end - source.start],
            )
            indices.append(len(self.citations))
            self.citations.append(citation)
            events.append(Cited(citation=citation, source=source))
            if citation.number not in numbers:
                numbers.append(citation.number)
        markers = "".join(f" [{number}]" for number in numbers)
        piece = before + bound.text + markers
        self.text += piece
        self.sentences.append(
            Sentence(
                start=start,
                end=start + len(bound.text),
                citations=tuple(indices),
                support=bound.support,
            )
        )
        return [*events, Text(text=piece)]

    def say(self, text: str, token: Probable | None) -> Text:
        """Add words that rest on no passages, as they are; see ``close``."""
        self.text += text
        told = () if token is None else (token,)
        self.tokens += told
        return Text(text=text, tokens=told)

    def count(self, told: Token) -> None:
        """Add what the engine counted in one round; pieces of thinking where it told no tokens."""
        pieces, self.thought = self.thought, 0
        self.counted = Counted(
            read=(self.counted.read or 0) + (told.read or 0),
            written=(self.counted.written or 0) + (told.written or 0),
            thought=(self.counted.thought or 0) + (told.thought or pieces),
        )

    def close(self) -> None:
        """What was said in this way is one sentence, without support."""
        if self.text and not self.sentences:
            self.sentences.append(Sentence(start=0, end=len(self.text), support="none"))

    def _number(self, source: int) -> int:
        """The number under which a source is shown: in the order of first mention."""
        shown = {citation.source: citation.number for citation in self.citations}
        return shown.get(source, len(set(shown.values())) + 1)


def place(source: Source) -> str:
    """Where a passage stands: "fees.pdf, page 2"."""
    return source.document if source.page is None else f"{source.document}, page {source.page}"
