"""What a process could do to others or become: privileges, given up.

No new privileges (a set-user-id program gives none), no capabilities in any set, memory that
others of the same account cannot read, and death with the parent.
Source: prctl(2), capabilities(7), capset(2).
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from collections.abc import Iterable
from contextlib import suppress

from casemate.isolation.kernel import Call, Missing, call

_SET_DEATH_SIGNAL = 1
_SET_DUMPABLE = 4
_DROP_FROM_BOUNDING_SET = 24
_SET_NO_NEW_PRIVILEGES = 38
_GET_NO_NEW_PRIVILEGES = 39
_AMBIENT = 47
_AMBIENT_CLEAR_ALL = 4

_CAPABILITIES = 64  # as many as the format has room for
_HEADER = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
_ROWS = struct.Struct("=6I")  # effective, permitted, inheritable: low 32 bits, then high
_READ_ANY_FILE = 1 << 2  # CAP_DAC_READ_SEARCH


def gain_none(kernel: Call = call) -> None:
    """Let no program give this thread new privileges. Raises Missing if the kernel refuses."""
    try:
        kernel("prctl", _SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        if kernel("prctl", _GET_NO_NEW_PRIVILEGES, 0, 0, 0, 0) == 1:
            return
    except OSError as error:
        raise Missing(f"the kernel refused no_new_privs ({error.strerror})") from error
    raise Missing("the kernel did not keep no_new_privs")


def drop_all(read: Iterable[str], kernel: Call = call) -> None:
    """Drop every capability and make this process's memory unreadable to others of its account.

    One is kept where root could otherwise not read what it was promised, because ``read`` lies in
    a folder that only another user may enter: reading any file (CAP_DAC_READ_SEARCH). Landlock
    still narrows that to the promised paths. Raises Missing if the kernel refuses.
    """
    try:
        with suppress(OSError):  # no ambient capabilities before Linux 4.3
            kernel("prctl", _AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)
        _empty_bounding_set(kernel)
        permitted = _permitted(kernel)
        _capabilities(0, permitted, kernel)
        kept = 0 if all(_readable(path) for path in read) else permitted & _READ_ANY_FILE
        _capabilities(kept, kept, kernel)
        # After the capabilities: a change of those sets both again to what the system prefers.
        kernel("prctl", _SET_DUMPABLE, 0, 0, 0, 0)
    except OSError as error:
        raise Missing(f"the kernel refused to drop privileges ({error.strerror})") from error


def die_with_parent(parent: int, kernel: Call = call) -> None:
    """Have the kernel end this process when the thread that started it ends.

    parent: its process id, as read before. Raises Missing if the kernel refuses.
    """
    try:
        kernel("prctl", _SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    except OSError as error:
        raise Missing(f"the kernel refused a parent-death signal ({error.strerror})") from error
    if os.getppid() != parent:
        # It ended just before: the signal will never come.
        os.kill(os.getpid(), signal.SIGKILL)


def _empty_bounding_set(kernel: Call) -> None:
    for capability in range(_CAPABILITIES):
        try:
            kernel("prctl", _DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)
        except OSError:
            # Either beyond the last one that this kernel knows, or not root: then the set gives
            # nothing, since no program may raise privileges any more.
            return


def _permitted(kernel: Call) -> int:
    """The capabilities that this thread may use, one bit each."""
    sets = ctypes.create_string_buffer(_ROWS.size)
    kernel("capget", _HEADER, sets)
    row = _ROWS.unpack(sets.raw)
    return int(row[1] | row[4] << 32)


def _capabilities(effective: int, permitted: int, kernel: Call) -> None:
    low = 0xFFFFFFFF
    sets = _ROWS.pack(effective & low, permitted & low, 0, effective >> 32, permitted >> 32, 0)
    kernel("capset", _HEADER, sets)


def _readable(path: str) -> bool:
    """Whether ``path`` can be opened without capabilities; one that is not there needs none."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except PermissionError:
        return False
    except OSError:
        return True
    return True
