"""A run: the one path from question to answer, as a stream of events.

The question's entry is durable before the first event leaves, the answer's before the last. A
sentence leaves only after its citations were verified against the passages. Whatever happens in
between, failure or a reader who goes away, ends in an entry too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from casemate.engines import turns
from casemate.engines.engine import Engine, Found, Sampling, Token
from casemate.engines.schedule import Flow
from casemate.errors import Invalid, Refused, TooLarge, Unsupported
from casemate.language import words
from casemate.reasoning import prompt as prompts
from casemate.reasoning.citation import Binder
from casemate.reasoning.content import steps_content
from casemate.reasoning.draft import Draft, Looked
from casemate.reasoning.event import (
    Admitted,
    Answer,
    Call,
    Called,
    Event,
    Finished,
    Probable,
    Request,
    Thinking,
    Turn,
    Waiting,
)
from casemate.reasoning.record import Opened, Runs, answer_content, source_content
from casemate.reasoning.rounds import Asked, Budget, Queued, Stopped, Theirs, rounds
from casemate.reasoning.steps import Steps

if TYPE_CHECKING:
    from casemate.gate.admission import Admission
    from casemate.gate.label import Label
    from casemate.ledger.record import Recorded
    from casemate.library.document import Hit
    from casemate.library.library import Library

PASSAGES = 10  # for each part of a question
_MOST_PARTS = 6
_TELLING = 128  # characters at each end of a question that its language is found by
_LARGEST_SEED = 2**53 - 1  # the largest that canonical JSON (RFC 8785) holds exactly


class NotHonoured(Invalid):
    """The model, or the use case, cannot do what the request's field ``param`` asks for."""

    code = "unsupported_parameter"

    def __init__(self, param: str, what: str) -> None:
        super().__init__(what, "Leave it out, or choose a model that can.")
        self.param = param


class CannotFill(Unsupported):
    """The model, or the use case, fills no gaps."""

    code = "unsupported_parameter"
    param = "suffix"


@dataclass(frozen=True)
class Ended:
    """How a run ended: what its last entry commits to, and its last event."""

    answer: Answer
    outcome: str
    contents: Mapping[str, object]

    @classmethod
    def of(cls, draft: Draft, sampling: Sampling, rounds: int) -> Self:
        """What has become of ``draft``."""
        answer = draft.answer()
        contents = {
            "answer": answer_content(answer),
            "sources": [source_content(source) for source in draft.sources],
            "steps": steps_content(draft, sampling, rounds),
        }
        # Words that rest on no verified passage are shown, but they do not count as an answer.
        return cls(answer, "answered" if answer.citations else "unanswered", contents)

    def finished(self, opened: Opened, recorded: Recorded, draft: Draft) -> Finished:
        """The last event, once the entry is durable."""
        return Finished(
            run=opened.id,
            outcome=self.outcome,
            label=str(draft.label),
            entry=recorded.index,
            answer=self.answer,
            steps=tuple(draft.steps),
            tokens=tuple(draft.tokens),
            counted=draft.counted,
        )


class Reasoner:
    """Runs questions.

    ``rounds``: how often a model may think and write in one run; ``seconds``: how long it may take.
    ``new_seed`` draws a seed where the request names none. ``repeatable``: engines compute each
    answer by itself (see ``Sampling``). ``searches``: who may search at one time. ``clock`` only
    grows, in seconds.
    """

    def __init__(
        self,
        library: Library,
        runs: Runs,
        *,
        most_characters: int,
        most_of_message: int,
        rounds: int,
        seconds: float,
        new_seed: Callable[[], int],
        repeatable: bool = True,
        searches: turns.Turns | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._library = library
        self.runs = runs
        self._most_characters = most_characters
        self._most_of_message = most_of_message
        self._rounds = rounds
        self._seconds = seconds
        self._new_seed = new_seed
        self._repeatable = repeatable
        self._searches = searches
        self._clock = clock

    async def run(
        self,
        admission: Admission,
        request: Request,
        engine: Engine,
        model_digest: str,
        label: Label,
    ) -> AsyncGenerator[Event, None]:
        """Answer ``request`` under ``admission``; ``label``: of question, conversation and model.

        Raises Invalid, NotHonoured, TooLarge or Refused before anything is recorded; what the
        engine or the library raises, after the run's end was recorded as failed.
        """
        self.check(admission, request, engine, label)
        opened = await self._open(admission, request, model_digest, label)
        language = language_for(request)
        draft = Draft(language, label)
        sampling = self.sampling(request, engine)
        ended = False
        try:
            yield Admitted(
                run=opened.id,
                use_case=admission.use_case.id,
                model=admission.model,
                entry=opened.admitted.index,
            )
            async with aclosing(self._search(admission, request, engine, draft)) as events:
                async for event in events:
                    yield event
            _require(admission, draft.label)
            # Closed here and now when the reader goes away, so that a model server stops as well.
            written = self._write(admission, request, engine, opened, draft, sampling)
            async with aclosing(written) as events:
                async for event in events:
                    yield event
            finishing = asyncio.ensure_future(self._finish(opened, draft, sampling))
            ended = True  # the record is being written, also for a reader who goes away now
            try:
                finished = await asyncio.shield(finishing)
            except BaseException:
                if not finishing.done():  # a reader who goes away leaves the record to be written
                    await asyncio.wait({finishing})
                ended = not finishing.cancelled() and finishing.exception() is None
                raise
            yield finished
        finally:
            if not ended:
                # Shielded: a reader who goes away cancels the run, never its record.
                await asyncio.shield(
                    asyncio.to_thread(self.runs.close, opened, "failed", draft.label, {})
                )

    async def _open(
        self, admission: Admission, request: Request, model_digest: str, label: Label
    ) -> Opened:
        """Record that the run begins; for a reader who goes away meanwhile, that it ends."""
        opening = asyncio.ensure_future(
            asyncio.to_thread(self.runs.open, admission, request, model_digest, label)
        )
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            # In a task of its own, since whoever waits may be cancelled once more.
            await asyncio.shield(asyncio.ensure_future(self._close_opened(opening, label)))
            raise

    async def _close_opened(self, opening: Awaitable[Opened], label: Label) -> None:
        opened = await opening
        await asyncio.to_thread(self.runs.close, opened, "failed", label, {})

    @property
    def rounds(self) -> int:
        """How often a model may think and write in one run."""
        return self._rounds

    @property
    def seconds(self) -> float:
        """How long a run may take."""
        return self._seconds

    def check(self, admission: Admission, request: Request, engine: Engine, label: Label) -> None:
        """Raise what ``run`` raises before anything is recorded."""
        self._check(admission, request)
        _able(admission, request, engine)
        if not admission.label.dominates(label):
            raise Refused(
                "The label of the question, the conversation or the model is above what you may "
                "use here.",
                "Begin a new conversation, choose another use case or model, or ask whoever gave "
                "you access.",
            )

    def _check(self, admission: Admission, request: Request) -> None:
        if request.seed is not None and abs(request.seed) > _LARGEST_SEED:
            raise Invalid(
                "The seed is too large.", f"Take one between -{_LARGEST_SEED} and {_LARGEST_SEED}."
            )
        for text in request.texts:
            try:
                text.encode()  # fails for half of a surrogate pair, and is quicker than looking
            except UnicodeEncodeError:
                raise Invalid("The question is not valid text.", "Write it in UTF-8.") from None
        if not request.question.strip() and not request.suffix:
            raise Invalid("The question is empty.", "Write what you want to know.")
        # What is searched for is a question. To a model alone programs send whole texts.
        alone = without_documents(admission)
        most = self._most_of_message if alone else self._most_characters
        if len(request.question) > most:
            raise TooLarge(
                f"The question has {len(request.question):,} characters; at most {most:,} are "
                "accepted here.",
                "Shorten it, or add the long text as a document and ask about that.",
            )

    def sampling(self, request: Request, engine: Engine) -> Sampling:
        """How tokens are drawn; with a seed, so that the run can be run again."""
        seed = request.seed
        if seed is None and "quotes" not in engine.capabilities:
            seed = self._new_seed()
        return Sampling(
            request.temperature,
            request.top_p,
            seed,
            request.max_tokens,
            repeatable=self._repeatable,
            stop=request.stop,
            schema=request.schema,
            choice=None if request.choice in ("auto", "none") else request.choice,
            likeliest=request.logprobs,
            most_calls=request.most_calls,
        )

    async def _search(
        self, admission: Admission, request: Request, engine: Engine, draft: Draft
    ) -> AsyncGenerator[Event, None]:
        if without_documents(admission):
            return
        parts = engine.plan(request.question)[:_MOST_PARTS]
        passages = await asyncio.to_thread(self._library.readable, admission)
        for part in parts:
            yield draft.begin("search", part.question)
            hits = await self._find(part.query, admission, engine)
            rarity = await asyncio.to_thread(self._library.rarity, part.query, admission)
            draft.found.append(
                Found(
                    part=part,
                    passages=passages,
                    evidence=tuple(draft.take(hit) for hit in hits),
                    scores=tuple(round(hit.score * 1000) for hit in hits),
                    rarity=tuple(sorted(rarity.items())),
                    alike=tuple(
                        (word, tuple(sorted(others.own)), tuple(sorted(others.foreign)))
                        for word, others in sorted(self._library.alike(part.query).items())
                    ),
                )
            )
            places = tuple(dict.fromkeys(_place(hit) for hit in hits))
            yield draft.end("search", part.question, found=places, count=len(hits))

    async def _find(self, query: str, admission: Admission, engine: Engine) -> list[Hit]:
        limit = min(PASSAGES, engine.profile.most_passages)
        with self._searching(admission) as turn:
            if turn is not None:
                await turn.come()
            return list(await asyncio.to_thread(self._library.find, query, admission, limit=limit))

    def _searching(self, admission: Admission) -> AbstractContextManager[turns.Turn | None]:
        """A turn at the library, which a flood of questions would otherwise keep to itself."""
        if self._searches is None:
            return nullcontext()
        return self._searches.turn(Flow.of(admission), 1)

    async def _write(
        self,
        admission: Admission,
        request: Request,
        engine: Engine,
        opened: Opened,
        draft: Draft,
        sampling: Sampling,
    ) -> AsyncGenerator[Event, None]:
        writes = "quote" if "quotes" in engine.capabilities else "write"
        prompt = prompts.build(
            request,
            draft.language,
            draft.found,
            draft.sources,
            opened.id,
            draft.label,
            engine.profile,
        )
        budget = Budget(self._rounds, sampling.max_tokens, self._seconds)
        binder = None if sampling.schema or not draft.found else Binder(draft.sources)
        # A model that can think is taken to do so until its first word.
        steps = Steps(draft, "think" if "thinking" in engine.capabilities else writes)
        yield steps.begin()
        told = rounds(engine, prompt, sampling, budget, self._clock)
        async with aclosing(told) as pieces:
            async for piece in pieces:
                if isinstance(piece, Queued):
                    yield Waiting(position=piece.position)
                    continue
                for event in steps.turn_to(_step_of(piece, writes, steps.kind)):
                    yield event
                if isinstance(piece, Asked):
                    async for event in self._look(admission, engine, opened, draft, piece):
                        yield event
                elif isinstance(piece, Stopped):
                    for event in steps.limit(piece.bound):
                        yield event
                elif isinstance(piece, Theirs):
                    for one in piece.calls:
                        call = Call(id=one.id, name=one.name, arguments=one.arguments)
                        draft.calls.append(call)
                        yield draft.begin("tool", call.name)
                        yield draft.end("tool", call.name)
                        yield Called(call=call)
                elif piece.kind == "count":
                    draft.count(piece)
                elif piece.kind == "thinking":
                    draft.thinking.append(piece.text)
                    draft.thought += 1
                    yield Thinking(text=piece.text)
                elif binder is None:
                    yield draft.say(piece.text, _probable(piece, sampling))
                else:
                    for bound in binder.feed(piece):
                        for event in draft.show(bound):
                            yield event
        for bound in () if binder is None else binder.finish():
            for event in draft.show(bound):
                yield event
        for event in steps.close():
            yield event

    async def _look(
        self,
        admission: Admission,
        engine: Engine,
        opened: Opened,
        draft: Draft,
        asked: Asked,
    ) -> AsyncGenerator[Event, None]:
        """Do what the model asked its tools for, and give it the results."""
        looked = []
        for call in asked.calls:
            query = prompts.query_of(call)
            given: tuple[int, ...] | None = None
            if query is None:
                yield draft.begin("tool", call.name)
                yield draft.end("tool", call.name)
            else:
                yield draft.begin("search", query)
                hits = await self._find(query, admission, engine)
                given = tuple(draft.take(hit) for hit in hits)
                places = tuple(dict.fromkeys(_place(hit) for hit in hits))
                yield draft.end("search", query, found=places, count=len(hits))
            looked.append(Looked(call, given))
        _require(admission, draft.label)
        draft.looked.append(tuple(looked))
        asked.label = draft.label
        asked.results = [
            prompts.result_text(one.given, one.call, draft.sources, opened.id, engine.profile)
            for one in looked
        ]

    async def _finish(self, opened: Opened, draft: Draft, sampling: Sampling) -> Finished:
        ended = Ended.of(draft, sampling, self._rounds)
        finished = await asyncio.to_thread(
            self.runs.close, opened, ended.outcome, draft.label, ended.contents
        )
        return ended.finished(opened, finished, draft)


def _able(admission: Admission, request: Request, engine: Engine) -> None:
    """Raise NotHonoured for what the model cannot do."""
    able = engine.capabilities
    if request.suffix is not None and "fim" not in able:
        raise CannotFill(
            "The model of this use case fills in no gaps.",
            "Choose one whose manifest says that it fills; code models are trained for it.",
        )
    if request.suffix is not None and not without_documents(admission):
        raise CannotFill(
            "What a use case with documents answers rests on these, and fills in no gaps.",
            "Choose a use case without documents.",
        )
    if request.tools and request.choice != "none" and "tools" not in able:
        raise NotHonoured("tools", "The model of this use case calls no tools.")
    if (request.since or any(isinstance(turn, Turn) for turn in request.history)) and (
        "tools" not in able
    ):
        raise NotHonoured("messages", "The model of this use case reads no results of tools.")
    if request.choice not in ("auto", "none"):
        if request.choice != "required" and request.choice not in {t.name for t in request.tools}:
            raise NotHonoured("tool_choice", "There is no such tool among those offered.")
        if "choice" not in able:
            raise NotHonoured("tool_choice", "The model of this use case cannot be made to call.")
    if request.schema is not None and "schema" not in able:
        raise NotHonoured("response_format", "The model of this use case follows no schema.")
    if request.logprobs is not None:
        if "logprobs" not in able:
            raise NotHonoured("logprobs", "The model of this use case gives no probabilities.")
        if request.suffix is not None:
            raise NotHonoured("logprobs", "What fills a gap is told without probabilities.")
        if not (without_documents(admission) or request.schema is not None):
            raise NotHonoured(
                "logprobs",
                "An answer from documents is bound sentence by sentence, without probabilities.",
            )


def without_documents(admission: Admission) -> bool:
    """Whether the use case is one that uses no documents at all."""
    return admission.use_case.collections == ()


def _probable(token: Token, sampling: Sampling) -> Probable | None:
    if sampling.likeliest is None or token.logprob is None:
        return None
    return Probable(text=token.text, logprob=token.logprob, likeliest=token.likeliest)


def _require(admission: Admission, label: Label) -> None:
    """Joined labels can be higher than each of them: asked again before an engine sees them."""
    if not admission.label.dominates(label):
        raise Refused(
            "What was found is, taken together, above what you may use here.",
            "Ask about fewer collections at a time.",
        )


def _step_of(piece: Token | Asked | Theirs | Stopped, writes: str, doing: str) -> str:
    """The kind of step that ``piece`` belongs to; none where it makes steps of its own."""
    if isinstance(piece, Token):
        if piece.kind == "count":
            return doing
        return "think" if piece.kind == "thinking" else writes
    return ""


def language_for(request: Request) -> str:
    """The language to answer in: the reader's if it is spoken here, else the question's.

    A long text is judged by its beginning and its end, where people say what they want of it.
    """
    wanted = (request.language or "").lower().split("-")[0]
    if wanted in words.FUNCTION_WORDS:
        return wanted
    text = request.question
    if len(text) > 2 * _TELLING:
        text = f"{text[:_TELLING]} {text[-_TELLING:]}"
    return words.language_of(text)


def _place(hit: Hit) -> str:
    page = hit.passage.page
    return (
        hit.passage.document_name if page is None else f"{hit.passage.document_name}, page {page}"
    )
