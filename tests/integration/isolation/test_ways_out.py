"""Every way out of an isolated process, attempted in a real child, with and without isolation."""

from __future__ import annotations

import errno
import socket
import threading
from contextlib import closing

import pytest
from isolated_children import ACCOUNTS, a_folder_for, attempts, run

WAYS_OUT = (
    "TCP to 127.0.0.1",
    "TCP to ::1",
    "TCP to an address abroad",
    "UDP to 127.0.0.1",
    "UDP to an address abroad",
    "TCP server",
    "raw socket",
    "packet socket",
    "netlink socket",
    "socket to the host of a virtual machine",
    "socket to the kernel's cryptography",
    "abstract Unix socket",
    "Unix socket of another program",
    "message to a Unix socket",
    "reading a file outside",
    "listing the root folder",
    "reading the environment of process 1",
    "reading the environment of the parent",
    "opening the memory of the parent",
    "seeing where the parent works",
    "writing a file outside",
    "changing the mode of a file",
    "opening a device",
    "tracing the parent",
    "reading the memory of the parent",
    "signalling the parent",
    "a handle on the parent",
    "limiting the parent",
    "starting a program",
    "a process of its own",
    "a process of its own by clone3",
    "a namespace of its own",
    "another's namespace",
    "mounting",
    "another root folder",
    "a file by its handle",
    "a program in the kernel",
    "asynchronous calls",
    "performance counters",
    "handling page faults",
    "the kernel's keys",
    "other rules for programs",
    "a kernel module",
    "capabilities",
    "raising a limit",
)

# What every account may do wherever tests run; if isolation were void, these would show it.
ALWAYS_OPEN = (
    "TCP to 127.0.0.1",
    "UDP to 127.0.0.1",
    "TCP server",
    "abstract Unix socket",
    "reading a file outside",
    "listing the root folder",
    "reading the environment of the parent",
    "writing a file outside",
    "changing the mode of a file",
    "signalling the parent",
    "starting a program",
    "a process of its own",
)

# Nothing but Landlock keeps these: the filter of system calls does not see paths.
OF_FILES = (
    "reading a file outside",
    "listing the root folder",
    "reading the environment of process 1",
    "reading the environment of the parent",
    "opening the memory of the parent",
    "seeing where the parent works",
    "writing a file outside",
    "opening a device",
)

NO_SECCOMP = (("seccomp", errno.ENOSYS),)
NO_LANDLOCK = (("landlock_create_ruleset", errno.ENOSYS),)
NO_NAMESPACE = (("unshare", errno.EPERM),)


@pytest.mark.parametrize("account", ACCOUNTS)
def test_the_proof_attempts_every_way_that_is_tested_here(account: str) -> None:
    assert tuple(attempts(account, isolated=True)) == WAYS_OUT


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_way_out_is_closed_by_isolation(account: str, way: str) -> None:
    inside = attempts(account, isolated=True)[way]
    assert inside.blocked, inside
    outside = attempts(account, isolated=False)[way]
    if outside.blocked and outside.errno_name == inside.errno_name:
        pytest.skip("this system refuses that to this account even without isolation")


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("way", ALWAYS_OPEN)
def test_the_same_way_is_open_without_isolation(account: str, way: str) -> None:
    assert not attempts(account, isolated=False)[way].blocked


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize(
    "way",
    [*OF_FILES, "tracing the parent", "reading the memory of the parent"],
)
def test_files_are_closed_by_landlock_alone(account: str, way: str) -> None:
    assert attempts(account, isolated=True, broken=NO_SECCOMP + NO_NAMESPACE)[way].blocked


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize(
    ("way", "since"), [("TCP to 127.0.0.1", 4), ("TCP server", 4), ("signalling the parent", 6)]
)
def test_tcp_and_signals_are_closed_by_landlock_alone(account: str, way: str, since: int) -> None:
    code = "from casemate.isolation.landlock import version\ntell(version())"
    if run(account, code, isolated=False) < since:
        pytest.skip(f"this kernel's Landlock is older than version {since}")
    assert attempts(account, isolated=True, broken=NO_SECCOMP + NO_NAMESPACE)[way].blocked


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("way", [way for way in WAYS_OUT if way not in OF_FILES])
def test_all_but_reading_and_writing_is_closed_by_the_filter_alone(account: str, way: str) -> None:
    assert attempts(account, isolated=True, broken=NO_LANDLOCK + NO_NAMESPACE)[way].blocked


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("kind", ["TCP", "abstract", "pathname"])
def test_a_server_that_really_listens_is_not_reached(
    account: str, isolated: bool, kind: str
) -> None:
    code = f"""
import socket
kind, address = {kind!r}, told["read"].pop()
enter()
def reach():
    family = socket.AF_INET if kind == "TCP" else socket.AF_UNIX
    place = {{"TCP": ("127.0.0.1", int(address) if kind == "TCP" else 0),
             "abstract": "\\0" + address, "pathname": address}}[kind]
    with socket.socket(family, socket.SOCK_STREAM) as opened:
        opened.settimeout(5)
        opened.connect(place)
tell(refusal_of(reach))
"""
    with closing(a_server(kind, account)) as server:
        name = server.getsockname()
        if kind == "TCP":
            address = str(name[1])
        else:
            address = name[1:].decode() if kind == "abstract" else name
        refusal = run(account, code, isolated=isolated, read=[address])
    assert (refusal != 0) is isolated


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("kind", ["TCP", "abstract"])
def test_a_server_is_not_reached_from_the_namespace_alone(account: str, kind: str) -> None:
    code = f"""
import socket
address = told["read"].pop()
achieved = enter()
def reach():
    family = socket.AF_INET if {kind!r} == "TCP" else socket.AF_UNIX
    place = ("127.0.0.1", int(address)) if {kind!r} == "TCP" else "\\0" + address
    with socket.socket(family, socket.SOCK_STREAM) as opened:
        opened.connect(place)
tell(["network" in achieved.layers, refusal_of(reach)])
"""
    with closing(a_server(kind, account)) as server:
        name = server.getsockname()
        address = str(name[1]) if kind == "TCP" else name[1:].decode()
        broken = dict(NO_SECCOMP + NO_LANDLOCK)
        in_force, refusal = run(account, code, read=[address], broken=broken)
    if not in_force:
        pytest.skip("this system gives this account no network namespace")
    assert refusal == (errno.ENETUNREACH if kind == "TCP" else errno.ECONNREFUSED)


def a_server(kind: str, account: str) -> socket.socket:
    family = socket.AF_INET if kind == "TCP" else socket.AF_UNIX
    server = socket.socket(family, socket.SOCK_STREAM)
    if kind == "TCP":
        server.bind(("127.0.0.1", 0))
    elif kind == "abstract":
        server.bind(f"\0casemate-test-{id(server)}-{threading.get_ident()}")
    else:
        path = a_folder_for(account) / "s"
        server.bind(str(path))
        path.chmod(0o777)
    server.listen()
    return server


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("isolated", [False, True])
def test_a_program_is_not_started(account: str, isolated: bool) -> None:
    # A real one: without isolation the child becomes /bin/true and tells nothing more.
    code = """
enter()
tell("stayed")
import os
os.execv("/bin/true", ["true"])
"""
    if not isolated:
        assert run(account, code, isolated=False) == "stayed"
        return
    with pytest.raises(AssertionError, match="PermissionError"):
        run(account, code)


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("isolated", [False, True])
def test_the_parent_survives_a_signal(account: str, isolated: bool) -> None:
    code = """
import signal
enter()
tell(refusal_of(os.kill, os.getppid(), signal.SIGTERM))
"""
    if isolated:
        assert run(account, code) == errno.EPERM
        return
    with pytest.raises(AssertionError):
        run(account, code, isolated=False)


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("isolated", [False, True])
def test_what_landlock_does_not_see_is_refused_by_the_filter(account: str, isolated: bool) -> None:
    # Mode, owner and times of one's own file, and emptying one that is only read.
    folder = a_folder_for(account)
    code = """
path = told["read"][0] + "/file"
if not os.path.exists(path):
    with open(path, "w") as file:
        file.write("text")
enter()
tell([
    refusal_of(os.chmod, path, 0o600),
    refusal_of(os.chown, path, -1, -1),
    refusal_of(os.utime, path),
    refusal_of(os.setxattr, path, "user.casemate", b"x"),
    refusal_of(os.open, path, os.O_RDONLY | os.O_TRUNC),
    refusal_of(os.open, path, os.O_WRONLY),
    refusal_of(os.truncate, path, 0),
    refusal_of(os.link, path, path + "2"),
    refusal_of(os.symlink, path, path + "3"),
    refusal_of(os.rename, path, path + "4"),
])
"""
    told = run(account, code, isolated=isolated, read=[folder])
    if isolated:
        assert told == [errno.EPERM] * 5 + [errno.EACCES] + [errno.EPERM] * 4
        assert (folder / "file").read_text() == "text"
    else:
        del told[3]  # not every file system has attributes
        assert told == [0] * 9


@pytest.mark.parametrize("account", ACCOUNTS)
def test_x86_64_calls_by_their_second_numbers_are_refused(account: str) -> None:
    code = """
import ctypes, platform
enter()
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
x86 = platform.machine() == "x86_64"
answer = libc.syscall(ctypes.c_long(0x40000000 | 39))
tell([x86, answer, ctypes.get_errno()])
"""
    x86, answer, number = run(account, code)
    if not x86:
        pytest.skip("only x86_64 has second numbers")
    assert (answer, number) == (-1, errno.EPERM)
    x86, answer, number = run(account, code, isolated=False)
    assert number != errno.EPERM
