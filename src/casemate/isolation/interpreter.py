"""What a Python process must read to go on importing: the interpreter's own files.

Modules and the shared libraries that they load. A library needs to be read only: the loader maps
it, which Landlock's right to execute does not govern.
"""

from __future__ import annotations

import os
import sys

_SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",  # Python's mimetypes stops at one that is there but not readable
    "/dev/null",
    "/dev/urandom",
    # how many processors there are, and which memory is nearest: no names, no contents
    "/proc/cpuinfo",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
)


def interpreter_files() -> tuple[str, ...]:
    """Files and folders for ``Wants.read``: the standard library, sys.path, shared libraries.

    Of sys.path only what is absolute; and not its first entry where that is the folder of the
    script or the working folder (start the process with ``-I`` to have neither).
    """
    imported = sys.path if sys.flags.safe_path else sys.path[1:]
    own = (os.path.join(prefix, "lib") for prefix in (sys.base_prefix, sys.prefix))
    entries = (*own, *(path for path in imported if os.path.isabs(path)), *_SYSTEM)
    return tuple(dict.fromkeys(path for path in entries if os.path.exists(path)))
