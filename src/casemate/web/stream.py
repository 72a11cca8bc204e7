"""The events of a run as server-sent events that carry finished HTML.

The same templates render the page that comes without script, so the two never differ, and
everything is escaped in one place. Source: HTML Living Standard, 9.2 (server-sent events).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from casemate.reasoning.event import (
    Admitted,
    Citation,
    Cited,
    Event,
    Finished,
    Source,
    Step,
    StepFinished,
    StepStarted,
    Text,
    Thinking,
    Waiting,
)
from casemate.web.answer import lay_out
from casemate.web.front import Front
from casemate.web.page import part
from casemate.web.reading import Flow, Piece, cited_name, pieces, place, show, summary
from casemate.web.words import Words


def frame(kind: str, content: dict[str, Any]) -> str:
    """One server-sent event. JSON has no raw line end, so the content is one line."""
    return f"event: {kind}\ndata: {msgspec.json.encode(content).decode()}\n\n"


class Telling:
    """Tells one run to one reader, remembering what it has told."""

    def __init__(self, front: Front, words: Words) -> None:
        self._front = front
        self._words = words
        self._flow = Flow()
        self._told = ""
        self._steps: list[Step] = []
        self._places: dict[int, str] = {}  # by number
        self._cited: dict[int, list[tuple[int, Citation]]] = {}
        self._waiting: dict[int, list[str]] = {}  # cited words that no number claimed yet
        self._count = 0
        self._in_order = True
        self._label = front.house.gate.country.policy.lowest()

    def tell(self, event: Event) -> Iterator[str]:
        """What the reader's page has to do about ``event``."""
        match event:
            case Admitted():
                yield frame("admitted", {"run": event.run, "marking": self._marking()})
            case StepStarted():
                line = self._words(f"steps.doing_{_known(event.kind)}", subject=event.subject)
                yield frame("doing", {"line": line})
            case Waiting() if event.position:
                line = self._words("steps.doing_waiting", position=event.position)
                yield frame("doing", {"line": line})
            case StepFinished():
                self._steps.append(event.step)
                html = part("step.html", self._words, step=event.step)
                yield frame("step", {"html": html, "line": summary(self._steps, self._words)})
            case Thinking():
                yield frame("thinking", {"text": event.text})
            case Text():
                yield from self._text(event.text)
            case Cited():
                yield self._source(event.citation, event.source)
            case Finished():
                yield self._end(event)

    def _text(self, text: str) -> Iterator[str]:
        self._told += text
        for begins, piece in self._flow.feed(text):
            made = [self._claim(one) for one in pieces(piece, self._places, self._words)]
            html = part("pieces.html", self._words, pieces=made)
            yield frame("text", {"paragraph": begins, "html": html})

    def _claim(self, piece: Piece) -> Piece:
        """Tie the numbers of ``piece`` to the citations that were told for it."""
        marks = []
        for mark in piece.marks:
            cited = tuple(self._waiting.pop(mark.number, ()))
            self._in_order = self._in_order and bool(cited)
            marks.append(replace(mark, cited=cited))
        return replace(piece, marks=tuple(marks))

    def _source(self, citation: Citation, source: Source) -> str:
        number = citation.number
        self._places[number] = place(source, self._words)
        cited = self._cited.setdefault(number, [])
        cited.append((self._count, citation))
        self._waiting.setdefault(number, []).append(cited_name(self._count))
        self._count += 1
        label = self._front.house.gate.country.policy.parse(source.label)
        self._label = self._label.join(label)
        marking = label.marking(self._words.language)
        shown = show(number, source, cited, marking, self._words)
        html = part("source.html", self._words, source=shown)
        return frame(
            "cited",
            {"number": number, "html": html, "marking": self._marking()},
        )

    def _marking(self) -> str:
        """The label strip of what has been told so far; it only rises."""
        marking = self._label.marking(self._words.language)
        return part("marking.html", self._words, marking=marking)

    def _end(self, event: Finished) -> str:
        laid_out = lay_out(event, self._front, self._words)
        # Should what was told and what was recorded ever differ, the page shows what was
        # recorded, since that is what the receipt proves.
        agrees = (
            self._in_order
            and not self._waiting
            and self._told.strip("\n") == event.answer.text.strip("\n")
        )
        return frame(
            "finished",
            {
                "run": event.run,
                "line": laid_out.summary,
                "outcome": event.outcome,
                "language": event.answer.language,
                "marking": part("marking.html", self._words, marking=laid_out.marking),
                "body": None if agrees else part("prose.html", self._words, answer=laid_out),
                "sources": None if agrees else part("sources.html", self._words, answer=laid_out),
                "foot": part("answer_foot.html", self._words, answer=laid_out),
            },
        )


def _known(kind: str) -> str:
    known = ("search", "think", "tool", "write", "quote", "verify", "limit")
    return kind if kind in known else "other"
