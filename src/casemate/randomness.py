"""Random bytes of the kernel, drawn many at a time.

A run needs some ten ids and blinding nonces. Each asked of the kernel by itself gives the
interpreter to another thread, which costs more than the bytes. Nothing that may never come twice is
taken from here, since a machine may go on twice from one image of its memory: ``store.keyring``.
"""

from __future__ import annotations

import os
import threading

_DRAWN = 4096


class _Drawn(threading.local):
    """What this thread has drawn and not given away."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.process = 0


_drawn = _Drawn()


def random_bytes(count: int) -> bytes:
    """So many bytes, each given once and kept nowhere; from the system's own generator.

    A forked process draws anew.
    """
    drawn = _drawn
    if len(drawn.bytes) < count or drawn.process != os.getpid():
        if count > _DRAWN:
            return os.urandom(count)
        drawn.bytes, drawn.process = bytearray(os.urandom(_DRAWN)), os.getpid()
    left = len(drawn.bytes) - count
    given = bytes(drawn.bytes[left:])
    drawn.bytes[left:] = bytes(count)  # nothing of it stays behind where it lay
    del drawn.bytes[left:]
    return given


def random_hex(count: int) -> str:
    """As many bytes, in hexadecimal."""
    return random_bytes(count).hex()
