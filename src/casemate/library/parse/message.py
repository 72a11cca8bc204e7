"""Messages between the reader and its process: a length, then MessagePack.

A frame is eight bytes of length, big-endian, and the payload. A request is two frames, ``Task``
and the bare bytes of the file (bare, so that a large file is not copied once more); the process
sends ``Ready`` once and answers each request with ``Extracted`` or ``Failure``.
"""

from __future__ import annotations

import msgspec

from casemate.library.parse.extracted import Extracted, Limits

LENGTH_BYTES = 8


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The process is confined and waits."""

    no_network: bool
    unprivileged: bool


class Task(msgspec.Struct, frozen=True):
    """Read the file in the next frame, which has this extension."""

    extension: str
    limits: Limits


class Success(msgspec.Struct, frozen=True, tag="success"):
    """The file is read."""

    extracted: Extracted


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """The file is unreadable; ``spent`` tells that the process should not be used again."""

    fact: str
    step: str
    spent: bool


def length_of(payload: bytes) -> bytes:
    """The length that precedes ``payload`` in its frame."""
    return len(payload).to_bytes(LENGTH_BYTES, "big")
