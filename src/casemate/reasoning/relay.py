"""The relay: a question that needs a model server and nothing else, by the shortest way.

Under a use case without documents nothing is searched, bound or asked again: one round is the whole
run. It is admitted, labelled, recorded and proven like every other (``reasoning.run``), with the
same events in the same order; but each piece that the server sends becomes events here, in one
step, and goes on to whoever is told before the next is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from casemate.engines.engine import Engine, Prompt, Sampling, Token
from casemate.engines.in_turn import InTurn, Work
from casemate.engines.remote import RemoteEngine
from casemate.engines.wire import Lines, Reading, broken, chat, choosing, drawing, refused
from casemate.reasoning import prompt as prompts
from casemate.reasoning.draft import Draft
from casemate.reasoning.event import Admitted, Event, Request, Thinking, Turn, Waiting
from casemate.reasoning.run import Ended, Reasoner, language_for, without_documents
from casemate.reasoning.steps import Steps

if TYPE_CHECKING:
    from casemate.gate.admission import Admission
    from casemate.gate.label import Label
    from casemate.models.manifest import Manifest
    from casemate.reasoning.record import Opened

Tell = Callable[[Sequence[Event]], Awaitable[None]]


def server_for(admission: Admission, request: Request, engine: Engine) -> RemoteEngine | None:
    """The server to relay this question to: in one round, its words as they are; None for others.

    Tools, a schema, a gap, texts to stop before and probabilities take the way of other runs.
    """
    if not isinstance(engine, RemoteEngine) or not without_documents(admission):
        return None
    more = request.tools or request.since or request.stop or request.schema is not None
    if more or request.logprobs is not None or request.suffix is not None:
        return None
    return None if any(isinstance(turn, Turn) for turn in request.history) else engine


@dataclass(frozen=True)
class Relay:
    """Relays the answer to one question. ``tell`` is given the events, in order."""

    reasoner: Reasoner
    admission: Admission
    request: Request
    engine: InTurn
    server: RemoteEngine  # what stands behind ``engine``
    manifest: Manifest
    tell: Tell

    async def run(self, label: Label) -> None:
        """Answer, and tell. ``label``: of question, conversation and model.

        Raises like ``Reasoner.run``; what ``tell`` raises ends the run as failed.
        """
        reasoner, runs = self.reasoner, self.reasoner.runs
        reasoner.check(self.admission, self.request, self.engine, label)
        draft = Draft(language_for(self.request), label)
        sampling = reasoner.sampling(self.request, self.engine)
        opened = await runs.open_soon(self.admission, self.request, self.manifest.digest(), label)
        ended = False
        try:
            await self.tell([self._admitted(opened)])
            last = await self._write(opened, draft, sampling)
            told = Ended.of(draft, sampling, reasoner.rounds)
            closing = runs.close_soon(opened, told.outcome, draft.label, told.contents)
            ended = True  # the record is being written, also for a reader who goes away now
            try:
                recorded = await asyncio.shield(closing)
            except BaseException:
                if not closing.done():
                    await asyncio.wait({closing})
                ended = not closing.cancelled() and closing.exception() is None
                raise
            await self.tell([*last, told.finished(opened, recorded, draft)])
        finally:
            if not ended:
                # Shielded: a reader who goes away cancels the run, never its record.
                await asyncio.shield(runs.close_soon(opened, "failed", draft.label, {}))

    def _admitted(self, opened: Opened) -> Event:
        return Admitted(
            run=opened.id,
            use_case=self.admission.use_case.id,
            model=self.admission.model,
            entry=opened.admitted.index,
        )

    async def _write(self, opened: Opened, draft: Draft, sampling: Sampling) -> list[Event]:
        """Tell what the server says as it comes; what remains to be told at its end."""
        request, profile = self.request, self.engine.profile
        prompt = prompts.build(request, draft.language, (), (), opened.id, draft.label, profile)
        steps = Steps(draft, "think")
        events: list[Event] = [steps.begin()]
        with self.engine.work(prompt, sampling) as work:
            if not work.comes_at_once():
                async for position in work.waiting():
                    await self.tell([*events, Waiting(position=position)])
                    events.clear()
            try:
                # Seconds for which others go first do not count.
                async with asyncio.timeout(self.reasoner.seconds):
                    await self._follow(prompt, sampling, work, _Said(draft, steps, events))
            except TimeoutError:
                events += steps.turn_to("")
                events += steps.limit("time")
        return [*events, *steps.close()]

    async def _follow(self, prompt: Prompt, sampling: Sampling, work: Work, said: _Said) -> None:
        """Read the server's answer to its end."""
        body = {
            "model": self.manifest.upstream or self.manifest.name,
            "stream": True,
            **chat(prompt),
            **drawing(sampling),
            "stream_options": {"include_usage": True},
            **choosing(sampling),
        }
        lines, reading = Lines(), Reading()
        exchange = self.server.relay(
            "/chat/completions", msgspec.json.encode(body), prompt.label, stream=True
        )
        async with exchange as answer:
            if answer.status != 200:
                raise refused(answer.status)
            async for piece in answer:
                for payload in lines.feed(piece):
                    said.add(reading.read(payload), work)
                if lines.done:
                    said.add(reading.end(), work)
                    said.close()
                if said.events:
                    await self.tell(said.events)
                    said.events.clear()
                if lines.done:
                    await answer.ended()
                    return
        raise broken("stopped in the middle of its answer")


@dataclass
class _Said:
    """Tokens as they come, and the ``events`` that are to be told of them."""

    draft: Draft
    steps: Steps
    events: list[Event]
    cut: bool = False

    def add(self, tokens: Sequence[Token], work: Work) -> None:
        """Take tokens in. Raises Broken for a call of a tool, because none was offered."""
        draft, steps = self.draft, self.steps
        for token in tokens:
            work.count(token)
            if token.kind == "text":
                self.events += steps.turn_to("write")
                self.events.append(draft.say(token.text, None))
            elif token.kind == "thinking":
                self.events += steps.turn_to("think")
                draft.thinking.append(token.text)
                draft.thought += 1
                self.events.append(Thinking(text=token.text))
            elif token.kind == "count":
                draft.count(token)
            elif token.kind == "cut":
                self.cut = True
            else:
                raise broken("called a tool that it was not offered")

    def close(self) -> None:
        """There is no more: whether the model was stopped at its bound is known by now."""
        if self.cut:
            self.events += self.steps.turn_to("")
            self.events += self.steps.limit("tokens")
