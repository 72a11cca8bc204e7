"""The reading process as its parent sees it: started, asked, killed.

Nothing is inherited but three descriptors; the wall clock is kept here, with poll(2), because a
stuck child cannot keep its own.
"""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

import casemate
from casemate.library.parse import confined
from casemate.library.parse.extracted import MEBIBYTE, Limits
from casemate.library.parse.message import (
    LENGTH_BYTES,
    Failure,
    Ready,
    Success,
    Task,
    length_of,
)

_START_SECONDS = 30.0
_F_SETPIPE_SZ = 1031  # Linux; a name for it came with Python 3.10 only on some builds
_ANSWER: msgspec.msgpack.Decoder[Success | Failure] = msgspec.msgpack.Decoder(Success | Failure)
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Stalled(Exception):
    """The time is over."""


class Died(Exception):
    """The child is gone, or says what it should not."""


@dataclass(frozen=True)
class Confinement:
    """What the child is without: a network (own, empty namespace), ways to gain privileges."""

    no_network: bool
    unprivileged: bool


class Child:
    """One confined process. ``files`` counts what it was asked to read.

    Raises Died or Stalled if it does not come up, OSError if it cannot be started.
    """

    def __init__(self, limits: Limits) -> None:
        self.files = 0
        self._limits = limits
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
            _command(limits),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=_environment(),
            bufsize=0,
            start_new_session=True,  # Ctrl-C is the parent's to answer
        )
        try:
            self._to, self._from = _pipes(self._process)
            ready = self._exchange([], time.monotonic() + _START_SECONDS)
            greeting = msgspec.msgpack.decode(ready, type=Ready)
        except msgspec.MsgspecError as error:
            self.kill()
            raise Died from error
        except BaseException:
            self.kill()
            raise
        self.confinement = Confinement(greeting.no_network, greeting.unprivileged)

    @property
    def pid(self) -> int:
        """The process id, for those who inspect the confinement from outside."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def ask(self, task: Task, content: bytes) -> Success | Failure:
        """Have one file read. Raises Stalled beyond the limit of seconds, Died if it crashed."""
        self.files += 1
        encoded = msgspec.msgpack.encode(task)
        head = length_of(encoded) + encoded + length_of(content)
        frame = self._exchange([head, content], time.monotonic() + self._limits.seconds)
        try:
            answer: Success | Failure = _ANSWER.decode(frame)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Died from error
        if isinstance(answer, Success) and len(answer.extracted.text) > task.limits.text_characters:
            raise Died
        return answer

    def kill(self) -> None:
        """End the process and close the pipes."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _exchange(self, parts: list[bytes], until: float) -> bytes:
        """Send ``parts`` and return the frame that answers, reading and writing as pipes allow."""
        unsent = [memoryview(part) for part in parts if part]
        received = bytearray()
        poll = select.poll()
        poll.register(self._from, select.POLLIN)
        if unsent:
            poll.register(self._to, select.POLLOUT)
        while unsent or not self._complete(received):
            left = until - time.monotonic()
            if left <= 0:
                raise Stalled
            for pipe, event in poll.poll(left * 1000):
                if pipe == self._to and event & select.POLLOUT:
                    unsent[0] = unsent[0][_write(pipe, unsent[0]) :]
                    if not unsent[0]:
                        del unsent[0]
                    if not unsent:
                        poll.unregister(self._to)
                elif pipe == self._from and event & select.POLLIN:
                    received += _read(pipe)
                elif event & _GONE:
                    raise Died
        return bytes(memoryview(received)[LENGTH_BYTES:])

    def _complete(self, received: bytearray) -> bool:
        if len(received) < LENGTH_BYTES:
            return False
        length = int.from_bytes(received[:LENGTH_BYTES], "big")
        if length > 8 * self._limits.text_characters + 16 * MEBIBYTE:
            raise Died  # no honest answer is that long
        return len(received) >= LENGTH_BYTES + length


def _command(limits: Limits) -> list[str]:
    """Run ``confined`` as a script: with -I neither folder nor environment add code to it."""
    root = str(Path(casemate.__file__).resolve().parent.parent)
    paths = [root, *(path for path in sys.path if os.path.isabs(path))]
    script = str(Path(confined.__file__).resolve())
    return [sys.executable, "-I", "-B", script, str(limits.memory_bytes), *paths]


def _environment() -> dict[str, str]:
    """Empty but for where some builds of Python find their own library."""
    return {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}


def _pipes(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """The descriptors to and from ``process``, never blocking, as wide as the kernel allows."""
    assert process.stdin is not None  # noqa: S101 - for the type checker: both are PIPE
    assert process.stdout is not None  # noqa: S101
    pipes = process.stdin.fileno(), process.stdout.fileno()
    for pipe in pipes:
        os.set_blocking(pipe, False)
        try:
            fcntl.fcntl(pipe, _F_SETPIPE_SZ, MEBIBYTE)
        except OSError:
            continue  # narrow pipes are slower, nothing else
    return pipes


def _write(pipe: int, content: memoryview) -> int:
    try:
        return os.write(pipe, content)
    except BlockingIOError:
        return 0
    except BrokenPipeError as error:
        raise Died from error


def _read(pipe: int) -> bytes:
    try:
        arrived = os.read(pipe, MEBIBYTE)
    except BlockingIOError:
        return b""
    if not arrived:
        raise Died
    return arrived
