"""A finished run as the templates show it, alike on the page of asking and on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from casemate.reasoning.event import Answer, Finished, Step
from casemate.web.front import Front
from casemate.web.reading import Piece, Shown, by_number, paragraphs, place, show, summary
from casemate.web.words import Words


@dataclass(frozen=True)
class LaidOut:
    """Everything that a person sees of one finished run."""

    run: str
    outcome: str
    marking: str
    entry: int | None
    language: str
    paragraphs: list[list[Piece]]
    sources: list[Shown]
    also_read: list[str]
    thinking: str
    steps: Sequence[Step]
    summary: str
    unsupported: Sequence[str]  # sentences that no source supports
    own_words: Sequence[str]  # sentences that a passage carries in other words


def lay_out(finished: Finished, front: Front, words: Words) -> LaidOut:
    """The last event of a run, laid out."""
    return laid_out(
        finished.answer,
        finished.steps,
        front,
        words,
        run=finished.run,
        outcome=finished.outcome,
        label=finished.label,
        entry=finished.entry,
    )


def laid_out(
    answer: Answer,
    steps: Sequence[Step],
    front: Front,
    words: Words,
    *,
    run: str,
    outcome: str,
    label: str,
    entry: int | None,
) -> LaidOut:
    """An answer and what is known of its run, laid out."""
    numbers = by_number(answer)
    sources = [
        show(
            number,
            answer.sources[cited[0][1].source],
            cited,
            front.marking(answer.sources[cited[0][1].source].label, words.language),
            words,
        )
        for number, cited in numbers.items()
    ]
    used = {one.source for one in answer.citations}
    return LaidOut(
        run=run,
        outcome=outcome,
        marking=front.marking(label, words.language),
        entry=entry,
        language=answer.language,
        paragraphs=paragraphs(answer, words),
        sources=sources,
        also_read=list(
            dict.fromkeys(
                place(source, words)
                for index, source in enumerate(answer.sources)
                if index not in used
            )
        ),
        thinking=answer.thinking,
        steps=steps,
        summary=summary(steps, words),
        # The engine that quotes says in words of its own only that nothing answers.
        unsupported=_supported(answer, "none")
        if answer.citations or any(step.kind == "write" for step in steps)
        else (),
        own_words=_supported(answer, "words"),
    )


def _supported(answer: Answer, support: str) -> list[str]:
    """The sentences that sources support in this way."""
    return [answer.text[one.start : one.end] for one in answer.sentences if one.support == support]
