"""Trying every way out, from inside: what the kernel said to each.

Run in the isolated process, after ``isolate``. Each attempt is harmless where it succeeds: signal
0, a program named with arguments that the kernel cannot read, a namespace call that changes
nothing. An attempt counts as blocked only if the kernel refused it. An answer that shows that it
would have gone ahead (the other side refused the connection, the file is not there, an argument is
wrong) does not count, even though nothing was reached.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from casemate.isolation.kernel import Call, call

# What a kernel answers once it has let a call through.
_LET_THROUGH = frozenset(
    {
        errno.EAGAIN,
        errno.EBADF,
        errno.ECONNREFUSED,
        errno.EFAULT,
        errno.EINPROGRESS,
        errno.EINVAL,
        errno.EMFILE,
        errno.ENOENT,
        errno.ENOKEY,
        errno.ETIMEDOUT,
    }
)
_CONSTANTS_OF_LINUX = {"AF_NETLINK": 16, "AF_PACKET": 17, "AF_ALG": 38, "AF_VSOCK": 40}
_TRACE_SEIZE = 0x4206  # PTRACE_SEIZE does not stop the other process, as PTRACE_ATTACH would
_OF_PROCESSES = frozenset(
    {
        "reading the environment of process 1",
        "reading the environment of the parent",
        "opening the memory of the parent",
        "seeing where the parent works",
    }
)
_UNREADABLE = 1  # an address in the first page, which nothing maps
_NOWHERE = b"/nonexistent/casemate-proof"
# The last ones are there even where a service has devices of its own (systemd's PrivateDevices).
_DEVICES = (
    *("/dev/mem", "/dev/kmsg", "/dev/fuse", "/dev/kvm", "/dev/sda", "/dev/vda"),
    *("/dev/full", "/dev/zero"),
)


@dataclass(frozen=True)
class Attempt:
    """One way out. errno_name: the kernel's answer, empty if the attempt succeeded."""

    name: str
    blocked: bool
    errno_name: str


def prove(
    *, outside: str = "/etc/passwd", abroad: str = "192.0.2.1", kernel: Call = call
) -> tuple[Attempt, ...]:
    """Attempt every way out of this process.

    outside: a file that it must not reach. abroad: an address (the default is reserved for
    documentation, RFC 5737). All attempts are blocked where all layers are in force.
    """
    ways = {**_network(abroad), **_sockets(), **_files(outside), **_others(kernel)}
    ways |= _programs(kernel) | _system(kernel)
    return tuple(_attempted(name, way) for name, way in ways.items())


_Ways = dict[str, Callable[[], object]]


def _attempted(name: str, way: Callable[[], object]) -> Attempt:
    try:
        way()
    except OSError as refusal:
        number = refusal.errno or errno.EINVAL
        code = errno.errorcode.get(number, str(number))
        # A process that is there and is not found is hidden: refused (proc(5), hidepid).
        hidden = number == errno.ENOENT and name in _OF_PROCESSES
        return Attempt(name, hidden or number not in _LET_THROUGH, code)
    except ValueError:
        # Python's way to say that a limit may not be raised
        return Attempt(name, True, "EPERM")
    return Attempt(name, False, "")


def _network(abroad: str) -> _Ways:
    internet, internet6 = socket.AF_INET, socket.AF_INET6
    stream = socket.SOCK_STREAM
    return {
        "TCP to 127.0.0.1": lambda: _connect(internet, stream, ("127.0.0.1", 9)),
        "TCP to ::1": lambda: _connect(internet6, stream, ("::1", 9)),
        "TCP to an address abroad": lambda: _connect(internet, stream, (abroad, 443)),
        "UDP to 127.0.0.1": lambda: _send(internet, ("127.0.0.1", 9)),
        "UDP to an address abroad": lambda: _send(internet, (abroad, 53)),
        "TCP server": lambda: _serve(internet, ("0.0.0.0", 0)),  # noqa: S104 - must be refused
        "raw socket": lambda: _open(internet, socket.SOCK_RAW, 1),
        "packet socket": lambda: _open(_family("AF_PACKET"), socket.SOCK_RAW),
        "netlink socket": lambda: _open(_family("AF_NETLINK"), socket.SOCK_RAW),
        # A virtual machine's way to its host: no network namespace holds it.
        "socket to the host of a virtual machine": lambda: _open(_family("AF_VSOCK"), stream),
        "socket to the kernel's cryptography": lambda: _open(_family("AF_ALG"), 5),
    }


def _sockets() -> _Ways:
    unix = socket.AF_UNIX
    return {
        "abstract Unix socket": lambda: _connect(unix, socket.SOCK_STREAM, b"\0casemate-proof"),
        "Unix socket of another program": lambda: _connect(unix, socket.SOCK_STREAM, _NOWHERE),
        "message to a Unix socket": lambda: _send(unix, _NOWHERE),
    }


def _files(outside: str) -> _Ways:
    parent = _parent()
    left = os.path.join("/tmp", f"casemate-proof-{os.getpid()}")  # noqa: S108 - must be refused
    return {
        "reading a file outside": lambda: _read(outside),
        "listing the root folder": lambda: os.listdir("/"),
        "reading the environment of process 1": lambda: _read("/proc/1/environ"),
        "reading the environment of the parent": lambda: _read(f"/proc/{parent}/environ"),
        "opening the memory of the parent": lambda: _read(f"/proc/{parent}/mem", 0),
        "seeing where the parent works": lambda: os.readlink(f"/proc/{parent}/cwd"),
        "writing a file outside": lambda: _write(left),
        "changing the mode of a file": lambda: os.chmod(_NOWHERE, 0o600),
        "opening a device": lambda: _read(_device(), 0),
    }


def _others(kernel: Call) -> _Ways:
    parent = _parent()
    return {
        "tracing the parent": lambda: kernel("ptrace", _TRACE_SEIZE, parent, 0, 0),
        "reading the memory of the parent": lambda: kernel(
            "process_vm_readv", parent, _span(), 1, _span(), 1, 0
        ),
        "signalling the parent": lambda: os.kill(parent, 0),
        "a handle on the parent": lambda: os.close(kernel("pidfd_open", parent, 0)),
        "limiting the parent": lambda: kernel("prlimit64", parent, resource.RLIMIT_CORE, 0, 0),
    }


def _programs(kernel: Call) -> _Ways:
    return {
        # Were it let through, the kernel would stumble over the arguments (EFAULT).
        "starting a program": lambda: kernel("execve", b"/bin/true", _UNREADABLE, 0),
        "a process of its own": _fork,
        "a process of its own by clone3": lambda: kernel("clone3", 0, 0),
    }


def _system(kernel: Call) -> _Ways:
    return {
        "a namespace of its own": lambda: kernel("unshare", 0),
        "another's namespace": lambda: kernel("setns", -1, 0),
        "mounting": lambda: kernel("mount", _UNREADABLE, _UNREADABLE, 0, 0, 0),
        "another root folder": lambda: os.chroot(_NOWHERE),
        "a file by its handle": lambda: kernel("open_by_handle_at", -1, _UNREADABLE, 0),
        "a program in the kernel": lambda: kernel("bpf", 0, 0, 0),
        "asynchronous calls": lambda: kernel("io_uring_setup", 0, 0),
        "performance counters": lambda: kernel("perf_event_open", 0, 0, -1, -1, 0),
        "handling page faults": lambda: os.close(kernel("userfaultfd", 1)),
        "the kernel's keys": lambda: kernel("keyctl", 0, -4, 0),  # the user keyring's id
        "other rules for programs": lambda: kernel("personality", 0xFFFFFFFF),
        "a kernel module": lambda: kernel("finit_module", -1, _UNREADABLE, 0),
        "capabilities": lambda: kernel("capset", _UNREADABLE, 0),
        "raising a limit": _raise_limit,
    }


def _parent() -> int:
    """The parent, or the first process where the parent is in another process namespace."""
    return os.getppid() or 1


def _family(name: str) -> int:
    """Of sockets; Python knows only those that its C library had when it was built."""
    return int(getattr(socket, name, _CONSTANTS_OF_LINUX[name]))


def _open(family: int, kind: int, protocol: int = 0) -> None:
    socket.socket(family, kind, protocol).close()


def _connect(family: int, kind: int, address: tuple[str, int] | bytes) -> None:
    with socket.socket(family, kind) as opened:
        opened.setblocking(False)
        opened.connect(address)


def _send(family: int, address: tuple[str, int] | bytes) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        opened.sendto(b"casemate", address)


def _serve(family: int, address: tuple[str, int]) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as opened:
        opened.bind(address)
        opened.listen()


def _read(path: str, count: int = 1) -> None:
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.read(opened, count)
    finally:
        os.close(opened)


def _write(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with suppress(OSError):
        os.unlink(path)


def _device() -> str:
    return next((path for path in _DEVICES if os.path.exists(path)), _DEVICES[0])


def _span() -> bytes:
    """struct iovec: one byte where nothing is."""
    return _UNREADABLE.to_bytes(8, sys.byteorder) + (1).to_bytes(8, sys.byteorder)


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _raise_limit() -> None:
    """Of core files, which no isolated process writes; where it is endless, set it again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    more = hard if hard == resource.RLIM_INFINITY else hard + 1
    resource.setrlimit(resource.RLIMIT_CORE, (soft, more))
