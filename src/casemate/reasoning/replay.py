"""Replay: running a run again from its record, and saying exactly what differs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from casemate.engines.engine import Engine, Prompt, Sampling
from casemate.errors import Unsupported
from casemate.reasoning import prompt as prompts
from casemate.reasoning.citation import Binder, Bound
from casemate.reasoning.event import Request, Source
from casemate.reasoning.run import found_from

if TYPE_CHECKING:
    from casemate.gate.label import Label


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What a second run of the same record gave. ``differences`` is empty if it was the same."""

    run: str
    same: bool
    sentences: int
    differences: tuple[str, ...]


async def replay(
    run: str, contents: Mapping[str, Any], engine: Engine, label: Label, now: Mapping[str, str]
) -> Replay:
    """Run the recorded prompt again, and compare sentence by sentence.

    ``now`` gives the present digest of each source document by id, as far as it can be read.
    Raises Unsupported if the engine does not promise equal answers to equal prompts.
    """
    require_deterministic(engine)
    prompt, sources = rebuild(run, contents, label)
    again = await sentences_of(engine, prompt, sources)
    before = [
        contents["answer"]["text"][one["start"] : one["end"]]
        for one in contents["answer"]["sentences"]
    ]
    differences = [
        f"sentence {number}: “{old}” became “{new}”"
        for number, (old, new) in enumerate(zip(before, again, strict=False), 1)
        if old != new
    ]
    if len(before) != len(again):
        differences.append(f"{len(before)} sentences became {len(again)}")
    for source in {source.document_id: source for source in sources}.values():
        if now.get(source.document_id) != source.digest:
            differences.append(f"the document {source.document} was changed or removed since")
    return Replay(
        run=run, same=not differences, sentences=len(again), differences=tuple(differences)
    )


def rebuild(
    run: str, contents: Mapping[str, Any], label: Label
) -> tuple[Prompt, tuple[Source, ...]]:
    """The prompt of a recorded run, and its sources; ``label`` is the run's."""
    sources = tuple(msgspec.convert(contents["sources"], list[Source]))
    request = Request(
        question=contents["question"]["text"],
        history=tuple((role, text) for role, text in contents["question"]["history"]),
    )
    found = [found_from(one) for one in contents["steps"]["found"]]
    language = contents["answer"]["language"]
    return prompts.build(request, language, found, sources, run, label), sources


async def bound_of(engine: Engine, prompt: Prompt, sources: tuple[Source, ...]) -> list[Bound]:
    """What the engine says to ``prompt``, with its citations verified."""
    binder = Binder(sources)
    found: list[Bound] = []
    async with aclosing(engine.generate(prompt, Sampling())) as tokens:
        async for token in tokens:
            if token.kind == "text":
                found.extend(binder.feed(token))
    return [*found, *binder.finish()]


async def sentences_of(engine: Engine, prompt: Prompt, sources: tuple[Source, ...]) -> list[str]:
    """The sentences of an answer, in order."""
    return [bound.text for bound in await bound_of(engine, prompt, sources)]


def require_deterministic(engine: Engine) -> None:
    """Raise Unsupported unless equal prompts give equal answers."""
    if "deterministic" not in engine.capabilities:
        raise Unsupported(
            "This engine does not promise the same answer twice.",
            "Ask again with an engine that does, such as quote.",
        )
