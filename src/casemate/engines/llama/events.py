"""The events of a completion, as they arrive from llama.cpp's server.

Format: server-sent events whose data is JSON. Nothing in them is trusted: typed, bounded, counted.
"""

from __future__ import annotations

from typing import Any

import msgspec

from casemate.engines.engine import Token
from casemate.engines.llama.stream import Reading, Spoken

_LONGEST = 1 << 20  # bytes of one event
_SLACK = 8  # tokens that llama.cpp may add to finish a character


class Spoiled(Exception):
    """What no honest server says."""


class Events:
    """Turns bytes into tokens; at the end it tells how many there were.

    ``over``: the last event was read. ``most``: tokens at most. ``read``: those of the prompt.
    """

    def __init__(self, reading: Reading, spoken: Spoken | None, most: int, read: int = 0) -> None:
        self.over = False
        self._reading = reading
        self._spoken = spoken
        self._left = most + _SLACK
        self._pending = b""
        self._read = read
        self._most = most + _SLACK

    def read(self, piece: bytes) -> list[Token]:
        """The tokens that are complete after these bytes. Raises Spoiled."""
        *lines, self._pending = (self._pending + piece).split(b"\n")
        if len(self._pending) > _LONGEST:
            raise Spoiled
        made: list[Token] = []
        for line in lines:
            if line.startswith(b"data: "):
                made += self._told(event := _event(line))
                if event.stop_type is not None:
                    made += self._end(event.stop_type, event.tokens_predicted)
            elif line.startswith(b"error:"):
                raise Spoiled
        return made

    def _end(self, why: str, written: int | None) -> list[Token]:
        made = [] if self._spoken is None else self._spoken.end()
        if written is not None:
            if not 0 <= written <= self._most:
                raise Spoiled
            # Counted there: a character of several tokens is one event.
            made.append(Token("", "count", read=self._read, written=written))
        return [*made, Token("", "cut")] if why == "limit" else made

    def _told(self, event: _Event) -> list[Token]:
        if event.error is not None or self.over:
            raise Spoiled
        if event.stop_type is not None:
            self.over = True
            made = self._reading.end()
        elif event.tokens:
            self._left -= 1
            if self._left < 0:
                raise Spoiled
            known = event.completion_probabilities
            made = self._reading.read(
                event.content, event.tokens[-1], known[-1].logprob if known else None
            )
        else:
            return []
        if self._spoken is None:
            return made
        return [one for token in made for one in self._spoken.read(token)]


class _Probability(msgspec.Struct):
    """Of one token; null where it is not a number."""

    logprob: float | None = None


class _Event(msgspec.Struct):
    content: str = ""
    tokens: list[int] = []
    completion_probabilities: list[_Probability] = []
    stop_type: str | None = None  # of the last, like the next
    tokens_predicted: int | None = None
    error: Any = None


_EVENT = msgspec.json.Decoder(_Event)


def _event(line: bytes) -> _Event:
    try:
        return _EVENT.decode(memoryview(line)[6:])
    except msgspec.DecodeError as problem:
        raise Spoiled from problem
