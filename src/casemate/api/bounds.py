"""Bounds: what a client may take of the server's time and memory, whichever HTTP it speaks."""

from __future__ import annotations

from dataclasses import dataclass

from casemate.errors import CasemateError


@dataclass(frozen=True)
class Bounds:
    """How long and how much. Seconds, bytes, bytes a second.

    ``look``: between two looks at how a body comes along; ``unread``: that an answer may lie before
    a client that does not read; ``linger``: for which a refused one is still listened to. ``idle``
    and ``streams`` are of HTTP/2: without a request, and requests of one connection at a time.
    """

    header_seconds: float = 20.0
    look: float = 10.0
    body_pace: int = 512
    unread: float = 60.0
    linger: float = 2.0
    idle: float = 60.0
    address_bytes: int = 8 << 10
    header_bytes: int = 32 << 10
    headers: int = 100
    streams: int = 128
    connections: int = 4096  # of all clients together; over HTTP/2, requests as well


class Unfit(CasemateError):
    """A request that is not read to its end."""

    def __init__(self, status: int, what: str, next: str) -> None:
        super().__init__(what, next)
        self.status = status


SLOW = Unfit(408, "The request did not arrive in time.", "Send it at once, and in full.")
LONG_ADDRESS = Unfit(414, "The address is too long.", "Put what is long into the body.")
LARGE_HEADERS = Unfit(431, "The headers are too large.", "Send fewer or shorter ones.")
FULL = Unfit(503, "Too many connections are open.", "Try again in a moment.")
