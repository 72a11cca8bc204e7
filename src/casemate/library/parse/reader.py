"""The reader: one confined child process that turns files into text.

The parent imports no parser, sends the bytes of a file through a pipe, waits no longer than the
limit, checks what comes back, and replaces the child whenever it dies, stalls or has done much.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from casemate.errors import Unavailable
from casemate.library.parse.child import Child, Confinement, Died, Stalled
from casemate.library.parse.extracted import MEBIBYTE, Extracted, Limits, Unreadable
from casemate.library.parse.formats import extension
from casemate.library.parse.message import Failure, Success, Task

# Parsers leak and memory fragments: a child that has read this many files makes room for a new one.
_FILES_PER_CHILD = 500


class Reader:
    """Reads files in one long-lived child process; a context manager, safe to share by threads.

    Reads of one Reader happen one after the other. The child starts with the first read.
    """

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008 - Limits is immutable
        self.limits = limits
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def read(self, name: str, content: bytes) -> Extracted:
        """The text of the file ``content``; ``name`` gives its type by extension.

        Raises Unsupported for a type that is not read, Unreadable for a file that cannot be,
        Unavailable if the reading process cannot be started or the Reader is closed.
        """
        kind = extension(name)
        if not content:
            raise Unreadable("is empty", name=name)
        if len(content) > self.limits.file_bytes:
            most = self.limits.file_bytes // MEBIBYTE
            raise Unreadable(f"is larger than {most} MB", name=name)
        with self._lock:
            answer = self._ask(Task(kind, self.limits), content)
        if isinstance(answer, Failure):
            raise Unreadable(answer.fact, answer.step, name=name)
        return answer.extracted

    def confinement(self) -> Confinement:
        """What the child has given up. Starts it if need be; raises Unavailable if it cannot."""
        with self._lock:
            return self._running().confinement

    def close(self) -> None:
        """End the child. Closing twice does no harm."""
        with self._lock:
            self._closed = True
            self._discard()

    def _ask(self, task: Task, content: bytes) -> Success | Failure:
        child = self._running()
        used = child.files > 0
        try:
            answer = child.ask(task, content)
        except Stalled:
            self._discard()
            return Failure(f"took longer than {self.limits.seconds:g} s to read", "", spent=True)
        except Died:
            self._discard()
            if used:
                # Killed from outside, or spoiled by a file before: a fresh process decides.
                return self._ask(task, content)
            return Failure("is damaged: reading it made the reader stop", "", spent=True)
        except BaseException:
            # An interrupt in mid-message leaves the pipe out of step.
            self._discard()
            raise
        if child.files >= _FILES_PER_CHILD or (isinstance(answer, Failure) and answer.spent):
            self._discard()
        return answer

    def _running(self) -> Child:
        if self._closed:
            raise Unavailable("The reader is closed.")
        if self._child is not None and not self._child.alive():
            self._discard()
        if self._child is None:
            try:
                self._child = Child(self.limits)
            except (Died, Stalled, OSError) as error:
                raise Unavailable(
                    "The process that reads files cannot be started.",
                    "Check the limits on memory and processes of this account.",
                ) from error
        return self._child

    def _discard(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None
