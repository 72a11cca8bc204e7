"""The filter of system calls, run by a small interpreter of its instructions."""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Callable

import pytest

from casemate.isolation.calls import numbers
from casemate.isolation.kernel import Missing
from casemate.isolation.seccomp import (
    ALLOW,
    ARCHITECTURES,
    KILL,
    REFUSE,
    UNKNOWN,
    allow_only,
    program,
)

MACHINES = tuple(ARCHITECTURES)
PROCESS = 4242
ANOTHER = 1
HIGH = 0xDEAD << 32  # what a caller may leave in the half that the kernel does not read


def judge(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """The filter's verdict, as the kernel would come to it."""
    found = ARCHITECTURES[machine] if architecture is None else architecture
    six = (*arguments, *(0,) * (6 - len(arguments)))
    call = struct.pack("<iIQ6Q", number, found, 0, *six)
    lines = program(machine, PROCESS)
    held, place = 0, 0
    while True:
        code, if_true, if_false, operand = lines[place]
        place += 1
        if code == 0x20:
            held = struct.unpack_from("<I", call, operand)[0]
        elif code == 0x54:
            held &= operand
        elif code == 0x15:
            place += if_true if held == operand else if_false
        elif code == 0x35:
            place += if_true if held >= operand else if_false
        else:
            assert code == 0x06
            return operand


def named(machine: str, name: str, *arguments: int) -> int:
    return judge(machine, numbers(machine)[name], *arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_program_is_one_that_the_kernel_takes(machine: str) -> None:
    lines = program(machine, PROCESS)
    assert len(lines) <= 4096  # BPF_MAXINSNS
    for place, line in enumerate(lines):
        assert 0 <= line.if_true < 256
        assert 0 <= line.if_false < 256
        assert place + 1 + max(line.if_true, line.if_false) < len(lines) or line.code == 0x06
    assert lines[-1].code == 0x06


@pytest.mark.parametrize("machine", MACHINES)
def test_a_call_of_another_architecture_ends_the_process(machine: str) -> None:
    for architecture in (0x40000003, 0x40000028, 0):  # i386, arm
        assert judge(machine, 1, architecture=architecture) == KILL


def test_the_second_numbering_of_x86_64_is_refused() -> None:
    for number in (0, 39, 520):
        assert judge("x86_64", 0x40000000 | number) == REFUSE


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    "name", ["read", "mmap", "mprotect", "futex", "accept4", "bind", "listen", "exit_group"]
)
def test_ordinary_work_is_allowed(machine: str, name: str) -> None:
    assert named(machine, name) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    "name",
    """
    ptrace process_vm_readv process_vm_writev execve execveat connect mount umount2 move_mount
    fsopen open_tree mount_setattr keyctl add_key request_key bpf perf_event_open userfaultfd
    io_uring_setup io_uring_enter io_uring_register setns unshare kexec_load init_module
    finit_module delete_module open_by_handle_at name_to_handle_at personality pidfd_open
    pidfd_getfd pidfd_send_signal memfd_create memfd_secret chroot pivot_root reboot swapon
    swapoff quotactl acct settimeofday clock_settime adjtimex sethostname capset setuid
    fchmod fchmodat fchownat utimensat setxattr seccomp syslog shmget mq_open
    """.split(),
)
def test_what_is_dangerous_is_refused(machine: str, name: str) -> None:
    assert named(machine, name) == REFUSE


@pytest.mark.parametrize("name", ["fork", "vfork", "chmod", "chown", "creat", "ioperm", "iopl"])
def test_the_older_calls_of_x86_64_are_refused(name: str) -> None:
    assert named("x86_64", name) == REFUSE


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_not_known_is_answered_as_by_an_older_kernel(machine: str) -> None:
    assert judge(machine, 9999) == UNKNOWN
    assert judge(machine, 452) == UNKNOWN  # fchmodat2, younger than this list


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_whose_flags_a_filter_cannot_see_are_unknown_so_that_the_older_one_is_used(
    machine: str,
) -> None:
    assert named(machine, "clone3") == UNKNOWN
    assert named(machine, "openat2") == UNKNOWN


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["socket", "socketpair"])
def test_only_unix_stream_sockets_are_made(machine: str, name: str) -> None:
    assert named(machine, name, 1, 1) == ALLOW
    assert named(machine, name, 1 | HIGH, 1 | 0o2004000) == ALLOW  # close on exec, not blocking
    for family in (0, 2, 10, 16, 17, 38, 40):
        assert named(machine, name, family, 1) == REFUSE
    for kind in (2, 3, 5, 2 | 0o2000000):
        assert named(machine, name, 1, kind) == REFUSE


@pytest.mark.parametrize("machine", MACHINES)
def test_clone_makes_threads_and_no_processes(machine: str) -> None:
    a_thread = 0x3D0F00
    assert named(machine, "clone", a_thread) == ALLOW
    assert named(machine, "clone", a_thread | HIGH) == ALLOW
    assert named(machine, "clone", 17) == REFUSE  # fork(3): SIGCHLD
    assert named(machine, "clone", 0x01200011) == REFUSE
    assert named(machine, "clone", 0x4111) == REFUSE  # vfork(3), posix_spawn(3)
    assert named(machine, "clone", a_thread & ~0x10000) == REFUSE
    for flag in (0x1000, 0x2000, 0x20000, 0x2000000, 0x10000000, 0x20000000, 0x40000000):
        assert named(machine, "clone", a_thread | flag) == REFUSE


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["kill", "tgkill"])
def test_signals_go_to_the_process_itself_only(machine: str, name: str) -> None:
    assert named(machine, name, PROCESS, 9) == ALLOW
    for target in (ANOTHER, 0, 0xFFFFFFFF, (-PROCESS) & 0xFFFFFFFF):  # group, all, its group
        assert named(machine, name, target, 9) == REFUSE


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["prlimit64", "sched_setaffinity"])
def test_limits_are_set_for_the_process_itself_only(machine: str, name: str) -> None:
    assert named(machine, name, 0) == ALLOW
    assert named(machine, name, PROCESS) == ALLOW
    assert named(machine, name, ANOTHER) == REFUSE


@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_is_truncated_that_is_not_opened_for_writing(machine: str) -> None:
    ways = [("openat", 2)] + [("open", 1)] * (machine == "x86_64")
    for name, place in ways:
        before = (0,) * place
        assert named(machine, name, *before, 0o2000000) == ALLOW
        assert named(machine, name, *before, 0o1001 | 0o100) == ALLOW
        assert named(machine, name, *before, 0o1000) == REFUSE
        assert named(machine, name, *before, 0o2001000) == REFUSE


@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_is_typed_into_the_terminal_nor_signalled_by_a_descriptor(machine: str) -> None:
    assert named(machine, "ioctl", 0, 0x5401) == ALLOW
    assert named(machine, "ioctl", 0, 0x5412) == REFUSE  # TIOCSTI
    assert named(machine, "ioctl", 0, 0x541C) == REFUSE  # TIOCLINUX
    assert named(machine, "fcntl", 0, 1030) == ALLOW
    assert named(machine, "fcntl", 0, 8) == REFUSE  # F_SETOWN
    assert named(machine, "fcntl", 0, 15) == REFUSE  # F_SETOWN_EX


@pytest.mark.parametrize("machine", MACHINES)
def test_what_was_given_up_is_not_taken_back_by_prctl(machine: str) -> None:
    assert named(machine, "prctl", 15) == ALLOW
    for option in (1, 4, 22, 24, 35, 47, 0x59616D61):  # death signal, dumpable, …, Yama
        assert named(machine, "prctl", option) == REFUSE


def test_an_unknown_processor_gets_no_filter_and_the_reason() -> None:
    with pytest.raises(Missing, match="processor vax"):
        program("vax", PROCESS)


@pytest.mark.skipif(platform.machine() not in MACHINES, reason="no filter for this processor")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (OSError(errno.ENOSYS, "no"), "has no seccomp filters"),
        (OSError(errno.EINVAL, "no"), "has no seccomp filters"),
        (OSError(errno.EACCES, "not you"), "not you"),
        (77, "a thread of this process"),
    ],
)
def test_a_filter_that_is_not_taken_is_missing(answer: OSError | int, reason: str) -> None:
    with pytest.raises(Missing, match=reason):
        allow_only(a_kernel(answer))


def a_kernel(answer: OSError | int) -> Callable[..., int]:
    def kernel(name: str, *arguments: object) -> int:
        assert name == "seccomp"
        if isinstance(answer, OSError):
            raise answer
        return answer

    return kernel
