"""One model process from its start to its end, as its parent sees it.

Nothing is inherited but three descriptors. The end is noticed through a pidfd, so that neither a
thread nor a task waits for it; then everything that belonged to the process goes with it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

import casemate
from casemate.engines.llama import confined

Work: TypeAlias = Literal["generate", "score", "embed"]
Way: TypeAlias = Literal["forward pass", "forced decoding"]  # to make scores

_LONGEST_REPORT = 1 << 20
_LONGEST_PATH = 100  # sockaddr_un holds 108


@dataclass(frozen=True)
class Load:
    """What a process loads, and what for. ``context``: tokens for each slot.

    ``scores``: the way to make them; forced decoding also where there is no other.
    """

    weights: Path
    adapters: tuple[Path, ...] = ()
    context: int = 4096
    slots: int = 4
    threads: int = 1
    work: Work = "generate"
    scores: Way = "forward pass"
    memory_bytes: int | None = None


class Isolated(msgspec.Struct):
    """What holds, as the process itself found. ``proof``: name, blocked, the kernel's answer."""

    layers: list[str]
    missing: dict[str, str]
    proof: list[tuple[str, bool, str]]


class Message(msgspec.Struct):
    """One line of the report; exactly one of these is set.

    ``ready``: facts about it. ``version``: of xllamacpp; of a process that scores, too,
    ``scores``, the way it makes them, and ``why`` it is forced decoding where it is.
    """

    isolated: Isolated | None = None
    ready: dict[str, str] | None = None
    failed: str | None = None


class Life:
    """A process that has just been started. Raises OSError if it cannot be.

    ``reason``: why it was ended, where its parent ended it. ``dying``: it is about to be gone.
    """

    def __init__(self, load: Load, ended: Callable[[Life], None]) -> None:
        self.load = load
        self.reason = ""
        self.dying = False
        self.over = False
        self.code = 0
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[None]] = []
        self._lines: deque[bytes] = deque()
        self._pending = b""
        self._told = 0
        self._folder = _private_folder()
        self._descriptors: list[int] = []
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
                _command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_environment(),
                bufsize=0,
                start_new_session=True,  # Ctrl-C is the parent's to answer
            )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        try:
            self._watch()
            self._assign()
        except BaseException:
            self.kill("it could not be given its task")
            self.bury()
            raise

    @property
    def socket(self) -> Path:
        """Where it serves."""
        # llama.cpp takes a name that ends like this for a Unix socket, any other for a host.
        return self._folder / "model.sock"

    @property
    def pid(self) -> int:
        """The process id, for those who look at it from outside."""
        return self._process.pid

    async def message(self) -> Message | None:
        """The next line of its report, None at its end. Raises MsgspecError for a bad one."""
        while not self._lines:
            if self.over:
                return None
            await self._change()
        return msgspec.json.decode(self._lines.popleft(), type=Message)

    async def end(self) -> None:
        """Wait until it is gone."""
        while not self.over:
            await self._change()

    def kill(self, reason: str = "") -> None:
        """End it. What it leaves is cleared away as soon as it is gone."""
        self.reason = self.reason or reason
        self.dying = True
        self._process.kill()

    def bury(self) -> None:
        """Clear away what it leaves: descriptors, socket, folder. It has ended, or ends now."""
        if self.over:
            return
        self._read()
        self.code = self._process.wait()
        self.over = True
        for descriptor in self._descriptors:
            if not self._loop.is_closed():
                self._loop.remove_reader(descriptor)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        for descriptor in self._descriptors[1:]:
            os.close(descriptor)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._wake()
        self._ended(self)

    def _watch(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker: it is PIPE
        report = self._process.stdout.fileno()
        os.set_blocking(report, False)
        self._descriptors.append(report)
        self._loop.add_reader(report, self._read)
        gone = os.pidfd_open(self._process.pid)
        self._descriptors.append(gone)
        self._loop.add_reader(gone, self.bury)

    def _assign(self) -> None:
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: it is PIPE
        task = {
            "weights": os.path.abspath(self.load.weights),  # it stands elsewhere
            "adapters": [os.path.abspath(path) for path in self.load.adapters],
            "context": self.load.context,
            "slots": self.load.slots,
            "threads": self.load.threads,
            "work": self.load.work,
            "scores": self.load.scores,
            "memory_bytes": self.load.memory_bytes,
            "socket": str(self.socket),
        }
        self._process.stdin.write(msgspec.json.encode(task) + b"\n")

    def _read(self) -> None:
        report = self._descriptors[0]
        while True:
            try:
                piece = os.read(report, 1 << 16)
            except BlockingIOError:
                break
            if not piece:
                self._loop.remove_reader(report)
                break
            self._told += len(piece)
            if self._told > _LONGEST_REPORT:
                self._loop.remove_reader(report)
                self.kill("its report was not one")
                break
            *lines, self._pending = (self._pending + piece).split(b"\n")
            self._lines.extend(lines)
        self._wake()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done() and not self._loop.is_closed():
                waiting.set_result(None)
        self._waiting.clear()

    async def _change(self) -> None:
        waiting: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(waiting)
        await waiting


def _private_folder() -> Path:
    """A folder of mode 0700, with a path short enough for a socket."""
    place = tempfile.gettempdir()
    return Path(
        tempfile.mkdtemp(
            prefix="casemate-",
            dir=place if len(os.fsencode(place)) < _LONGEST_PATH - 40 else "/tmp",  # noqa: S108
        )
    )


def _command() -> list[str]:
    """Run ``confined`` as a script: with -I neither folder nor environment add code to it.

    Of the parent's path it gets only where packages are installed: the rest may be the folder that
    somebody stood in, and what is on the path may be read.
    """
    root = str(Path(casemate.__file__).resolve().parent.parent)
    installed = ("site-packages", "dist-packages")
    paths = [root, *(path for path in sys.path if Path(path).name in installed)]
    return [sys.executable, "-I", "-B", str(Path(confined.__file__).resolve()), *paths]


def _environment() -> dict[str, str]:
    """Empty but for where some builds of Python find their own library."""
    return {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
