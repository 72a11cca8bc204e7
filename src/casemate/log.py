"""The server's log: what went wrong and, if wanted, each request, as lines or as JSON.

A message of ours never holds content, a name or a secret. One of a library's may: of an exception
only its kind is written, since its text may quote a prompt or a document.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

FIELDS = "casemate"  # of a record: facts beside the message, as ``extra``


def begin(form: Literal["text", "json"], process: str = "") -> None:
    """Write the log of this process to standard error, in this form.

    ``process``: its name, told with each message, where several serve.
    """
    handler = logging.StreamHandler(sys.stderr)
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
