"""What a process may use up, and what it inherits: resource limits, descriptors, environment.

A file can grow to no size at all: what the process writes goes through pipes and sockets.
Source: getrlimit(2), proc_pid_stat(5).
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Iterable

from casemate.isolation.kernel import Missing

# Fields of /proc/self/stat, counted from the one after the name in parentheses.
_ENVIRONMENT_START, _ENVIRONMENT_END = 47, 48


def close_others(keep: Iterable[int]) -> None:
    """Close every descriptor but those in ``keep``. Raises Missing if they cannot be listed."""
    kept = set(keep)
    try:
        inherited = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError as error:
        raise Missing(f"open files cannot be listed in /proc ({error.strerror})") from error
    for descriptor in inherited:
        if descriptor not in kept:
            try:
                os.close(descriptor)
            except OSError:
                continue  # the one through which the list was read is closed already


def clear_environment() -> None:
    """Forget all environment variables, and overwrite the block that the process started with.

    Without the second, a secret would still lie in memory and in /proc/self/environ.
    """
    os.environ.clear()
    try:
        with open("/proc/self/stat", "rb") as opened:
            fields = opened.read().rpartition(b")")[2].split()
    except OSError:
        return
    start, end = int(fields[_ENVIRONMENT_START]), int(fields[_ENVIRONMENT_END])
    if 0 < start < end:
        ctypes.memset(start, 0, end - start)


def limit(*, open_files: int, memory_bytes: int | None, processes: int | None) -> None:
    """Lower the resource limits for good; one that is lower already stays.

    processes: most processes and threads of this account; the kernel exempts root.
    Raises Missing if a limit cannot be set.
    """
    wanted = {
        resource.RLIMIT_CORE: 0,  # a core file would hold everything that was in memory
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: open_files,
    }
    if memory_bytes is not None:
        wanted[resource.RLIMIT_AS] = memory_bytes
    if processes is not None:
        wanted[resource.RLIMIT_NPROC] = processes
    for what, most in wanted.items():
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(what, (most, most))
        except (OSError, ValueError) as error:
            raise Missing(f"a resource limit could not be set ({error})") from error
