"""The loop of the reading process: a file in, its text or the reason against it out.

Started by ``confined``; everything here already runs without network and within limits.
"""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Callable
from importlib import import_module
from typing import BinaryIO, Protocol, cast

import msgspec

from casemate.library.parse.draft import Draft
from casemate.library.parse.extracted import MEBIBYTE, Extracted, Limits, Unreadable
from casemate.library.parse.formats import FORMATS
from casemate.library.parse.message import (
    LENGTH_BYTES,
    Failure,
    Ready,
    Success,
    Task,
    length_of,
)


class Parser(Protocol):
    """A module that reads one format."""

    def parse(self, content: bytes, draft: Draft, limits: Limits) -> None:
        """Add the readable blocks of ``content`` to ``draft``. Raises Unreadable."""


def serve(*, no_network: bool, unprivileged: bool) -> None:
    """Answer requests on standard input until it is closed."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # A library that prints must not end up inside an answer.
    os.dup2(2, 1)
    encode = msgspec.msgpack.Encoder().encode
    decode = msgspec.msgpack.Decoder(Task).decode
    _send(answers, encode(Ready(no_network, unprivileged)))
    while (frame := _receive(requests)) is not None:
        task = decode(frame)
        content = _receive(requests)
        if content is None:
            return
        answer = _answer(task, content)
        del content
        _send(answers, _encoded(answer, encode))


def _encoded(answer: Success | Failure, encode: Callable[[object], bytes]) -> bytes:
    """The answer as bytes; running out of memory here is an answer, too."""
    try:
        return encode(answer)
    except MemoryError:
        return encode(Failure("holds too much text", "split it and add the parts", spent=True))


def _answer(task: Task, content: bytes) -> Success | Failure:
    """Read one file; whatever a parser raises is the file's fault, not the reader's."""
    _allow_seconds(task.limits.seconds)
    try:
        return Success(extract(task.extension, content, task.limits))
    except Unreadable as refusal:
        return Failure(refusal.fact, refusal.step, spent=False)
    except MemoryError:
        memory = task.limits.memory_bytes // MEBIBYTE
        return Failure(f"needs more than {memory} MB of memory to read", "", spent=True)
    except RecursionError:
        return Failure("is nested too deeply", "", spent=False)
    except Exception:
        return Failure("is damaged", "", spent=False)


def extract(extension: str, content: bytes, limits: Limits) -> Extracted:
    """The text of one file, in this process. Raises Unreadable, and what parsers raise."""
    if not content:
        raise Unreadable("is empty")
    known = FORMATS[extension]
    draft = Draft(limits)
    cast(Parser, import_module(known.module)).parse(content, draft, limits)
    return draft.finish(known.media_type)


def _allow_seconds(seconds: float) -> None:
    """Move the processor limit ahead of what is used: it bounds each file, not their sum."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _receive(stream: BinaryIO) -> bytes | None:
    """The next payload, or None when the parent has gone."""
    head = stream.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    length = int.from_bytes(head, "big")
    payload = stream.read(length)
    return payload if len(payload) == length else None


def _send(stream: BinaryIO, payload: bytes) -> None:
    stream.write(length_of(payload))
    stream.write(payload)
    stream.flush()
