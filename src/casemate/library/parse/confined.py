"""The first act of the reading process: give up everything it will not need.

Run as a script by ``Reader``, with nothing imported but the standard library, so that the
process is confined before any code that looks at a file is loaded. Means: rlimits, no new
privileges (prctl(2)), an own and therefore empty network namespace (unshare(2)), no capabilities
(capset(2)).

Arguments: memory limit in bytes, then the entries of ``sys.path`` that the parsers come from.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_READ_SEARCH = 1 << 2
_OPEN_FILES = 32


def confine(memory_bytes: int) -> tuple[bool, bool]:
    """Confine this process for good; (has no network, can gain no privileges).

    memory_bytes: address space. Raises OSError or ValueError if a resource limit cannot be set.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    no_network = _leave_network(libc)
    unprivileged = libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    _drop_capabilities(libc)
    return no_network, unprivileged


def _leave_network(libc: ctypes.CDLL) -> bool:
    """Move into an empty network namespace: directly as root, else through a user namespace."""
    ways = (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET)
    return any(libc.unshare(way) == 0 for way in ways)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Without them root can neither raise a limit again nor walk back into the network.

    Only reading any file stays, where it was there: root may run from another user's folder.
    """
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    kept = _CAP_DAC_READ_SEARCH if os.geteuid() == 0 else 0
    wanted = (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)
    if libc.capset(header, wanted) != 0:
        libc.capset(header, (ctypes.c_uint32 * 6)(0, 0, 0, 0, 0, 0))


def main() -> None:
    """Confine, then serve until the parent closes the pipe."""
    no_network, unprivileged = confine(int(sys.argv[1]))
    sys.dont_write_bytecode = True
    sys.path.extend(entry for entry in sys.argv[2:] if entry not in sys.path)

    from casemate.library.parse.worker import serve

    serve(no_network=no_network, unprivileged=unprivileged)


if __name__ == "__main__":
    main()
