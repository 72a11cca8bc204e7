"""The server's log: what went wrong and, if wanted, each request, as lines or as JSON.

A message of ours never holds content, a name or a secret. One of a library's may: of an exception
only its kind is written, since its text may quote a prompt or a document.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Literal

FIELDS = "casemate"  # of a record: facts beside the message, as ``extra``
_MOST_WAITING = 10_000  # lines
_FAREWELL_SECONDS = 1.0  # for the last lines, of a process that ends


def begin(form: Literal["text", "json"], process: str = "") -> None:
    """Write the log of this process to standard error, in this form.

    ``process``: its name, told with each message, where several serve.
    """
    handler = Aside(sys.stderr.fileno())
    handler.setFormatter(Json() if form == "json" else Text())
    if process:
        handler.addFilter(partial(_name, process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("casemate").setLevel(logging.INFO)


def _name(process: str, record: logging.LogRecord) -> bool:
    record.__dict__[FIELDS] = {**getattr(record, FIELDS, {}), "process": process}
    return True


class Aside(logging.Handler):
    """Writes lines from a thread of its own: a log that nobody reads holds up nobody.

    At most ``most`` lines wait. Those beyond are left out, and the log says how many.
    ``descriptor``: of an open file. It is written without a stream, whose lock a thread that waits
    would keep from everybody else.
    """

    def __init__(self, descriptor: int, most: int = _MOST_WAITING) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._most = most
        self._missing = 0
        self._process = 0  # whose thread it is: a fork has none

    def emit(self, record: logging.LogRecord) -> None:
        """See logging."""
        if os.getpid() != self._process:
            self._begin()
        if self._waiting.qsize() >= self._most:
            self._missing += 1  # within the handler's lock, as all of emit
        else:
            self._waiting.put(self.format(record))

    def flush(self) -> None:
        """Wait until what was said before is written, but not for ever."""
        if os.getpid() == self._process:
            written = Event()
            self._waiting.put(written)
            written.wait(_FAREWELL_SECONDS)

    def _begin(self) -> None:
        self._waiting: SimpleQueue[str | Event] = SimpleQueue()
        self._process = os.getpid()
        Thread(target=self._write, name="log", args=(self._waiting,), daemon=True).start()

    def _write(self, waiting: SimpleQueue[str | Event]) -> None:
        while True:
            line = waiting.get()
            if isinstance(line, Event):
                line.set()
                continue
            if self._missing and waiting.empty():
                line = f"{line}\n{self._notice()}"
            left = f"{line}\n".encode(errors="backslashreplace")
            with suppress(OSError):  # nobody can be told that nobody can be told
                while left:
                    left = left[os.write(self._descriptor, left) :]

    def _notice(self) -> str:
        self.acquire()
        missing, self._missing = self._missing, 0
        self.release()
        told = "%d lines are missing here: the log was not read in time"
        record = logging.LogRecord(__name__, logging.WARNING, "", 0, told, (missing,), None)
        return self.format(record)


class Json(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and facts beside it."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging."""
        told: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= getattr(record, FIELDS, {})
        if record.exc_info and record.exc_info[0] is not None:
            told["exception"] = record.exc_info[0].__name__
        return json.dumps(told, ensure_ascii=False)


class Text(logging.Formatter):
    """One line: time, level, message, and facts as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging."""
        # A line feed in a message would be a line of its own, which anybody could have written.
        message = record.getMessage().replace("\n", " ")
        words = [_moment(record), record.levelname.lower(), message]
        words += [f"{name}={value}" for name, value in getattr(record, FIELDS, {}).items()]
        if record.exc_info and record.exc_info[0] is not None:
            words.append(f"exception={record.exc_info[0].__name__}")
        return " ".join(words)


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
