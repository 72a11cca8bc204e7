"""Files that stay within reach, and no others: Landlock.

Everything that this kernel's Landlock can refuse is refused, and then given back for the named
paths only: reading, executing, or writing (which for a folder means making and removing plain
files and sockets, but no folder, link, pipe or device). TCP is refused altogether from version 4,
abstract Unix sockets and signals to processes outside from version 6. What was opened before
stays open. Landlock does not hide that a file exists, how large it is and who owns it.

Source: landlock(7), the kernel's userspace-api/landlock documentation, versions 1 to 7.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable
from errno import ENOSYS, EOPNOTSUPP

from casemate.isolation.kernel import Call, Missing, call

_VERSION = 1  # flag of landlock_create_ruleset: answer with the version instead
_PATH_BENEATH = 1

_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
_READ_FILE = 1 << 2
_READ_FOLDER = 1 << 3
_REMOVE_FILE = 1 << 5
_MAKE_FILE = 1 << 8
_MAKE_SOCKET = 1 << 9
_FIRST = (1 << 13) - 1  # all thirteen rights of version 1
_REFER = 1 << 13  # from version 2: move or link a file to another folder
_TRUNCATE = 1 << 14  # from version 3
_DEVICE_CONTROL = 1 << 15  # from version 5: ioctl(2) on devices

_BIND_TCP = 1 << 0
_CONNECT_TCP = 1 << 1

_ABSTRACT_UNIX_SOCKETS = 1 << 0
_SIGNALS = 1 << 1

_READ = _READ_FILE | _READ_FOLDER
_WRITE = _READ | _WRITE_FILE | _TRUNCATE | _REMOVE_FILE | _MAKE_FILE | _MAKE_SOCKET
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _DEVICE_CONTROL


def version(kernel: Call = call) -> int:
    """The version of Landlock in this kernel. Raises Missing if there is none."""
    try:
        return kernel("landlock_create_ruleset", None, 0, _VERSION)
    except OSError as error:
        raise Missing(_reason(error)) from error


def reach_only(
    *,
    read: Iterable[str],
    execute: Iterable[str],
    write: Iterable[str],
    kernel: Call = call,
) -> None:
    """Take every file but these from this thread, and from threads that it starts, for good.

    A path that does not exist or that this process may not open is left out: nothing is given.
    Needs no new privileges to be set before (prctl(2)). Raises Missing if the kernel refuses.
    """
    attributes, rights = _refused(version(kernel))
    try:
        ruleset = kernel("landlock_create_ruleset", attributes, len(attributes), 0)
        try:
            for paths, wanted in ((read, _READ), (execute, _READ | _EXECUTE), (write, _WRITE)):
                for path in paths:
                    _give(ruleset, path, wanted & rights, kernel)
            kernel("landlock_restrict_self", ruleset, 0)
        finally:
            os.close(ruleset)
    except OSError as error:
        raise Missing(_reason(error)) from error


def _refused(version: int) -> tuple[bytes, int]:
    """struct landlock_ruleset_attr for ``version``, and the file rights in it."""
    files = _FIRST
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _DEVICE_CONTROL)):
        files |= right if version >= since else 0
    if version < 4:
        return struct.pack("=Q", files), files
    if version < 6:
        return struct.pack("=QQ", files, _BIND_TCP | _CONNECT_TCP), files
    scopes = _ABSTRACT_UNIX_SOCKETS | _SIGNALS
    return struct.pack("=QQQ", files, _BIND_TCP | _CONNECT_TCP, scopes), files


def _give(ruleset: int, path: str, rights: int, kernel: Call) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= _OF_FILES  # the kernel refuses a rule that gives a file a folder's rights
        rule = struct.pack("=Qi", rights, opened)  # packed: no gap between the two
        kernel("landlock_add_rule", ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(opened)


def _reason(error: OSError) -> str:
    if error.errno == ENOSYS:
        return "this kernel has no Landlock (it came with Linux 5.13)"
    if error.errno == EOPNOTSUPP:
        return "Landlock is switched off (it is not in the list lsm= of the kernel's command line)"
    return f"the kernel refused the Landlock rules ({error.strerror})"
