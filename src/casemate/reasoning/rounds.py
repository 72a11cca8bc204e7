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

_MOST_CALLS = 4  # tools called in one round; more are answered with a refusal


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


async def rounds(
    engine: Engine, prompt: Prompt, sampling: Sampling, budget: Budget, clock: Callable[[], float]
) -> AsyncGenerator[Token | Asked | Stopped | Queued, None]:
    """Tokens of thinking and text as they come, calls to be answered, and the bound if one is met.

    ``clock`` gives seconds that only grow; those for which others go first do not count. Raises
    what the engine raises.
    """
    until = clock() + budget.seconds
    left = budget.tokens
    for number in range(1, budget.rounds + 1):
        last = number == budget.rounds
        turn = _Turn()
        # In its last round a model is offered no tool, so that it has to write.
        asked = replace(prompt, tools=()) if last else prompt
        async with aclosing(engine.generate(asked, replace(sampling, max_tokens=left))) as tokens:
            queued: float | None = None  # since when others go first
            while True:
                left_seconds = None if queued is not None else max(0.0, until - clock())
                try:
                    async with asyncio.timeout(left_seconds):
                        token = await anext(tokens)
                except StopAsyncIteration:
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
                if token.kind == "count":
                    continue
                turn.add(token)
                if left is not None and token.kind != "cut":
                    left -= 1
                if token.call is None and token.kind != "cut":
                    yield token
        if turn.cut:
            yield Stopped("tokens")
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


class _Turn:
    """What the model said in one round."""

    def __init__(self) -> None:
        self.calls: list[ToolCall] = []
        self.cut = False
        self._chunks: list[Chunk] = []

    def add(self, token: Token) -> None:
        if token.call is not None:
            if len(self.calls) < _MOST_CALLS:
                self.calls.append(token.call)
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
