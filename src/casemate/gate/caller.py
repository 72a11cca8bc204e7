"""Callers: a principal, and how it came in. The answer to "who asks?"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from casemate.gate.principal import Principal


@dataclass(frozen=True)
class Caller:
    """Somebody known.

    use_case: the only one this caller's key or certificate may be used for, if any. credential:
    what opened the door, so that it can be asked for again: the id of a key or certificate, or the
    fingerprint of a session. assurance: eIDAS level of the means that a session was opened with
    (low, substantial or high), if known.
    """

    principal: Principal
    use_case: str | None
    via: Literal["key", "session", "local", "certificate"]
    credential: str = ""
    assurance: str | None = None
