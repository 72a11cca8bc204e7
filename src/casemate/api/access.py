"""The access log: one entry a request, of which nobody can tell who asked or what.

The address is a template, without what was put into it and without its query; there is no name and
no address of the client. The run, where there is one, is what the ledger calls it by.
"""

from __future__ import annotations

import logging

from starlette.types import Scope

from casemate.api.resource import RUN
from casemate.log import FIELDS

_log = logging.getLogger("casemate.access")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def told(scope: Scope, route: str, status: int, sent: int, seconds: float) -> None:
    """Log one request. ``status`` 0: the client left before there was one; ``sent``: bytes."""
    method = scope["method"]
    facts: dict[str, object] = {
        "method": method if method in _METHODS else "other",
        "route": route,
        "status": status or "gone",
        "bytes": sent,
        "milliseconds": round(seconds * 1000, 1),
    }
    if RUN in scope:
        facts["run"] = scope[RUN]
    _log.info("request", extra={FIELDS: facts})
