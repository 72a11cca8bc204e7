from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from casemate.gate.country import Country
from casemate.reasoning.event import (
    Admitted,
    Answer,
    Citation,
    Cited,
    Event,
    Finished,
    Sentence,
    Source,
    Step,
    StepFinished,
    StepStarted,
    Text,
    Thinking,
    Waiting,
)
from casemate.web import ask
from casemate.web.front import Front
from casemate.web.stream import Telling, frame
from casemate.web.words import words

HOSTILE = "<img src=x onerror=a()> & </script>"


def a_front() -> Front:
    house: Any = SimpleNamespace(gate=SimpleNamespace(country=Country.load("lu")))
    return Front(house)


def a_source(label: str = "lu:unclassified") -> Source:
    return Source(
        document_id="d1",
        document=HOSTILE,
        digest="sha256:00",
        collection=HOSTILE,
        page=None,
        start=0,
        end=len(HOSTILE),
        title=HOSTILE,
        heading=HOSTILE,
        label=label,
        text=HOSTILE,
    )


CITATION = Citation(number=1, source=0, start=0, end=4, quote=HOSTILE[:4])
CITED = Cited(citation=CITATION, source=a_source())
FINISHED = Finished(
    run="r1",
    outcome="answered",
    label="lu:unclassified",
    entry=7,
    answer=Answer(
        text=f"{HOSTILE} [1]",
        language="en",
        sentences=(Sentence(start=0, end=len(HOSTILE), citations=(0,)),),
        citations=(CITATION,),
        sources=(a_source(),),
    ),
    steps=(Step(kind="search", subject=HOSTILE, found=(HOSTILE,), count=1),),
)
TEXT = Text(text=f"{HOSTILE} [1]")


def told(events: Iterable[Event], language: str = "en") -> list[tuple[str, dict[str, Any]]]:
    telling = Telling(a_front(), words(language))
    made = []
    for event in events:
        for one in telling.tell(event):
            head, body = one.removesuffix("\n\n").split("\n")
            made.append((head.removeprefix("event: "), json.loads(body.removeprefix("data: "))))
    return made


def test_a_frame_is_two_lines_whatever_it_holds() -> None:
    assert frame("text", {"html": "a\n\nb\r"}).count("\n") == 3


def test_words_of_questions_documents_and_models_are_escaped_everywhere() -> None:
    events: list[Event] = [
        Admitted(run="r1", use_case="documents", model="quote", entry=6),
        StepStarted(number=1, kind="search", subject=HOSTILE),
        StepFinished(number=1, step=FINISHED.steps[0]),
        Thinking(text="plain"),
        CITED,
        TEXT,
        FINISHED,
    ]
    for kind, content in told(events):
        for name in ("html", "marking", "foot"):
            assert "<img" not in content.get(name, ""), (kind, name)
            assert "</script>" not in content.get(name, ""), (kind, name)


def test_what_was_told_in_order_is_not_told_again() -> None:
    *_, (kind, content) = told([CITED, TEXT, FINISHED])
    assert kind == "finished"
    assert content["body"] is None
    assert content["sources"] is None


@pytest.mark.parametrize("events", [[TEXT, CITED], [TEXT], [CITED], [CITED, Text(text="Other.")]])
def test_what_differs_from_the_record_is_replaced_by_it(events: list[Event]) -> None:
    *_, (_, content) = told([*events, FINISHED])
    assert 'data-cited="cited-1"' in content["body"]
    assert 'id="cited-1"' in content["sources"]


def test_the_label_strip_is_there_from_the_start_and_only_rises() -> None:
    admitted = Admitted(run="r1", use_case="documents", model="quote", entry=6)
    high = Cited(citation=CITATION, source=a_source("lu:secret/alpha"))
    strips = [content["marking"] for _, content in told([admitted, high, CITED], "fr")]
    assert "NON CLASSIFIÉ" in strips[0]
    assert "SECRET LUX // ALPHA" in strips[1]
    assert "SECRET LUX // ALPHA" in strips[2]


def test_a_step_of_an_unknown_kind_is_still_told() -> None:
    event = StepStarted(number=1, kind="dream", subject="")
    assert told([event]) == [("doing", {"line": "Working"})]


def test_a_silent_stream_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "_QUIET", 0.001)

    async def gather() -> list[Event | None]:
        go = asyncio.Event()

        async def events() -> AsyncIterator[Event]:
            yield TEXT
            await go.wait()
            yield FINISHED

        seen: list[Event | None] = []
        async for event in ask._alive(events()):
            seen.append(event)
            if event is None:
                go.set()
        return seen

    seen = asyncio.run(gather())
    assert seen[0] == TEXT
    assert None in seen
    assert seen[-1] == FINISHED


def test_who_waits_reads_their_place_in_the_queue_until_it_is_their_turn() -> None:
    lines = [content["line"] for _, content in told([Waiting(position=3), Waiting(position=0)])]
    assert lines == ["Waiting for a place: number 3 in the queue"]
    assert "Nummer 3" in told([Waiting(position=3)], "de")[0][1]["line"]
