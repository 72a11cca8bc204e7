"""Replay: running a run again from its record, and saying exactly what differs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from casemate.engines.engine import Engine, Prompt, Sampling
from casemate.errors import Unsupported
from casemate.reasoning import prompt as prompts
from casemate.reasoning.citation import Binder, Bound, Whole
from casemate.reasoning.content import found_from, looked_from, request_from, sampling_from
from casemate.reasoning.draft import Looked
from casemate.reasoning.event import Request, Source
from casemate.reasoning.rounds import Asked, Budget, Queued, Stopped, Theirs, rounds

if TYPE_CHECKING:
    from casemate.gate.label import Label
    from casemate.models.profile import Profile

_ROUNDS = 4  # of runs recorded before the number was


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What a second run of the same record gave. ``differences`` is empty if it was the same."""

    run: str
    same: bool
    sentences: int
    differences: tuple[str, ...]


@dataclass(frozen=True)
class Recorded:
    """A run as it can be run again; ``label`` is the run's."""

    run: str
    request: Request
    language: str
    sources: tuple[Source, ...]
    given_first: int  # sources that were there before the model called a tool
    contents: Mapping[str, Any]
    looked: Sequence[tuple[Looked, ...]]
    sampling: Sampling
    label: Label

    @classmethod
    def of(cls, run: str, contents: Mapping[str, Any], label: Label) -> Recorded:
        """From what a run committed to."""
        steps = contents["steps"]
        looked = looked_from(steps)
        found = [found_from(one) for one in steps["found"]]
        sources = tuple(msgspec.convert(contents["sources"], list[Source]))
        first = max((number for one in found for number in one.evidence), default=0)
        return cls(
            run,
            request_from(contents["question"]),
            contents["answer"]["language"],
            sources,
            first,
            contents,
            looked,
            sampling_from(steps),
            label,
        )

    def prompt(self, profile: Profile, without: frozenset[int] = frozenset()) -> Prompt:
        """The prompt as it was, or ``without`` some passages (numbers)."""
        found = [found_from(one) for one in self.contents["steps"]["found"]]
        return prompts.build(
            self.request,
            self.language,
            found,
            self.sources[: self.given_first],
            self.run,
            self.label,
            profile,
            without=without,
        )


@dataclass
class Again:
    """What a repetition said."""

    bound: list[Bound] = field(default_factory=list)
    thinking: str = ""
    strayed: bool = False  # called other tools than the recorded run
    called: list[tuple[str, str]] = field(default_factory=list)  # tools of the asker's

    @property
    def sentences(self) -> list[str]:
        """The sentences of the answer, in order."""
        return [one.text for one in self.bound]


async def repeat(engine: Engine, recorded: Recorded, prompt: Prompt, seconds: float) -> Again:
    """Run ``prompt`` again; tools give what they gave, or nothing where other things are asked.

    ``seconds``: after which it is stopped, like the run itself would have been.
    """
    again = Again()
    sources = list(recorded.sources[: recorded.given_first])
    plain = recorded.sampling.schema is not None or not prompt.found
    binder = Whole() if plain else Binder(sources)
    looked = list(recorded.looked)
    most = recorded.contents["steps"].get("most_rounds", _ROUNDS)
    budget = Budget(most, recorded.sampling.max_tokens, seconds)
    told = rounds(engine, prompt, recorded.sampling, budget, time.monotonic)
    async with aclosing(told) as pieces:
        async for piece in pieces:
            if isinstance(piece, Asked):
                before = looked.pop(0) if looked else ()
                again.strayed |= _strayed(piece, before)
                known = {(one.call.name, one.call.arguments): one.given for one in before}
                reached = max((n for given in known.values() for n in given or ()), default=0)
                sources += recorded.sources[len(sources) : reached]
                piece.results = [
                    prompts.result_text(
                        known.get((call.name, call.arguments), ()),
                        call,
                        recorded.sources,
                        recorded.run,
                        engine.profile,
                    )
                    for call in piece.calls
                ]
            elif isinstance(piece, Stopped):
                break
            elif isinstance(piece, Theirs):
                again.called = [(one.name, one.arguments) for one in piece.calls]
            elif isinstance(piece, Queued) or piece.kind == "count":
                continue
            elif piece.kind == "thinking":
                again.thinking += piece.text
            else:
                again.bound.extend(binder.feed(piece))
    again.bound.extend(binder.finish())
    again.strayed |= bool(looked) or again.called != [
        (one["name"], one["arguments"]) for one in recorded.contents["answer"].get("calls", ())
    ]
    return again


async def replay(
    run: str,
    contents: Mapping[str, Any],
    engine: Engine,
    label: Label,
    now: Mapping[str, str],
    seconds: float,
) -> Replay:
    """Run the recorded prompt again, and compare sentence by sentence, with what each cites.

    ``now`` gives the present digest of each source document by id, as far as it can be read.
    Raises Unsupported if the engine does not promise equal answers to equal prompts.
    """
    require_deterministic(engine)
    recorded = Recorded.of(run, contents, label)
    if not recorded.sampling.repeatable:
        raise Unsupported(
            "This run was computed side by side with others and promised no repetition.",
            "With the setting `repeatable_runs` on, runs can be repeated.",
        )
    again = await repeat(engine, recorded, recorded.prompt(engine.profile), seconds)
    before = [
        contents["answer"]["text"][one["start"] : one["end"]]
        for one in contents["answer"]["sentences"]
    ]
    differences = [
        f"sentence {number}: “{old}” became “{new}”"
        for number, (old, new) in enumerate(zip(before, again.sentences, strict=False), 1)
        if old != new
    ]
    differences += [
        f"sentence {number} rests on other words"
        for number, (old, new) in enumerate(
            zip(_cited(contents["answer"]), again.bound, strict=False), 1
        )
        if old != {(span.source, span.start, span.end) for span in new.cites}
    ]
    if len(before) != len(again.sentences):
        differences.append(f"{len(before)} sentences became {len(again.sentences)}")
    if again.thinking != contents["steps"].get("thinking", ""):
        differences.append("the thinking is another")
    if again.strayed:
        differences.append("the model called other tools")
    for source in {source.document_id: source for source in recorded.sources}.values():
        if now.get(source.document_id) != source.digest:
            differences.append(f"the document {source.document} was changed or removed since")
    return Replay(
        run=run,
        same=not differences,
        sentences=len(again.sentences),
        differences=tuple(differences),
    )


def _cited(answer: Mapping[str, Any]) -> list[set[tuple[int, int, int]]]:
    """Source, start and end of the words that each recorded sentence cites."""
    citations = [(one["source"], one["start"], one["end"]) for one in answer["citations"]]
    return [{citations[index] for index in one["citations"]} for one in answer["sentences"]]


def _strayed(asked: Asked, before: Sequence[Looked]) -> bool:
    return [(one.name, one.arguments) for one in asked.calls] != [
        (one.call.name, one.call.arguments) for one in before
    ]


def require_deterministic(engine: Engine) -> None:
    """Raise Unsupported unless equal prompts give equal answers."""
    if "deterministic" not in engine.capabilities:
        raise Unsupported(
            "This engine does not promise the same answer twice.",
            "Ask again with an engine that does, such as quote.",
        )
