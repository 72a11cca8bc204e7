"""The first act of the reading process: give up everything it will not need.

Run as a script by ``Reader``, with nothing imported but the standard library and isolation, which
itself imports nothing else, so that the process is isolated before any code that looks at a file
is loaded. It keeps the interpreter's files and the packages that parse; no document is among
them, since the bytes of a document come through the pipe.

Arguments: memory limit in bytes, then the entries of ``sys.path`` that the parsers come from,
Casemate's own first.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from casemate.isolation import Isolation

_OPEN_FILES = 32


def confine(memory_bytes: int) -> Isolation:
    """Isolate this process for good, but for reading what ``sys.path`` needs.

    memory_bytes: address space. Raises RuntimeError if a resource limit cannot be set: a file
    that wants all memory would take it from others.
    """
    from casemate.isolation import Wants, interpreter_files, isolate

    achieved = isolate(
        Wants(
            read=interpreter_files(),
            memory_bytes=memory_bytes,
            open_files=_OPEN_FILES,
            processes=0,  # nor threads, where the kernel gives no filter of system calls
            # The thread that starts this process may end long before the reader does. What ends
            # with the parent is the pipe, and then ``serve`` returns.
            dies_with_parent=False,
        )
    )
    if "limits" in achieved.missing:
        raise RuntimeError(achieved.missing["limits"])
    return achieved


def main() -> None:
    """Confine, then serve until the parent closes the pipe."""
    sys.dont_write_bytecode = True
    own, *others = sys.argv[2:]
    packages = (own, *(entry for entry in others if entry != _working_folder_of_parent()))
    sys.path.extend(entry for entry in packages if entry not in sys.path)
    layers = confine(int(sys.argv[1])).layers

    from casemate.library.parse.worker import serve

    serve(no_network="network" in layers, unprivileged="privileges" in layers)


def _working_folder_of_parent() -> str | None:
    """Python started with ``-m`` imports from it, but documents may lie there."""
    try:
        return os.readlink(f"/proc/{os.getppid()}/cwd")
    except OSError:
        return None


if __name__ == "__main__":
    main()
