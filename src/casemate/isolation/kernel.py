"""Asking the kernel: one system call, its result or the reason against it.

Every module of isolation reaches the kernel through a ``Call``, so that a test can hand in a
kernel that refuses. Source: syscall(2).
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from errno import ENOSYS
from functools import cache
from typing import TypeAlias

from casemate.isolation.calls import numbers

# The kernel reads bytes and writes into a ctypes array; both are handed over as their address.
Argument: TypeAlias = "int | bytes | ctypes.Array[ctypes.c_char] | None"
Call: TypeAlias = Callable[..., int]


class Missing(Exception):
    """A layer that this kernel does not give; the message says why, in plain words."""


def call(name: str, *arguments: Argument) -> int:
    """What the system call ``name`` answers.

    Raises OSError with the kernel's errno; ENOSYS also where the system is not Linux or the
    processor is not one whose numbers are known.
    """
    number = numbers(platform.machine()).get(name) if sys.platform == "linux" else None
    if number is None:
        raise OSError(ENOSYS, os.strerror(ENOSYS), name)
    answer: int = _libc().syscall(ctypes.c_long(number), *(_passed(value) for value in arguments))
    if answer == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), name)
    return answer


def _passed(value: Argument) -> ctypes.c_long | bytes | ctypes.Array[ctypes.c_char] | None:
    """As ctypes takes it: a bare int would be cut to 32 bits."""
    return ctypes.c_long(value) if isinstance(value, int) else value


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def threads() -> int:
    """How many threads this process runs; 1 if that cannot be seen."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1
