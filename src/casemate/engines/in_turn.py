"""An engine in turn: each of its calls waits for a slot, and what it used is counted.

A run calls its engine several times, once for each round; each call is a turn of its own, so that
others go in between while the run searches.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, aclosing
from typing import TYPE_CHECKING, Self

from casemate.engines.engine import Embeddings, Engine, Part, Prompt, Sampling, Scores, Token
from casemate.engines.schedule import Flow
from casemate.engines.turns import Turns
from casemate.errors import CasemateError
from casemate.gate.budget import Use
from casemate.gate.capacity import Capacity

if TYPE_CHECKING:
    from casemate.gate.label import Label
    from casemate.models.profile import Profile

# Where an engine does not count. About right for the languages of Europe; an estimate.
CHARACTERS_PER_TOKEN = 4
_USUAL_ANSWER = 512  # tokens, where a request says nothing


class InTurn:
    """Stands before one engine, for one run. Adds what is used to ``used``."""

    def __init__(
        self,
        engine: Engine,
        turns: Turns,
        flow: Flow,
        capacity: Capacity,
        used: Use,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._turns = turns
        self._flow = flow
        self._capacity = capacity
        self._used = used
        self._clock = clock

    @property
    def capabilities(self) -> frozenset[str]:
        """See Engine."""
        return self._engine.capabilities

    @property
    def profile(self) -> Profile:
        """See Engine."""
        return self._engine.profile

    def plan(self, question: str) -> tuple[Part, ...]:
        """See Engine."""
        return self._engine.plan(question)

    async def generate(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Token, None]:
        """See Engine. Tells the position while others go first."""
        with self.work(prompt, sampling) as work:
            if not work.comes_at_once():
                async for position in work.waiting():
                    yield Token("", kind="waiting", position=position)
            async with aclosing(self._engine.generate(prompt, sampling)) as tokens:
                async for token in tokens:
                    work.count(token)
                    yield token

    @property
    def engine(self) -> Engine:
        """The engine itself; whoever uses it does so within ``work``."""
        return self._engine

    def work(self, prompt: Prompt, sampling: Sampling) -> Work:
        """A turn in which ``prompt`` is answered: ``with`` it, wait for it, count what comes."""
        expected = min(sampling.max_tokens or _USUAL_ANSWER, self.profile.answer_tokens)
        return Work(self, tokens_in(prompt), expected)

    async def score(self, prompts: Sequence[Prompt], continuation: str) -> list[Scores]:
        """See Engine."""
        length = -(-len(continuation) // CHARACTERS_PER_TOKEN)
        read = sum(tokens_in(prompt) + length for prompt in prompts)
        with self._turns.turn(self._flow, max(1, read)) as turn:
            await turn.come()
            began = self._clock()
            try:
                return await self._engine.score(prompts, continuation)
            finally:
                self._count(read, 0, self._clock() - began)

    async def embed(self, texts: Sequence[str], *, label: Label) -> Embeddings:
        """See Engine."""
        read = sum(-(-len(text) // CHARACTERS_PER_TOKEN) for text in texts)
        with self._turns.turn(self._flow, max(1, read)) as turn:
            await turn.come()
            began = self._clock()
            try:
                made = await self._engine.embed(texts, label=label)
                read = read if made.read is None else made.read
                return made
            finally:
                self._count(read, 0, self._clock() - began)

    async def close(self) -> None:
        """Nothing: the engine is others' too."""

    def _count(self, read: int, written: int, seconds: float) -> None:
        self._used.tokens += read + written
        self._used.written += written
        self._used.gpu_seconds += self._capacity.gpu_milliseconds(seconds)
        self._used.watt_hours += self._capacity.joules(seconds)


class Work(AbstractContextManager["Work"]):
    """One turn of an engine: when it comes, and what was read and written in it."""

    def __init__(self, own: InTurn, read: int, expected: int) -> None:
        self._own = own
        self._turn = own._turns.turn(own._flow, read + expected)
        self._counted = False
        self.came = False
        self.read = read
        self.written = 0

    def __enter__(self) -> Self:
        self._turn.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, _: object
    ) -> None:
        turn, own = self._turn, self._own
        try:
            if self.came and isinstance(problem, CasemateError):
                own._turns.failures += 1
            if self.came and turn.began is not None:
                turn.cost = self.read + self.written
                own._count(self.read, self.written, own._clock() - turn.began)
        finally:
            turn.__exit__()

    def comes_at_once(self) -> bool:
        """Whether the turn has come already; ``waiting`` waits for one that has not."""
        self.came = self._turn.comes_at_once()
        return self.came

    async def waiting(self) -> AsyncGenerator[int, None]:
        """Positions while others go first, and 0 if anybody did; ends when the turn has come."""
        told = False
        async for position in self._turn.waiting():
            told = True
            yield position
        if told:
            yield 0
        self.came = True

    def count(self, token: Token) -> None:
        """Add a token, or take the engine's own count in place of an estimate."""
        if token.read is not None:
            self.read, self.written, self._counted = token.read, token.written or 0, True
        elif not self._counted:
            self.written += tokens_of(token)


def tokens_in(prompt: Prompt) -> int:
    """An estimate of a prompt's tokens."""
    characters = sum(len(chunk.text) for message in prompt.messages for chunk in message.chunks)
    return max(1, -(-characters // CHARACTERS_PER_TOKEN))


def tokens_of(token: Token) -> int:
    """Of a piece of output: one if its engine says which, else an estimate by its length."""
    if token.id is not None:
        return 1
    written = len(token.text) + (len(token.call.arguments) if token.call is not None else 0)
    return -(-written // CHARACTERS_PER_TOKEN)
