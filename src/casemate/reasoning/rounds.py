"""Rounds: a model thinks, may ask for a search, reads what was found, and writes.

One round is one call of the engine. Where the model calls a tool, whoever follows the rounds
answers the call and the next round begins; without a call the writing is over. Rounds, tokens and
time are bounded, and where a bound was met that is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from casemate.engines.engine import Chunk, Engine, Message, Prompt, Sampling, Token, ToolCall
from casemate.gate.label import Label

_MOST_CALLS = 4  # of our tools in one round; more are left out


@dataclass(frozen=True)
class Budget:
    """What a run may use up: rounds, tokens of output (None: the engine's own bound), seconds."""

    rounds: int
    tokens: int | None
    seconds: float


@dataclass
class Asked:
    """The model called tools. Whoever reads this sets ``results`` (one for each call), ``label``.

    ``label``: of everything that has now entered the run.
    """

    calls: tuple[ToolCall, ...]
    label: Label
    results: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Stopped:
    """A bound was met: "rounds", "tokens" or "time"."""

    bound: str


@dataclass(frozen=True)
class Queued:
    """Others go first: ``position`` counts them, and one; 0 when the engine begins."""

    position: int


@dataclass(frozen=True)
class Theirs:
    """The model called tools that the asker runs: the run ends here, to be gone on with."""

    calls: tuple[ToolCall, ...]


async def rounds(
    engine: Engine, prompt: Prompt, sampling: Sampling, budget: Budget, clock: Callable[[], float]
) -> AsyncGenerator[Token | Asked | Theirs | Stopped | Queued, None]:
    """Tokens of thinking and text as they come, calls to be answered, and the bound if one is met.

    A ``count`` among the tokens is that of one round. ``clock`` gives seconds that only grow; those
    for which others go first do not count. Raises what the engine raises.
    """
    until = clock() + budget.seconds
    left = budget.tokens
    for number in range(1, budget.rounds + 1):
        last = number == budget.rounds
        turn = _Turn()
        # In its last round a model is offered no tool, so that it has to write.
        theirs = tuple(tool for tool in prompt.tools if tool.theirs)
        turn.theirs = {tool.name for tool in theirs}
        turn.most_theirs = sampling.most_calls
        asked = replace(prompt, tools=theirs) if last else prompt
        stop = Stop(sampling.stop)
        async with aclosing(engine.generate(asked, replace(sampling, max_tokens=left))) as tokens:
            queued: float | None = None  # since when others go first
            while True:
                left_seconds = None if queued is not None else max(0.0, until - clock())
                try:
                    async with asyncio.timeout(left_seconds):
                        token = await anext(tokens)
                except StopAsyncIteration:
                    if rest := stop.rest():
                        turn.add(rest)
                        yield rest
                    break
                except TimeoutError:
                    yield Stopped("time")
                    return
                if token.position is not None:
                    if token.position:
                        queued = clock() if queued is None else queued
                    elif queued is not None:
                        until, queued = until + clock() - queued, None
                    yield Queued(token.position)
                    continue
                if left is not None and token.kind not in ("cut", "count"):
                    left -= 1
                for kept in stop.feed(token):
                    turn.add(kept)
                    if kept.call is None and kept.kind != "cut":
                        yield kept
                if stop.met:
                    return
        if turn.cut:
            yield Stopped("tokens")
            return
        if turn.theirs_called:
            yield Theirs(tuple(turn.theirs_called))
            return
        if not turn.calls:
            return
        if last:
            yield Stopped("rounds")
            return
        if left is not None and left <= 0:
            yield Stopped("tokens")
            return
        request = Asked(tuple(turn.calls), prompt.label)
        yield request
        prompt = replace(
            prompt,
            label=request.label,
            messages=(*prompt.messages, turn.message(), *_answers(turn.calls, request.results)),
        )


class Stop:
    """Ends the answer's text before the first of some ``texts``; ``met`` once that has happened.

    What may yet become one of them is held back. Thinking is let through as it is.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._held: Token | None = None
        self.met = False

    def feed(self, token: Token) -> list[Token]:
        """What of ``token``, and of what was held back, is part of the answer."""
        if not self._texts or token.kind != "text" or token.call is not None:
            if token.kind == "count" or (rest := self.rest()) is None:
                return [token]
            return [rest, token]
        held, self._held = self._held, None
        before = held.text if held is not None else ""
        text = before + token.text
        found = [place for one in self._texts if (place := text.find(one)) >= 0]
        if found:
            self.met = True
            text = text[: min(found)]
        if token.evidence is not None:
            # Copied words are whole by themselves, and known by where they begin.
            own = text[len(before) :]
            first = [replace(held, text=text[: len(before)])] if held is not None else []
            return [one for one in [*first, replace(token, text=own)] if one.text]
        wait = 0 if self.met else self._waiting(text)
        if wait:
            self._held = replace(token, text=text[len(text) - wait :])
        told = text[: len(text) - wait]
        return [replace(token, text=told)] if told else []

    def rest(self) -> Token | None:
        """What was held back and has become nothing."""
        held, self._held = self._held, None
        return held

    def _waiting(self, text: str) -> int:
        """How many characters at the end of ``text`` may begin one of the texts."""
        return max(
            length
            for one in self._texts
            for length in range(len(one))
            if text.endswith(one[:length])
        )


class _Turn:
    """What the model said in one round."""

    def __init__(self) -> None:
        self.calls: list[ToolCall] = []
        self.theirs: set[str] = set()
        self.most_theirs = 1
        self.theirs_called: list[ToolCall] = []
        self.cut = False
        self._chunks: list[Chunk] = []

    def add(self, token: Token) -> None:
        if token.call is not None:
            own = token.call.name not in self.theirs
            calls, most = (
                (self.calls, _MOST_CALLS) if own else (self.theirs_called, self.most_theirs)
            )
            if len(calls) < most:
                calls.append(token.call)
            return
        if token.kind == "count":
            return
        if token.kind == "cut":
            self.cut = True
            return
        if self._chunks and self._chunks[-1].kind == token.kind:
            self._chunks[-1] = Chunk(self._chunks[-1].text + token.text, token.kind)
        else:
            self._chunks.append(Chunk(token.text, token.kind))

    def message(self) -> Message:
        return Message("assistant", tuple(self._chunks), tuple(self.calls))


def _answers(calls: Sequence[ToolCall], results: Sequence[str]) -> list[Message]:
    return [
        Message("tool", (Chunk(result),), answers=call.id)
        for call, result in zip(calls, results, strict=True)
    ]
